#!/bin/sh
# Removes @NAME@: ./uninstall [--purge] [--root DIR]
# Data and settings stay, unless it is told to purge. Users stay: files elsewhere may be theirs. Exit codes: 0 done, 2 usage, 4 refused.
set -eu
root= purge=
while [ $# -gt 0 ]; do
  case $1 in
    --purge) purge=1 ;;
    --root) [ -n "${2:-}" ] || { echo "usage: $0 [--purge] [--root DIR]" >&2 && exit 2; } && root=${2%/} && shift ;;
    *) echo "usage: $0 [--purge] [--root DIR]" >&2 && exit 2 ;;
  esac
  shift
done
#include steps.sh
if ! elsewhere && [ "$(id -u)" != 0 ]; then fail 2 'has to be removed as root'; fi
if is_deb; then
  fail 4 "refused: it was installed as a .deb; remove it with: apt remove $name"
fi
stop_services
still=$(running)
if [ -n "$still" ]; then fail 4 "refused: it runs (process ${still% }); stop it first"; fi
if [ -e "$lib/manifest" ]; then
  grep -v '^#' "$lib/manifest" | cut -c67- | while read -r path; do
    case $path in usr/lib/$name/* | usr/share/doc/*) ;; *) rm -f "$root/$path" ;; esac
  done
fi
rm -rf "$lib" "$lib.new" "$lib.old" "$root/usr/share/doc/$name"
if systemd_runs; then systemctl daemon-reload; fi
if [ -n "$purge" ]; then
  purge
  say "$name is removed, with its data and settings."
else
  say "$name is removed. Its data ($root$data) and settings ($etc/$settings) are still there.
To remove them, too: uninstall --purge, which is in the unpacked tarball as well."
fi
