# A script of a run that was interrupted may still be at work here: what comes after it waits for its end.
turn=/run/sigilwatch-deploy-$name
waited=0
until ln -s $$ "$turn" 2>/dev/null; do
  whose=$(readlink "$turn" || true)
  if [ -n "$whose" ] && ! kill -0 "$whose" 2>/dev/null; then
    rm -f "$turn"
    continue
  fi
  waited=$((waited + 1))
  [ "$waited" -lt 300 ] || fail "process $whose of another deployment is still at work there; wait for its end, or remove $turn"
  sleep 1
done
trap 'rm -f "$turn"' EXIT
