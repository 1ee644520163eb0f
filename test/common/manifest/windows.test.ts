import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import { dayNames, type Window, windowAt } from '../../../common/manifest/windows.ts';
import { seedOf } from '../../e2e/random.ts';

interface Written {
  readonly name?: string;
  readonly day: string | readonly string[];
  readonly start_time: string;
  readonly end_time: string;
  readonly timezone?: string;
}

function windows(...written: readonly Written[]): readonly Window[] {
  const maintenance_windows = written.map((one) => ({ name: 'w', ...one }));
  return parseManifest(JSON.stringify({ maintenance_windows })).maintenance_windows;
}

const openAt = (open: readonly Window[], at: string) => windowAt(open, Date.parse(at)) !== undefined;

/** Minutes of a span in which a window is open. */
function openMinutes(open: readonly Window[], from: string, to: string): number {
  let minutes = 0;
  for (let at = Date.parse(from); at < Date.parse(to); at += 60_000) {
    if (windowAt(open, at) !== undefined) minutes++;
  }
  return minutes;
}

describe('a maintenance window', () => {
  test('is open from its first minute up to its last, on its days only', () => {
    const sunday = windows({ day: 'sunday', start_time: '02:00', end_time: '04:00' });
    assert.equal(openAt(sunday, '2026-03-01T01:59:59.999Z'), false);
    assert.equal(openAt(sunday, '2026-03-01T02:00:00Z'), true);
    assert.equal(openAt(sunday, '2026-03-01T03:59:59.999Z'), true);
    assert.equal(openAt(sunday, '2026-03-01T04:00:00Z'), false);
    assert.equal(openAt(sunday, '2026-03-02T03:00:00Z'), false);
  });

  test('that passes midnight belongs to the day it begins on', () => {
    const friday = windows({ day: ['Friday'], start_time: '22:30', end_time: '01:00' });
    assert.equal(openAt(friday, '2026-03-06T22:29:00Z'), false);
    assert.equal(openAt(friday, '2026-03-06T22:30:00Z'), true);
    assert.equal(openAt(friday, '2026-03-07T00:59:00Z'), true);
    assert.equal(openAt(friday, '2026-03-07T01:00:00Z'), false);
    assert.equal(openAt(friday, '2026-03-06T00:30:00Z'), false);
    const sunday = windows({ day: 'sunday', start_time: '23:00', end_time: '01:00' });
    assert.equal(openAt(sunday, '2026-03-02T00:30:00Z'), true);
  });

  test('goes by the clocks of its own time zone', () => {
    const tokyo = windows({ day: 'monday', start_time: '02:00', end_time: '04:00', timezone: 'Asia/Tokyo' });
    assert.equal(openAt(tokyo, '2026-03-01T17:00:00Z'), true);
    assert.equal(openAt(tokyo, '2026-03-02T02:00:00Z'), false);
  });

  test('can be a whole day, and the day after is another one', () => {
    const whole = windows({ day: 'tuesday', start_time: '00:00', end_time: '24:00' });
    assert.equal(openMinutes(whole, '2026-03-01T00:00:00Z', '2026-03-08T00:00:00Z'), 24 * 60);
    assert.equal(openAt(whole, '2026-03-03T23:59:00Z'), true);
    assert.equal(openAt(whole, '2026-03-04T00:00:00Z'), false);
  });

  test('daily is every day, and the first of several that are open is told', () => {
    const several = windows(
      { name: 'nightly', day: 'daily', start_time: '01:00', end_time: '03:00' },
      { name: 'weekly', day: 'sunday', start_time: '00:00', end_time: '06:00' },
    );
    assert.equal(windowAt(several, Date.parse('2026-03-01T02:00:00Z'))?.name, 'nightly');
    assert.equal(windowAt(several, Date.parse('2026-03-01T04:00:00Z'))?.name, 'weekly');
    assert.equal(windowAt(several, Date.parse('2026-03-02T02:00:00Z'))?.name, 'nightly');
    assert.equal(windowAt([], 0), undefined);
  });
});

