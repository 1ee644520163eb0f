# Runs the package's own installer, which refuses what does not fit. What ran before goes on then.
if ! "$staging"/new/*/install >"$staging/said" 2>&1; then
  cat "$staging/said" >&2
  exit 1
fi
rm -rf "$staging/new"
