#!/bin/sh
# Installs @NAME@ @VERSION@, or upgrades to it: ./install [--root DIR]
# Needs no network and no Node.js. Settings and data that are there stay as they are. Exit codes: 0 done, 2 usage, 4 refused, 1 failed.
set -eu
root=
if [ $# = 2 ] && [ "$1" = --root ] && [ -n "$2" ]; then
  root=${2%/}
elif [ $# != 0 ]; then
  echo "usage: $0 [--root DIR]" >&2 && exit 2
fi
#include steps.sh
here=$(cd "$(dirname "$0")" && pwd)

check_machine() {
  if [ "$(uname -s) $(uname -m)" != "Linux $machine" ]; then
    fail 4 "refused: this package is for Linux on $machine, and this machine is $(uname -s) on $(uname -m)"
  fi
  if ! elsewhere && [ "$(id -u)" != 0 ]; then fail 2 'has to be installed as root'; fi
  if is_deb; then
    fail 4 "refused: it is installed as a .deb already; upgrade with that: apt install ./${name}_*.deb"
  fi
  missing=$(missing_libraries)
  if [ -n "$missing" ]; then fail 4 "refused: this machine lacks libraries that the program needs: $missing"; fi
}

# What the dynamic linker does not find, where it can be asked.
missing_libraries() {
  if elsewhere || ! command -v ldd >/dev/null 2>&1; then return 0; fi
  ldd "$here/usr/lib/$name/bin/node" 2>/dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p' | tr '\n' ' '
}

check_files() {
  list=$here/usr/lib/$name/manifest
  [ -s "$list" ] || fail 4 "refused: $list is missing; unpack the package again"
  wrong=$(cd "$here" && grep -v '^#' "$list" | sha256sum -c - 2>/dev/null | grep -v ': OK$' || true)
  [ -z "$wrong" ] || fail 4 "refused: files of this package are missing or were changed; unpack it again:
$wrong"
  # A manifest that was cut off says nothing of the others.
  unnamed=$(cd "$here" && { grep -v '^#' "$list" | cut -c67- && find usr ! -type d ! -type l ! -path "usr/lib/$name/manifest"; } | sort | uniq -u)
  [ -z "$unnamed" ] || fail 4 "refused: files of this package are not named in its manifest, which was cut off or changed; unpack it again:
$unnamed"
  # A link leads what reads or writes there to wherever it says.
  astray=$(cd "$here" && { sed -n 's/^# link //p' "$list" && links; } | sort | uniq -u)
  [ -z "$astray" ] || fail 4 "refused: links of this package are not those of its manifest; unpack it again:
$astray"
}

links() { find usr -type l | while read -r path; do echo "$path -> $(readlink "$path")"; done; }

# A run that was killed between two renames has left the version before under another name.
take_back() {
  for folder in "usr/lib/$name" "usr/share/doc/$name"; do
    if [ ! -e "$root/$folder" ] && [ -e "$root/$folder.old" ]; then mv "$root/$folder.old" "$root/$folder"; fi
  done
}

# What was not finished would keep a full disk full.
drop_new() { rm -rf "$lib.new" "$root/usr/share/doc/$name.new"; }

# copy FROM TO: of what went wrong the first thing, and not one for each file
copy() {
  if said=$(cp -R "$1" "$2" 2>&1); then return 0; fi
  fail 1 "$(printf '%s\n' "$said" | head -n 1); nothing was changed"
}

# Its new files lie beside the old ones before anything is replaced: a full disk leaves the old version as it is.
place_files() {
  trap drop_new EXIT
  trap 'exit 1' HUP INT TERM
  old=$(mktemp)
  if [ -e "$lib/manifest" ]; then grep -v '^#' "$lib/manifest" | cut -c67- >"$old"; fi
  mkdir -p "$root/usr/lib" "$root/usr/bin" "$root/usr/share/doc"
  for folder in "usr/lib/$name" "usr/share/doc/$name"; do
    rm -rf "$root/$folder.new" && copy "$here/$folder" "$root/$folder.new"
  done
  copy "$here/uninstall" "$lib.new/uninstall"
  for folder in "usr/lib/$name" "usr/share/doc/$name"; do
    rm -rf "$root/$folder.old"
    if [ -e "$root/$folder" ]; then mv "$root/$folder" "$root/$folder.old"; fi
    mv "$root/$folder.new" "$root/$folder"
    rm -rf "$root/$folder.old"
  done
  for folder in usr/bin usr/lib/systemd/system usr/lib/sysusers.d; do
    mkdir -p "$root/$folder" && cp -R "$here/$folder/." "$root/$folder/"
  done
  # What an older version had, and this one has not.
  while read -r path; do
    if [ ! -e "$here/$path" ]; then rm -f "$root/$path"; fi
  done <"$old"
  rm -f "$old"
}

place_settings() {
  mkdir -p "$etc"
  if [ ! -e "$etc/$settings" ]; then
    cp "$lib/settings/$settings" "$etc/$settings"
    chmod 0640 "$etc/$settings"
  fi
}

check_machine
check_files
take_back
before=$(installed_version)
refuse_downgrade "$before"
still=$(running)
place_files
for conf in @SYSUSERS@; do make_users "$root/usr/lib/sysusers.d/$conf"; done
place_settings
make_places
close_settings
restart_services

if [ -n "$before" ]; then say "$name $version is installed, in place of $before."; else say "$name $version is installed."; fi
if systemd_runs; then
  if [ -z "$before" ]; then say "Settings: $etc/$settings. Then:
  @NEXT@"; fi
else
  say "systemd does not run here: its units are in $root/usr/lib/systemd/system, and nothing was started. By hand, as the user $user:
  @BYHAND@"
  if [ -n "$still" ]; then say "What runs is still version $before (process ${still% }): start it anew."; fi
fi
