# What was kept comes back, and data stay as they are. Where nothing had been installed the program is removed; its settings stay, too.
[ -e "$staging/before" ] || fail 'nothing is kept of what was installed before'
stop
if [ -e "$staging/before/list" ]; then
  if [ -e "$lib/manifest" ]; then
    grep -v '^#' "$lib/manifest" | cut -c67- | grep -v "^usr/lib/$name/" | while read -r path; do rm -f "/$path"; done
  fi
  rm -rf "$lib" "/usr/share/doc/$name"
  # One by one: the folders above them are not ours to change.
  while read -r path; do
    mkdir -p "/$(dirname "$path")"
    cp -a "$staging/before/files/$path" "/$path"
  done <"$staging/before/list"
  # As the program's user, in whose folder root must not follow a link.
  if [ -e "$staging/before/version" ]; then
    su -s /bin/sh "$user" -c "rm -f $data/version && cat >$data/version" <"$staging/before/version"
  elif [ -e "$data/version" ]; then
    su -s /bin/sh "$user" -c "rm -f $data/version"
  fi
  if [ "$(manager)" = systemd ]; then systemctl daemon-reload; fi
  start_again "$staging/before/active"
  if grep -qsx "$name" "$staging/before/active"; then echo started; fi
elif [ -x "$lib/uninstall" ]; then
  "$lib/uninstall" >/dev/null
fi
rm -rf "$staging"
