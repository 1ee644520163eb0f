# What is here, as KEY=VALUE.
sum() { if [ -f "$1" ]; then sha256sum <"$1" | cut -c1-64; fi; }
printf 'machine=%s\n' "$(uname -s) $(uname -m)"
printf 'version=%s\n' "$(sed -n "s/^# $name \([^ ]*\) .*/\1/p" "$lib/manifest" 2>/dev/null || true)"
printf 'manifest=%s\n' "$(sum "$lib/manifest")"
printf 'settings=%s\n' "$(sum "$etc/$settings")"
printf 'manager=%s\n' "$(manager)"
printf 'active=%s\n' "$(if active; then echo yes; fi)"
printf 'deb=%s\n' "$(if grep -qx "/usr/lib/$name/manifest" "/var/lib/dpkg/info/$name.list" 2>/dev/null; then echo yes; fi)"
printf 'unfinished=%s\n' "$(if [ -e "$staging" ]; then echo yes; fi)"
printf 'begun=%s\n' "$(if [ -e "$data/version" ]; then echo yes; fi)"
printf 'enrolment=%s\n' "$(if [ -f "$data/collector.json" ]; then tr -d '\n' <"$data/collector.json"; fi)"
