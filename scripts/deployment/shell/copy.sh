# The package comes by standard input. $sum: its SHA-256
umask 077
rm -rf "$staging/new"
mkdir -p "$staging/new"
cat >"$staging/package.tar.gz"
arrived=$(sha256sum <"$staging/package.tar.gz" | cut -c1-64)
[ "$arrived" = "$sum" ] || fail "the package arrived as $arrived, and is $sum"
# Root's files, for others to read as the package says.
umask 022
tar -xzf "$staging/package.tar.gz" -C "$staging/new"
rm "$staging/package.tar.gz"
