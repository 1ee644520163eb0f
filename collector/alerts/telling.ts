import { limits } from '../../common/limits.ts';
import { type AlertItem, isAtLeast, type Severity } from './alert.ts';
import type { KnownChannel } from './ports.ts';
import { deadLettersKey } from './rules/notifications.ts';
import { type Alert, itemOf } from './standing.ts';

/** What a channel knows of an alert that stands: as how bad it was told of it last. Undefined when it was not. */
export type Told = Severity | undefined;

export interface Moment {
  /** Whether a silence, or an alert that it follows from, holds it back now. */
  readonly isHeld: boolean;
  /** By the clock of the database. */
  readonly nowMs: number;
}

/**
 * What a channel is to be told of an alert now, other than that it still stands; undefined for nothing. Whoever was told that it stands
 * is told of its end; nobody else is.
 */
export function newsFor(
  channel: KnownChannel,
  alert: Alert,
  told: Told,
  { isHeld, nowMs }: Moment,
): AlertItem | undefined {
  if (alert.resolvedIndex !== null) return told === undefined ? undefined : toldBefore(itemOf(alert, 'resolved'), told);
  if (isHeld || !isAtLeast(alert.worst, channel.level) || isAboutItself(channel, alert)) return undefined;
  if (told === undefined) return isTurnOf(channel, alert, nowMs) ? itemOf(alert, 'raised') : undefined;
  return told === alert.severity ? undefined : toldBefore(itemOf(alert, 'raised'), told);
}

/** That a channel takes nothing is not told through it: what cannot arrive would become the next dead letter. */
function isAboutItself({ name }: KnownChannel, { key }: Alert): boolean {
  return key === deadLettersKey(name);
}

/** Some channels know an alert by its severity too, and have to be told which one is meant. */
export function toldBefore(item: AlertItem, told: Told): AlertItem {
  return told === undefined || told === item.severity ? item : { ...item, previousSeverity: told };
}

/** A channel for escalation is told once nobody has acknowledged the alert for so long. */
function isTurnOf({ escalateAfterMs }: KnownChannel, { acknowledged, heardAtMs }: Alert, nowMs: number): boolean {
  if (escalateAfterMs === null) return true;
  // By a clock that was set back since: what it has yet to reach again must not be waited for.
  const isLongAgo = nowMs >= heardAtMs + escalateAfterMs || heardAtMs > nowMs + limits.clockSuspectMs;
  return acknowledged === null && isLongAgo;
}

/** Whether a channel is told at the end of the repeat interval that the alert still stands. */
export function isToldAgain(channel: KnownChannel, alert: Alert, told: Told, isHeld: boolean): boolean {
  const { level, forgets } = channel;
  if (told === undefined || !isAtLeast(alert.worst, level) || isAboutItself(channel, alert)) return false;
  // Or it would tell people that the alert is over.
  return forgets === true || (!isHeld && alert.acknowledged === null);
}
