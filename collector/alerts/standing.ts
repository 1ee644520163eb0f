import { hash } from 'node:crypto';
import type { LoggedEntry } from '../../common/entry.ts';
import { frozenAlertKey } from '../enforcement/freeze.ts';
import { storable } from '../ledger/projections.ts';
import { type AlertChange, type AlertItem, isAtLeast, type Severity } from './alert.ts';

/** An alert as of its last occurrence. Times are Unix milliseconds, by the clock of the collector that put it on record. */
export interface Alert {
  /** Hex SHA-256 of the key. */
  readonly id: string;
  readonly key: string;
  readonly severity: Severity;
  /** The worst that it was since it was raised. */
  readonly worst: Severity;
  readonly summary: string;
  readonly node: string | null;
  readonly raisedIndex: number;
  readonly raisedAtMs: number;
  /** Null while it stands. */
  readonly resolvedIndex: number | null;
  readonly resolvedAtMs: number | null;
  readonly reason: string | null;
}

/** What one entry says of one alert. */
export type AlertWord = { readonly id: string; readonly key: string; readonly index: number; readonly atMs: number } & (
  | { readonly says: 'raised'; readonly severity: Severity; readonly summary: string; readonly node: string | null }
  | { readonly says: 'resolved'; readonly reason: string }
);

/** Kinds of entries that say something of an alert. Literals for SQL too: an index covers them by name. */
export const alertKinds = ['alert.raised', 'alert.resolved', 'enforcement.released'] as const;

/** Undefined for an entry that says nothing of any alert. */
export function wordOf(logged: Pick<LoggedEntry, 'entry' | 'bytes' | 'index'>): AlertWord | undefined {
  const said = storable(logged);
  const when = { index: logged.index, atMs: Date.parse(logged.entry.at) };
  switch (said.kind) {
    case 'alert.raised':
      return { ...when, ...said.body, id: alertId(said.body.key), says: 'raised' };
    case 'alert.resolved':
      return { ...when, ...said.body, id: alertId(said.body.key), says: 'resolved' };
    case 'enforcement.released': {
      const { commit, actor, reason } = said.body;
      const key = frozenAlertKey(commit);
      return { ...when, key, id: alertId(key), says: 'resolved', reason: `released by ${actor}: ${reason}` };
    }
    default:
      return undefined;
  }
}

/** What an alert is known by in the database. */
export function alertId(key: string): string {
  return hash('sha256', key, 'hex');
}

/** What a word leads to: the alert from then on, and what people are told, if it is news. */
export interface Heard {
  readonly alert: Alert;
  readonly item: AlertItem | undefined;
}

/**
 * Takes in a word. The same alert raised again is no news unless its severity has changed; the end of one that does not stand is none
 * either.
 * @param known the alert as of the words before.
 */
export function hear(known: Alert | undefined, word: AlertWord): Heard | undefined {
  const standing = known?.resolvedIndex === null ? known : undefined;
  if (word.says === 'resolved') {
    if (standing === undefined) return undefined;
    const ended = { resolvedIndex: word.index, resolvedAtMs: word.atMs, reason: word.reason };
    const alert: Alert = { ...standing, ...ended };
    return { alert, item: itemOf(alert, 'resolved') };
  }
  const { id, key, severity, summary, node, index, atMs } = word;
  if (standing === undefined) {
    const begun = { raisedIndex: index, raisedAtMs: atMs, resolvedIndex: null, resolvedAtMs: null, reason: null };
    const alert: Alert = { id, key, severity, worst: severity, summary, node, ...begun };
    return { alert, item: itemOf(alert, 'raised') };
  }
  const worst = isAtLeast(severity, standing.worst) ? severity : standing.worst;
  const alert: Alert = { ...standing, severity, worst, summary, node };
  const isNews = severity !== standing.severity;
  return { alert, item: isNews ? { ...itemOf(alert, 'raised'), previousSeverity: standing.severity } : undefined };
}

/** An alert as it is told. */
export function itemOf(alert: Alert, change: AlertChange): AlertItem {
  const { key, severity, summary, node, raisedAtMs, resolvedAtMs, reason, raisedIndex, resolvedIndex } = alert;
  const index = resolvedIndex ?? raisedIndex;
  return { key, change, severity, previousSeverity: null, summary, node, raisedAtMs, resolvedAtMs, reason, index };
}
