/* What is done on a machine where the packages are installed, in its shell. */

/** Starts the collector as its user, waits until it answers, and goes on with `then`; ends it as systemd would. */
export function withCollector(then: string): string {
  return `
    as() { user=$1; shift; su -s /bin/sh "$user" -c "$*"; }
    ask() { /usr/lib/sigilwatch-collector/bin/node -e 'fetch(process.argv[1]).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))' "$1"; }
    wait_for() { tries=0; until "$@"; do tries=$((tries + 1)); [ $tries -lt 150 ] || exit 9; sleep 0.2; done; }
    su -s /bin/sh sigilwatch-collector -c 'exec sigilwatch-collector run --config /etc/sigilwatch/collector.yaml' >/tmp/log 2>&1 &
    collector=$!
    wait_for ask http://127.0.0.1:7600/health
    ${then}
    kill $collector
    wait $collector`;
}

/** What the two doctors, asked by root, find wrong; on a machine without an engine. */
export function wrongIn(shown: string): string[] {
  return [...shown.matchAll(/^ {2}✗ (.+?) {2,}/gm)].map(([, name = '']) => name);
}

/** Enrols a node on the same machine, waits for its report, verifies the ledger, and has root ask both programs how they are. */
export const enrolAndReport = `
  token=$(as sigilwatch-collector sigilwatch-collector nodes token lyra | grep -o '^swj_[^ ]*')
  sigilwatch-agent enroll --collector http://127.0.0.1:7600 --token "$token" --node lyra --executor-dir /etc/sigilwatch >/dev/null || exit 8
  su -s /bin/sh sigilwatch-agent -c 'exec sigilwatch-agent run --config /etc/sigilwatch/agent.yaml' >/tmp/agent.log 2>&1 &
  agent=$!
  reported() { as sigilwatch-collector sigilwatch-collector entries list --kind report --json | grep -q '"lyra"'; }
  wait_for reported
  as sigilwatch-collector sigilwatch-collector ledger verify || exit 7
  sigilwatch-agent doctor || true
  sigilwatch-collector doctor || true
  find /var/lib/sigilwatch-agent /var/lib/sigilwatch-collector -user root
  kill $agent
  wait $agent || exit 6`;
