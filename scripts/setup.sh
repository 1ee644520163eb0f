# Sourced by the other scripts, from any folder: a Node that is new enough, installed packages, programs built from what is here.
# Prints one line per step with its time, to stderr; a step's output only when it fails.
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/.."

now_ms() { local now=$EPOCHREALTIME; echo $((10#${now/./} / 1000)); }

# seconds_since STARTED_MS: "12.3 s"
seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

# step LABEL COMMAND...: runs quietly; returns the command's status
step() {
  local label=$1 started log status=0
  shift
  started=$(now_ms)
  log=$(mktemp)
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status == 0)); then
    printf '%-13s %8s\n' "$label" "$(seconds_since "$started")" >&2
  else
    printf '%-13s %8s  FAILED: %s\n' "$label" "$(seconds_since "$started")" "$*" >&2
    cat "$log" >&2
  fi
  rm -f "$log"
  return "$status"
}

check_node() {
  if ! command -v node >/dev/null; then
    echo "Node.js is missing: install version 20.18 or later (https://nodejs.org)" >&2
    return 1
  fi
  if ! node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 18) ? 0 : 1)'; then
    echo "Node.js $(node --version) is too old: install version 20.18 or later (https://nodejs.org)" >&2
    return 1
  fi
}

# The stamp is a copy of the lock file that was installed, so it is stale exactly when the lock file has changed.
install_packages() {
  local stamp=node_modules/.sigilwatch-lock
  if cmp -s package-lock.json "$stamp"; then return 0; fi
  step install install_locked && cp package-lock.json "$stamp"
}

# A lock file written where the registry offers only one platform lacks the optional packages of the others, and
# `npm ci` refuses it. `npm install --no-save` takes the same locked versions and leaves the lock file as it is.
install_locked() {
  local options=(--no-audit --no-fund --loglevel=error)
  npm ci "${options[@]}" || npm install --no-save "${options[@]}"
}

# Only what has changed since: whoever runs the programs meanwhile must not find one half written.
build_programs() {
  local stamp=dist/.built sources=(agent collector common tsup.config.ts package.json package-lock.json)
  if [[ -e $stamp && -z $(find "${sources[@]}" -newer "$stamp" -print -quit) ]]; then return 0; fi
  mkdir -p dist && touch "$stamp.new"
  step build node node_modules/tsup/dist/cli-default.js && mv "$stamp.new" "$stamp"
}
