import { alertSeverities } from '../../common/kinds.ts';

export type Severity = (typeof alertSeverities)[number];

/** What happened to an alert: it began (or got worse), it still stands after the repeat interval, or it is over. */
export const alertChanges = ['raised', 'repeated', 'resolved'] as const;
export type AlertChange = (typeof alertChanges)[number];

/** One alert as a channel tells it. Times are Unix milliseconds. */
export interface AlertItem {
  /** Names the condition: the same key is the same alert. */
  readonly key: string;
  readonly change: AlertChange;
  readonly severity: Severity;
  /** What the channel was told before, where that was another severity; null otherwise. */
  readonly previousSeverity: Severity | null;
  readonly summary: string;
  readonly node: string | null;
  readonly raisedAtMs: number;
  readonly resolvedAtMs: number | null;
  /** Why it is over. */
  readonly reason: string | null;
  /** Of the ledger entry that raised it; null in a test. */
  readonly index: number | null;
}

/** What goes to a channel in one message. Texts in it come from elsewhere: container names, commits, keys. */
export interface AlertNotice {
  /** Stays the same when the message is sent again. */
  readonly id: string;
  readonly sentAtMs: number;
  /** Of the ledger, to tell fleets apart. */
  readonly origin: string;
  /** Under which the runbook's pages are; undefined where they are only in the project. */
  readonly runbookUrl?: string | undefined;
  /** Sent by hand to see whether it arrives: nothing is wrong. */
  readonly isTest: boolean;
  /** At least one. */
  readonly items: readonly AlertItem[];
}

/** What a channel answered when it took a message. */
export interface ChannelAnswer {
  /** Such as `HTTP 204` or `250`. */
  readonly status: string;
  /** Its words, cut and printable; may be empty. */
  readonly text: string;
}

/**
 * A way to tell people. Adapters keep within what their vendor documents, and let nothing in a notice act on the other side: markup,
 * mentions, headers.
 */
export interface AlertChannel {
  readonly name: string;
  /** The least severity that goes there. */
  readonly level: Severity;
  /** Told only of what still stands, unacknowledged, so long after it was raised; null for at once. */
  readonly escalateAfterMs: number | null;
  /** Takes for over what it is not told again; a program, which is not disturbed by it. */
  readonly forgets?: boolean;
  /** Knows an alert by its key: the end of one that it never heard of does nothing there. A program, too. */
  readonly knowsKeys?: boolean;
  readonly maxItems: number;
  /**
   * Sends one message; the same one may come again after a crash. Never takes longer than `limits.alertSendTimeoutMs`.
   * @throws AppError `channel.unreachable` (retryable) when there is no answer, or one that says later, with
   *   `details.retryAfterMs` where it says when; `channel.refused` when the same message would be refused again.
   */
  send(notice: AlertNotice): Promise<ChannelAnswer>;
  /** What it would send, for people to look at: without secrets, as data or as text. */
  preview(notice: AlertNotice): unknown;
  close(): Promise<void>;
}

/** What a channel is called, and what goes there. */
export type ChannelTraits = Pick<AlertChannel, 'name' | 'level' | 'escalateAfterMs'>;

/** What the breaker of a channel is called, among those of all outside services. */
export function channelService(channel: string): string {
  return `channel:${channel}`;
}

/** Whether something of this severity goes to a channel of that level. */
export function isAtLeast(severity: Severity, level: Severity): boolean {
  return alertSeverities.indexOf(severity) >= alertSeverities.indexOf(level);
}

/** The worst of some severities; `info` for none. */
export function worstOf(severities: readonly Severity[]): Severity {
  return alertSeverities.findLast((severity) => severities.includes(severity)) ?? 'info';
}

/** A notice that says of itself that it is a test. */
export function testNotice(at: { readonly id: string; readonly nowMs: number; readonly origin: string }): AlertNotice {
  const { id, nowMs, origin } = at;
  const item: AlertItem = {
    key: `test/${id}`,
    change: 'raised',
    severity: 'info',
    previousSeverity: null,
    summary: 'This is a test of this channel, sent by hand. Nothing is wrong.',
    node: null,
    raisedAtMs: nowMs,
    resolvedAtMs: null,
    reason: null,
    index: null,
  };
  return { id, sentAtMs: nowMs, origin, isTest: true, items: [item] };
}
