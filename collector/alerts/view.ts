import { rfc3339 } from '../../common/clock.ts';
import type { Severity } from './alert.ts';
import { type HoldSources, holdOf } from './holds.ts';
import type { AlertSilence } from './standing.ts';

/** A silence as people are shown it. */
export function alertSilenceView({ id, pattern, untilMs, actor, reason, index, atMs }: AlertSilence) {
  return { id, pattern, until: rfc3339(untilMs), actor, reason, index, at: rfc3339(atMs) };
}

type AlertSilenceView = ReturnType<typeof alertSilenceView>;

/** What is shown of an alert beside what is stored of it. */
export interface Shown {
  /** The silence that keeps people from being told now. */
  readonly silenced: AlertSilenceView | null;
  /** The key of the alert that it follows from, and because of which it is not told now. */
  readonly follows_from: string | null;
  readonly acknowledged: { readonly at: Date; readonly by: string; readonly reason: string } | null;
}

interface Stored {
  readonly key: string;
  readonly worst: Severity;
  readonly resolved_index: number | null;
  readonly acknowledged_index: number | null;
  readonly acknowledged_at: Date | null;
  readonly acknowledged_by: string | null;
  readonly acknowledged_reason: string | null;
}

type AcknowledgementColumn = `acknowledged_${'index' | 'at' | 'by' | 'reason'}`;

/** An alert as people are shown it, with what holds it back at this moment. */
export function alertView<T extends Stored>(row: T, sources: HoldSources): Omit<T, AcknowledgementColumn> & Shown {
  const { acknowledged_index, acknowledged_at: at, acknowledged_by: by, acknowledged_reason: reason, ...rest } = row;
  const hold = row.resolved_index === null ? holdOf(row, sources) : undefined;
  return {
    ...rest,
    silenced: hold?.by === 'silence' ? alertSilenceView(hold.silence) : null,
    follows_from: hold?.by === 'alert' ? hold.key : null,
    acknowledged: at === null ? null : { at, by: by ?? '', reason: reason ?? '' },
  };
}
