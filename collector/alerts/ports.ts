import type { LoggedEntry } from '../../common/entry.ts';
import type { AlertItem, Severity } from './alert.ts';
import type { Freeze } from './inhibition.ts';
import type { Alert, AlertSilence } from './standing.ts';

/** A channel that some collector has in its settings. */
export interface KnownChannel {
  readonly name: string;
  readonly level: Severity;
  /** Told only of what still stands, unacknowledged, so long after it was raised; null for at once. */
  readonly escalateAfterMs: number | null;
  /** Takes for over what it is not told again. */
  readonly forgets?: boolean;
}

/** One thing to tell one channel. */
export interface NewNotification {
  readonly channel: string;
  /** Id of the alert. */
  readonly alert: string;
  readonly item: AlertItem;
  /** Unix milliseconds; not before. */
  readonly dueAtMs: number;
}

/** An entry that may say something of an alert; its bytes are missing once retention has dropped them. */
export interface AlertEntry extends Pick<LoggedEntry, 'index'> {
  readonly logged: LoggedEntry | undefined;
}

/** What is done while nobody else decides about what is told. All of it happens, or nothing. */
export interface AlertDesk {
  /** The next entries of the kinds that speak of alerts, in order. */
  nextEntries(limit: number): Promise<readonly AlertEntry[]>;
  /** Entries with a lower index are not read again. */
  advance(nextIndex: number): Promise<void>;
  alert(id: string): Promise<Alert | undefined>;
  keep(alert: Alert): Promise<void>;
  /** Those that were seen since. */
  channels(sinceMs: number): Promise<readonly KnownChannel[]>;
  /** Notes that a channel is in use, and as what. @returns false when it was already, and was seen since. */
  welcome(channel: KnownChannel, nowMs: number, sinceMs: number): Promise<boolean>;
  standing(): Promise<readonly Alert[]>;
  /** Standing alerts of which the channel was told last before `beforeMs`, and has nothing waiting. */
  dueForRepeat(channel: KnownChannel, beforeMs: number): Promise<readonly Alert[]>;
  /** Notes with it who knows of which alert from then on, and as how bad. */
  enqueue(notifications: readonly NewNotification[], nowMs: number): Promise<void>;
  /** What each channel was told of an alert that stands, by channel. */
  toldOf(alert: string): Promise<ReadonlyMap<string, Severity>>;
  /** What a channel was told of alerts that stand, by alert. */
  toldTo(channel: string): Promise<ReadonlyMap<string, Severity>>;
  /** As if nobody had been told of an alert: it is over. */
  forgetAlert(alert: string): Promise<void>;
  /** As if a channel had been told of nothing. */
  forgetChannel(channel: string): Promise<void>;
  /** Takes back repetitions that wait, of an alert that is over or acknowledged. */
  dropRepeats(alert: string): Promise<void>;
  /** Takes back what waits and nobody tried to send, of alerts that stand: as if it had not been queued. */
  takeBack(alerts: readonly string[]): Promise<void>;
  /** Silences that are not over. */
  silences(nowMs: number): Promise<readonly AlertSilence[]>;
  /** Of commits that are frozen. */
  freezes(): Promise<readonly Freeze[]>;
  keepSilence(silence: AlertSilence): Promise<void>;
  endSilence(id: string): Promise<void>;
}

/** Where alerts and what becomes of them are kept. Durable, and shared by all collectors of a database. */
export interface AlertStore {
  /** One clock for all collectors, Unix milliseconds. */
  now(): Promise<number>;
  /** Without waiting for anybody: whether entries were not read yet, and whether an alert stands. */
  outlook(): Promise<{ readonly unread: boolean; readonly standing: boolean }>;
  /** One transaction, one caller at a time in all collectors. */
  atDesk<T>(work: (desk: AlertDesk) => Promise<T>): Promise<T>;
  /** Deletes what was delivered, has died or is over before this, and silences that are over by now. */
  tidy(at: { readonly beforeMs: number; readonly nowMs: number }): Promise<void>;
}

/** A notification that is the caller's until its lease ends. */
export interface Claimed {
  readonly id: number;
  readonly item: AlertItem;
  /** With this one. */
  readonly attempts: number;
}

/** What becomes of a notification that was not taken. */
export interface Verdict {
  readonly id: number;
  /** When to try again, Unix milliseconds; undefined for never. */
  readonly dueAtMs: number | undefined;
  /** Without others in the message. */
  readonly alone: boolean;
}

/** The queue of one channel after the other. */
export interface DeliveryStore {
  now(): Promise<number>;
  /**
   * Takes what is to go into the next message, oldest first: never something while an older word on the same alert waits. Each goes to
   * one caller only until the lease ends, and counts as tried.
   */
  claim(channel: string, claim: { nowMs: number; untilMs: number; limit: number }): Promise<readonly Claimed[]>;
  /**
   * Drops, of claimed ones, the ends of what the channel was not told: all that was to be said of it before was given up.
   * @returns ids of those it dropped.
   */
  dropUntoldEnds(ids: readonly number[]): Promise<readonly number[]>;
  delivered(ids: readonly number[], nowMs: number): Promise<void>;
  failed(verdicts: readonly Verdict[], why: { error: string; nowMs: number }): Promise<void>;
  /** Gives back what was not tried after all. */
  release(ids: readonly number[]): Promise<void>;
  succeeded(channel: string, nowMs: number): Promise<void>;
  stumbled(channel: string, error: string, nowMs: number): Promise<void>;
}

/** What is counted. Calls never throw. */
export interface AlertMetrics {
  sent(channel: string, alerts: number): void;
  failed(channel: string): void;
  died(channel: string, notifications: number): void;
  /** At one look. */
  ruleFailed(rule: string): void;
}
