# What the other scripts share. Above it stand, by scripts.ts: name, user, data, settings, services.
lib=/usr/lib/$name
etc=/etc/sigilwatch
staging=/var/lib/sigilwatch-deploy/$name
# Where no systemd runs: a program of the site's that takes start, stop, active or log, and a service.
program=$etc/service

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

manager() {
  if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then echo systemd; elif [ -x "$program" ]; then echo program; else echo none; fi
}

# start waits for nothing: whether it came up is seen elsewhere.
start() {
  case $(manager) in
    systemd) systemctl daemon-reload && systemctl enable --quiet $services && systemctl restart --no-block $services ;;
    program) stop && for service in $services; do "$program" start "$service" </dev/null >/dev/null 2>&1; done ;;
  esac
}

stop() {
  case $(manager) in
    systemd) for service in $services; do if systemctl cat "$service" >/dev/null 2>&1; then systemctl stop "$service"; fi; done ;;
    program) for service in $services; do "$program" stop "$service" </dev/null >/dev/null; done ;;
  esac
}

# runs SERVICE. Asked one by one: of several, systemctl is content with one that runs.
runs() {
  case $(manager) in
    systemd) systemctl is-active --quiet "$1" ;;
    program) "$program" active "$1" </dev/null >/dev/null 2>&1 ;;
    none) return 1 ;;
  esac
}

# All of them run.
active() { for service in $services; do runs "$service" || return 1; done; }

# Those that run, one a line.
running() { for service in $services; do if runs "$service"; then echo "$service"; fi; done; }

# start_again FILE: those that are named in it
start_again() {
  if [ ! -s "$1" ]; then return 0; fi
  services=$(tr '\n' ' ' <"$1")
  start
}
