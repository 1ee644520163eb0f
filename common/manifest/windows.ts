import { z } from 'zod';
import { limits } from '../limits.ts';
import { flag, text } from './values.ts';

export const dayNames = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;
export type DayName = (typeof dayNames)[number];

const daily = 'daily';
const minutesPerDay = 24 * 60;

const dayWord = z
  .string()
  .transform((word) => word.toLowerCase())
  .pipe(z.enum([...dayNames, daily]));

const expectedDays = `expected monday to sunday, ${daily}, or a list of days`;
const days = z
  .union([dayWord.transform((word) => [word]), z.array(dayWord).min(1, expectedDays)], expectedDays)
  .transform((words): readonly DayName[] => dayNames.filter((name) => words.includes(daily) || words.includes(name)));

const startTime = z
  .string('expected a time such as "02:00"')
  .regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'expected a time HH:MM');
const endTime = z
  .string('expected a time such as "04:00"')
  .regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'expected a time HH:MM');

/**
 * IANA names only. Some versions of Node.js know offsets such as `+01:00` and some do not, and agents must not judge one
 * manifest differently.
 */
const timeZone = z
  .string()
  .max(limits.maxTimeZoneChars)
  .refine(
    (zone) => /^[A-Za-z]/.test(zone) && isTimeZone(zone),
    'unknown time zone; expected an IANA name such as Europe/Berlin or UTC',
  );

function isTimeZone(zone: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: zone }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

const window = z
  .strictObject({
    name: text,
    day: days,
    start_time: startTime,
    end_time: endTime,
    timezone: timeZone.default('UTC'),
    disable_auto_rollback: flag.default(true),
    allow_drift: flag.default(false),
  })
  .refine(({ start_time, end_time }) => start_time !== end_time, {
    path: ['end_time'],
    error: 'the same as start_time; a whole day is from 00:00 to 24:00',
  })
  .transform(({ day, start_time, end_time, ...others }) => ({
    ...others,
    /** On which the window begins; one that passes midnight ends on the next. */
    days: day,
    /** Minutes since midnight, from 0 to 1439. */
    start_minute: minuteOf(start_time),
    /** Minutes since midnight, first after the window, up to 1440; not above `start_minute` when it passes midnight. */
    end_minute: minuteOf(end_time),
  }));

/** The manifest's key `maintenance_windows`. */
export const maintenanceWindows = z.array(window).max(limits.maxMaintenanceWindows);

export type Window = z.output<typeof window>;

function minuteOf(time: string): number {
  const [hours, minutes] = time.split(':').map(Number);
  return (hours ?? 0) * 60 + (minutes ?? 0);
}

/**
 * The first window that is open at `unixMs`. What counts is what a clock on the wall shows in the window's time zone: from
 * 02:00 to 03:00 there is no such time on the night when clocks are set forward, and there is one twice, so for two hours,
 * when they are set back.
 */
export function windowAt(windows: readonly Window[], unixMs: number): Window | undefined {
  return windows.find((candidate) => isOpen(candidate, unixMs));
}

function isOpen({ timezone, days, start_minute, end_minute }: Window, unixMs: number): boolean {
  const { day, minute } = wallClock(timezone, unixMs);
  const begins = (index: number) => {
    const name = dayNames[(index + dayNames.length) % dayNames.length];
    return name !== undefined && days.includes(name);
  };
  if (start_minute < end_minute) return begins(day) && minute >= start_minute && minute < end_minute;
  return (begins(day) && minute >= start_minute) || (begins(day - 1) && minute < end_minute);
}

/** Day of the week (0 is Monday) and minute of the day. */
function wallClock(timeZone: string, unixMs: number): { readonly day: number; readonly minute: number } {
  const format = { timeZone, hourCycle: 'h23', weekday: 'long', hour: '2-digit', minute: '2-digit' } as const;
  const parts = new Intl.DateTimeFormat('en-US', format).formatToParts(unixMs);
  const part = (wanted: string) => parts.find(({ type }) => type === wanted)?.value ?? '';
  const names: readonly string[] = dayNames;
  return {
    day: names.indexOf(part('weekday').toLowerCase()),
    minute: (Number(part('hour')) * 60 + Number(part('minute'))) % minutesPerDay,
  };
}
