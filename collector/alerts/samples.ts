import type { AlertItem, AlertNotice } from './alert.ts';
import type { AlertKey } from './catalog.ts';

/** A message to look at, and what it is of. */
export interface Sample {
  readonly of: string;
  readonly notice: AlertNotice;
}

const stoodMs = 12 * 60_000;

/**
 * Messages as a channel gets them, of made-up alerts: with a node and without, at the beginning and at the end, and of several at once
 * where the channel takes that.
 */
export function samples(
  at: Pick<AlertNotice, 'origin' | 'runbookUrl'> & { readonly nowMs: number },
  maxItems: number,
): readonly Sample[] {
  const { nowMs, ...around } = at;
  const key: AlertKey = 'drift.unauthorized/node1';
  const raised: AlertItem = {
    ...{ key, change: 'raised', severity: 'critical', previousSeverity: null, node: 'node1' },
    summary: '1 container runs on node1 that is not in the manifest: web_old <1>',
    ...{ raisedAtMs: nowMs - stoodMs, resolvedAtMs: null, reason: null, index: 4_711 },
  };
  const resolved: AlertItem = { ...raised, change: 'resolved', resolvedAtMs: nowMs, reason: 'none does any more' };
  const ofMissing: AlertKey = 'drift.missing/node2';
  const ofLedger: AlertKey = 'witness.behind/ledger';
  const fleet: AlertItem = {
    ...{ ...raised, key: ofLedger, change: 'repeated', severity: 'error', node: null },
    summary: 'no quorum has cosigned the ledger for 10 minutes',
  };
  const missing: AlertItem = {
    ...{ ...resolved, key: ofMissing, severity: 'error', node: 'node2' },
    ...{ summary: '2 containers of the manifest do not run on node2: db, web', reason: 'all do' },
  };
  const groups: readonly (readonly [string, readonly AlertItem[]])[] = [
    ['an alert', [raised]],
    ['one without a node that still stands', [fleet]],
    ['the end of an alert', [resolved]],
    ['several', [raised, fleet, missing]],
  ];
  return groups
    .filter(([, items]) => items.length <= maxItems)
    .map(([of, items]) => ({ of, notice: { ...around, id: 'a1b2c3', sentAtMs: nowMs, isTest: false, items } }));
}
