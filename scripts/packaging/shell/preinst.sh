#!/bin/sh
set -eu
#include steps.sh
# The tarball's own way to go; a .deb has none.
if [ -e "$lib/uninstall" ]; then
  fail 4 "refused: it was installed from a tarball; upgrade with that, or remove it first, which leaves data and settings: $lib/uninstall"
fi
case ${1:-} in
  upgrade) refuse_downgrade "${2:-}" ;;
  install) refuse_downgrade ;;
esac
