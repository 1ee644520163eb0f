# Keeps what is installed until it is known that what takes its place comes up, and then stops the program: whatever fails before has touched
# nothing. What an interrupted run has kept counts: by now something else may be installed.
umask 077
if [ -e "$staging/before" ]; then
  stop
  exit 0
fi
keeping=$staging/keeping
rm -rf "$keeping"
mkdir -p "$keeping"
if [ -e "$lib/manifest" ]; then
  {
    grep -v '^#' "$lib/manifest" | cut -c67- | grep -v "^usr/lib/$name/" | grep -v "^usr/share/doc/$name/" || true
    echo "usr/lib/$name"
    if [ -e "/usr/share/doc/$name" ]; then echo "usr/share/doc/$name"; fi
    if [ -e "$etc/$settings" ]; then echo "etc/sigilwatch/$settings"; fi
  } >"$keeping/list"
  while read -r path; do
    mkdir -p "$keeping/files/$(dirname "$path")"
    cp -a "/$path" "$keeping/files/$path"
  done <"$keeping/list"
  if [ -f "$data/version" ]; then head -c 64 "$data/version" >"$keeping/version"; fi
  running >"$keeping/active"
fi
mv "$keeping" "$staging/before"
stop
