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
  /** When it was first read, by the clock of the database. */
  readonly heardAtMs: number;
  /** Somebody knows of it, until it ends or gets worse. */
  readonly acknowledged: Acknowledgement | null;
}

export interface Acknowledgement {
  /** Of the entry. */
  readonly index: number;
  readonly atMs: number;
  readonly by: string;
  readonly reason: string;
}

/** An operator's wish that nobody is told of some alerts for a while. Times are Unix milliseconds. */
export interface AlertSilence {
  /** 64 hex digits, for ending it before its time. */
  readonly id: string;
  readonly pattern: string;
  readonly untilMs: number;
  readonly actor: string;
  readonly reason: string;
  /** Of the entry, and when that was made. */
  readonly index: number;
  readonly atMs: number;
}

/** What one entry says of one alert. */
export type AlertWord = { readonly id: string; readonly key: string; readonly index: number; readonly atMs: number } & (
  | { readonly says: 'raised'; readonly severity: Severity; readonly summary: string; readonly node: string | null }
  | { readonly says: 'resolved'; readonly reason: string }
  | { readonly says: 'acknowledged'; readonly actor: string; readonly reason: string }
);

/** What one entry says of what holds alerts back. */
export type SilenceWord =
  | { readonly says: 'silenced'; readonly silence: AlertSilence }
  | { readonly says: 'unsilenced'; readonly id: string };

/** Kinds of entries that say something of an alert. Literals for SQL too: an index covers them by name. */
export const alertKinds = [
  ...(['alert.raised', 'alert.resolved', 'enforcement.released', 'alert.acknowledged'] as const),
  ...(['alert.silenced', 'alert.unsilenced'] as const),
] as const;

/** Undefined for an entry that says nothing of any alert. */
export function wordOf(logged: Pick<LoggedEntry, 'entry' | 'bytes' | 'index'>): AlertWord | SilenceWord | undefined {
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
    case 'alert.acknowledged':
      return { ...when, ...said.body, id: alertId(said.body.key), says: 'acknowledged' };
    case 'alert.silenced': {
      const { until, ...silence } = said.body;
      return { says: 'silenced', silence: { ...when, ...silence, untilMs: Date.parse(until) } };
    }
    case 'alert.unsilenced':
      return { says: 'unsilenced', id: said.body.id };
    default:
      return undefined;
  }
}

/** What an alert is known by in the database. */
export function alertId(key: string): string {
  return hash('sha256', key, 'hex');
}

/**
 * Takes in a word. @returns the alert from then on; undefined where the word changes nothing, as the end of one that does not stand.
 * @param known the alert as of the words before.
 * @param nowMs by the clock of the database.
 */
export function hear(known: Alert | undefined, word: AlertWord, nowMs: number): Alert | undefined {
  const standing = known?.resolvedIndex === null ? known : undefined;
  switch (word.says) {
    case 'raised':
      return standing === undefined ? begun(word, nowMs) : raisedAgain(standing, word);
    case 'resolved': {
      const { index, atMs, reason } = word;
      return standing && { ...standing, resolvedIndex: index, resolvedAtMs: atMs, reason };
    }
    case 'acknowledged': {
      const { index, atMs, actor, reason } = word;
      return standing && { ...standing, acknowledged: { index, atMs, by: actor, reason } };
    }
  }
}

type Raised = Extract<AlertWord, { says: 'raised' }>;

function begun({ id, key, severity, summary, node, index, atMs }: Raised, nowMs: number): Alert {
  return {
    ...{ id, key, severity, worst: severity, summary, node, raisedIndex: index, raisedAtMs: atMs, heardAtMs: nowMs },
    ...{ resolvedIndex: null, resolvedAtMs: null, reason: null, acknowledged: null },
  };
}

/** Whoever has acknowledged it did not know that it would get worse. */
function raisedAgain(standing: Alert, { severity, summary, node }: Raised): Alert {
  const worst = isAtLeast(severity, standing.worst) ? severity : standing.worst;
  const isWorse = !isAtLeast(standing.severity, severity);
  return { ...standing, severity, worst, summary, node, acknowledged: isWorse ? null : standing.acknowledged };
}

/** An alert as it is told. */
export function itemOf(alert: Alert, change: AlertChange): AlertItem {
  const { key, severity, summary, node, raisedAtMs, resolvedAtMs, reason, raisedIndex, resolvedIndex } = alert;
  const index = resolvedIndex ?? raisedIndex;
  return { key, change, severity, previousSeverity: null, summary, node, raisedAtMs, resolvedAtMs, reason, index };
}