describe('in Berlin', () => {
  const night = windows({ day: 'daily', start_time: '01:30', end_time: '03:30', timezone: 'Europe/Berlin' });
  const gap = windows({ day: 'daily', start_time: '02:00', end_time: '03:00', timezone: 'Europe/Berlin' });

  test('when clocks are set forward, a window loses the hour that there is not', () => {
    // 2026-03-29, 01:00 UTC: 02:00 becomes 03:00.
    assert.equal(openAt(night, '2026-03-29T00:29:00Z'), false);
    assert.equal(openAt(night, '2026-03-29T00:30:00Z'), true);
    assert.equal(openAt(night, '2026-03-29T01:29:00Z'), true);
    assert.equal(openAt(night, '2026-03-29T01:30:00Z'), false);
    assert.equal(openMinutes(night, '2026-03-28T22:00:00Z', '2026-03-29T22:00:00Z'), 60);
    assert.equal(openMinutes(gap, '2026-03-28T22:00:00Z', '2026-03-29T22:00:00Z'), 0);
  });

  test('when clocks are set back, it has the hour that there is twice both times', () => {
    // 2026-10-25, 01:00 UTC: 03:00 becomes 02:00.
    assert.equal(openAt(night, '2026-10-24T23:30:00Z'), true);
    assert.equal(openAt(night, '2026-10-25T02:29:00Z'), true);
    assert.equal(openAt(night, '2026-10-25T02:30:00Z'), false);
    assert.equal(openMinutes(night, '2026-10-24T20:00:00Z', '2026-10-25T20:00:00Z'), 180);
    assert.equal(openMinutes(gap, '2026-10-24T20:00:00Z', '2026-10-25T20:00:00Z'), 120);
  });

  test('one that passes midnight into such a night ends by the clock', () => {
    const saturday = windows({ day: 'saturday', start_time: '23:00', end_time: '03:00', timezone: 'Europe/Berlin' });
    assert.equal(openMinutes(saturday, '2026-03-28T12:00:00Z', '2026-03-29T12:00:00Z'), 3 * 60);
    assert.equal(openMinutes(saturday, '2026-10-24T12:00:00Z', '2026-10-25T12:00:00Z'), 5 * 60);
  });
});

describe('against a slow reference', () => {
  const zones = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'Pacific/Apia'];

  /** Every `day HH:MM` that a window has, counted minute by minute from its start on each of its days. */
  function labelsOf({ days, start_minute, end_minute }: Window): ReadonlySet<string> {
    const labels = new Set<string>();
    for (const name of days) {
      let day = dayNames.indexOf(name);
      for (let minute = start_minute; minute !== end_minute; ) {
        const [hours, minutes] = [Math.floor(minute / 60), minute % 60].map((part) => String(part).padStart(2, '0'));
        labels.add(`${dayNames[day]} ${hours}:${minutes}`);
        minute++;
        if (minute === 24 * 60 && end_minute !== 24 * 60) [minute, day] = [0, (day + 1) % 7];
      }
    }
    return labels;
  }

  function* labelsFrom(timeZone: string, fromMs: number, minutes: number): Generator<[atMs: number, label: string]> {
    const day = new Intl.DateTimeFormat('en-GB', { timeZone, weekday: 'long' });
    const time = new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
    for (let i = 0; i < minutes; i++) {
      const atMs = fromMs + i * 60_000;
      yield [atMs, `${day.format(atMs).toLowerCase()} ${time.format(atMs)}`];
    }
  }

  const clock = fc
    .tuple(fc.integer({ min: 0, max: 23 }), fc.integer({ min: 0, max: 59 }))
    .map((parts) => parts.map((part) => String(part).padStart(2, '0')).join(':'));
  const written = fc
    .record({
      day: fc.uniqueArray(fc.constantFrom<string>(...dayNames, 'daily'), { minLength: 1, maxLength: 4 }),
      start_time: clock,
      end_time: fc.oneof(clock, fc.constant('24:00')),
      timezone: fc.constantFrom(...zones),
    })
    .filter(({ start_time, end_time }) => start_time !== end_time);
  // Hours around changes of clocks, and any others.
  const changes = [
    '2026-03-29T01:00Z',
    '2026-10-25T01:00Z',
    '2026-03-08T07:00Z',
    '2026-11-01T06:00Z',
    '2026-04-04T15:00Z',
  ];
  const from = fc.oneof(
    fc.constantFrom(...changes).map((at) => Date.parse(at) - 3 * 3_600_000),
    fc.integer({ min: Date.UTC(2020, 0, 1) / 60_000, max: Date.UTC(2035, 0, 1) / 60_000 }).map((m) => m * 60_000),
  );

  test('that formats every minute, windowAt finds the same minutes open', () => {
    const seed = seedOf('maintenance windows');
    const property = fc.property(written, from, (one, fromMs) => {
      const open = windows(one);
      const labels = labelsOf(open[0] ?? assert.fail());
      for (const [atMs, label] of labelsFrom(one.timezone, fromMs, 6 * 60)) {
        const expected = labels.has(label);
        assert.equal(windowAt(open, atMs + 59_999) !== undefined, expected, `${new Date(atMs).toISOString()} ${label}`);
      }
    });
    fc.assert(property, { seed, numRuns: 40 });
  });
});
