#!/bin/sh
set -eu
#include steps.sh
case ${1:-} in remove | deconfigure) stop_services ;; esac
