import { matchesPattern } from '../../common/alert-pattern.ts';
import { type Inhibitors, inhibitorOf } from './inhibition.ts';
import type { Alert, AlertSilence } from './standing.ts';

/** Why nobody is told of an alert that stands. */
export type AlertHold =
  | { readonly by: 'silence'; readonly silence: AlertSilence }
  /** By another alert, from which it follows. */
  | { readonly by: 'alert'; readonly key: string };

/** What alerts may be held back by at one moment. */
export interface HoldSources {
  readonly silences: readonly AlertSilence[];
  readonly inhibitors: Inhibitors;
  /** By the clock of the database. */
  readonly nowMs: number;
}

/** What holds an alert back that stands; of several silences the one that lasts longest. Undefined when nothing does. */
export function holdOf(alert: Pick<Alert, 'key' | 'worst'>, sources: HoldSources): AlertHold | undefined {
  const [silence] = sources.silences
    .filter(({ pattern, untilMs }) => untilMs > sources.nowMs && matchesPattern(pattern, alert.key))
    .sort((a, b) => b.untilMs - a.untilMs);
  if (silence !== undefined) return { by: 'silence', silence };
  const key = inhibitorOf(alert, sources.inhibitors);
  return key === undefined ? undefined : { by: 'alert', key };
}
