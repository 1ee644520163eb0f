#!/bin/sh
set -eu
#include steps.sh
case ${1:-} in
  purge) purge ;;
  remove) if systemd_runs; then systemctl daemon-reload; fi ;;
esac
