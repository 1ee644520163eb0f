# The last that the program said; not the code by which whoever has it becomes the first user.
lines() { grep -v setup_code | tail -n 3 | cut -c1-300; }

# What systemd says of it is all there is where it was never begun. Otherwise it would take up the few lines: it says more of each attempt.
from_journal() {
  own=$(journalctl -u "$1" -n 40 -o short --no-pager | grep -v ' systemd\[1\]: ' | sed 's/^[^]]*\]: //')
  if [ -n "$own" ]; then
    printf '%s\n' "$own"
  else
    # Not that it is older than the unit, and so leaves out what it does not know.
    journalctl -u "$1" -n 40 -o cat --no-pager | grep -v 'Unknown key'
  fi
}

case $(manager) in
  systemd) for service in $services; do from_journal "$service" | lines; done ;;
  program) for service in $services; do "$program" log "$service" </dev/null | lines; done ;;
esac
