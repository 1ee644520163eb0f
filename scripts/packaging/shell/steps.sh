# Steps that installing has in common, by hand and by dpkg. POSIX sh and the tools of a small system. $root is "" or another root.
name='@NAME@' version='@VERSION@' machine='@MACHINE@' user='@USER@' data='@DATA@' settings='@SETTINGS@'
services='@SERVICES@' units='@UNITS@' written='@WRITTEN@'
root=${root:-}
lib=$root/usr/lib/$name
etc=$root/etc/sigilwatch

say() { printf '%s\n' "$*"; }
fail() { # fail CODE REASON
  printf '%s: %s\n' "$name" "$2" >&2
  exit "$1"
}

# is_version TEXT, and later A B: whether version A is later than B (common/data-version.ts compares alike)
is_version() { printf '%s\n' "$1" | grep -Eq '^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(-[0-9A-Za-z.-]{1,40})?$'; }
later() {
  is_version "$1" && is_version "$2" || return 1
  a=${1%%-*}. b=${2%%-*}.
  while [ -n "$a" ]; do
    if [ "${a%%.*}" -gt "${b%%.*}" ]; then return 0; fi
    if [ "${a%%.*}" -lt "${b%%.*}" ]; then return 1; fi
    a=${a#*.} b=${b#*.}
  done
  case $2 in *-*) case $1 in *-*) return 1 ;; *) return 0 ;; esac ;; *) return 1 ;; esac
}

installed_version() { sed -n "s/^# $name \([^ ]*\) .*/\1/p" "$lib/manifest" 2>/dev/null || true; }

# Of a .deb that was removed and not purged, dpkg knows the name only.
is_deb() { grep -qx "/usr/lib/$name/manifest" "$root/var/lib/dpkg/info/$name.list" 2>/dev/null; }

refuse_downgrade() { # refuse_downgrade [INSTALLED]
  written_by=$(head -c 64 "$root$data/version" 2>/dev/null | tr -d '\n' || true)
  if later "$written_by" "$version"; then
    fail 4 "refused: the data in $root$data was written by version $written_by, and this is $version, which may not understand it"
  fi
  if [ -n "${1:-}" ] && later "$1" "$version"; then
    fail 4 "refused: version $1 is installed, and this is $version; remove it first, which leaves data and settings"
  fi
}

# Not the machine that this runs on: nothing there can be started, and users are its own.
elsewhere() { [ -n "$root" ]; }
systemd_runs() { ! elsewhere && [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; }
has_user() { grep -q "^$1:" /etc/passwd || id "$1" >/dev/null 2>&1; }
has_group() { grep -q "^$1:" /etc/group || { command -v getent >/dev/null 2>&1 && getent group "$1" >/dev/null; }; }

add_group() {
  if has_group "$1"; then return 0; fi
  if command -v groupadd >/dev/null 2>&1; then groupadd --system "$1"; else addgroup -S "$1"; fi
}
add_user() { # add_user NAME HOME
  if has_user "$1"; then return 0; fi
  add_group "$1"
  if command -v useradd >/dev/null 2>&1; then
    useradd --system --gid "$1" --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
  else
    adduser -S -D -H -h "$2" -s /sbin/nologin -G "$1" "$1"
  fi
}
add_member() { # add_member USER GROUP
  add_group "$2"
  if command -v usermod >/dev/null 2>&1; then usermod --append --groups "$2" "$1"; else addgroup "$1" "$2"; fi
}

# make_users CONF: by systemd where it is; elsewhere what sysusers.d(5) says in the lines that ours have
make_users() {
  if elsewhere; then
    say "Users were not made: this is another root. Its systemd makes them when it starts, or: systemd-sysusers"
    return 0
  fi
  if command -v systemd-sysusers >/dev/null 2>&1; then
    systemd-sysusers "$1"
    return 0
  fi
  sed -nE 's/^u +([^ ]+) +[^ ]+ +"[^"]*" +([^ ]+).*/u \1 \2/p; s/^g +([^ ]+).*/g \1 -/p; s/^m +([^ ]+) +([^ ]+).*/m \1 \2/p' "$1" |
    while read -r kind one other; do
      case $kind in
        u) add_user "$one" "$other" ;;
        g) add_group "$one" ;;
        m) add_member "$one" "$other" ;;
      esac
    done
}

# Only what is not there yet: whoever has chosen other owners or modes since has chosen them.
make_places() {
  if [ ! -e "$root$data" ]; then
    mkdir -p "$root$data"
    chmod 0700 "$root$data"
    if ! elsewhere; then chown "$user:$user" "$root$data"; fi
  fi
}
# May hold secrets, so that only root and the program read them.
close_settings() {
  if ! elsewhere && [ "$(stat -c %G "$etc/$settings")" = root ]; then chgrp "$user" "$etc/$settings"; fi
}

# Of a service that ran before; the others stay as they are.
restart_services() {
  if ! systemd_runs; then return 0; fi
  systemctl daemon-reload
  # shellcheck disable=SC2086
  systemctl try-restart $services
}

# Numbers of processes that run the Node.js of this package; in containers, others of the same name do not count
running() {
  if elsewhere; then return 0; fi
  for exe in /proc/[0-9]*/exe; do
    if [ "$exe" -ef "$lib/bin/node" ]; then
      process=${exe%/exe}
      printf '%s ' "${process#/proc/}"
    fi
  done
}

stop_services() {
  if ! systemd_runs; then return 0; fi
  for unit in $units; do
    if systemctl cat "$unit" >/dev/null 2>&1; then systemctl disable --now --quiet "$unit" || true; fi
  done
}

purge() {
  rm -rf "$root$data"
  for file in $settings $written; do rm -f "$etc/$file"; done
  rmdir "$etc" 2>/dev/null || true
}
