#!/bin/sh
set -eu
#include steps.sh
if [ "${1:-}" = configure ]; then
  for conf in @SYSUSERS@; do make_users "/usr/lib/sysusers.d/$conf"; done
  make_places
  close_settings
  if [ -n "${2:-}" ]; then
    restart_services
  else
    if systemd_runs; then systemctl daemon-reload; fi
    say "Settings: /etc/sigilwatch/$settings. Then:
  @NEXT@"
  fi
fi
