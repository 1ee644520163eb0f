import { z } from 'zod';
import { AppError } from '../../common/errors.ts';

const unitMs: ReadonlyMap<string, number> = new Map([
  ...['s', 'sec', 'second', 'seconds'].map((unit) => [unit, 1_000] as const),
  ...['m', 'min', 'minute', 'minutes'].map((unit) => [unit, 60_000] as const),
  ...['h', 'hour', 'hours'].map((unit) => [unit, 3_600_000] as const),
  ...['d', 'day', 'days'].map((unit) => [unit, 86_400_000] as const),
  ...['w', 'week', 'weeks'].map((unit) => [unit, 604_800_000] as const),
]);

const back = /^-([0-9]{1,9})([a-z]+)$/;
const ahead = /^(?:\+|in )([0-9]{1,9}) ?([a-z]+)$/;
const ago = /^([0-9]{1,9}) ?([a-z]+) ago$/;
/** Date, time of day, seconds, zone: what is left out is the beginning of the day, and UTC. */
const calendar =
  /^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]+)?)?)? ?([Zz]|[+-][0-9]{2}:[0-9]{2})?$/;
const rfc3339Time = z.iso.datetime({ offset: true });

/**
 * A time that is to come: `in 2 hours`, `+2h`, or whole as {@link parseMoment} takes it. In UTC.
 * @returns Unix milliseconds.
 * @throws AppError `validation.request`; not for one that is over.
 */
export function parseDeadline(text: string, now: number): number {
  const [, amount = '', word = ''] = ahead.exec(text.trim()) ?? [];
  const unit = unitMs.get(word);
  if (unit !== undefined) return now + Number(amount) * unit;
  const whole = momentOf(text.trim());
  if (whole !== undefined) return whole;
  throw new AppError(
    'validation.request',
    `"${text.slice(0, 64)}" is not a time to come: give one such as 2026-11-20T18:00:00Z, "2026-11-20 18:00" (UTC), +90m or "in 2 hours"`,
  );
}

/**
 * A time as people write it: `now`, `-15m`, `15m ago`, `2026-11-20`, `2026-11-20 10:00`, or RFC 3339. In UTC, as everything that
 * is shown.
 * @returns Unix milliseconds.
 * @throws AppError `validation.request`.
 */
export function parseMoment(text: string, now: number): number {
  const given = text.trim();
  if (given === 'now') return now;
  const [, amount = '', word = ''] = back.exec(given) ?? ago.exec(given) ?? [];
  const unit = unitMs.get(word);
  if (unit !== undefined) return now - Number(amount) * unit;
  const whole = momentOf(given);
  if (whole !== undefined) return whole;
  throw new AppError(
    'validation.request',
    `"${text.slice(0, 64)}" is not a time: give one such as 2026-11-20T10:00:00Z, "2026-11-20 10:00" (UTC), -15m or "2 hours ago"`,
  );
}

function momentOf(given: string): number | undefined {
  const [, date, time = '00:00', seconds = ':00', zone = 'Z'] = calendar.exec(given) ?? [];
  const full = rfc3339Time.safeParse(`${date}T${time}${seconds}${zone.toUpperCase()}`);
  return full.success ? Date.parse(full.data) : undefined;
}
