import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isCron, parseCron } from '../../common/cron.ts';
import { isDue, jitterOf } from '../../common/due.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
/** In local time, which is what schedules are in; January, so that no clock change is near. */
const at = (day: number, hour: number, minute = 0) => new Date(2026, 0, day, hour, minute).getTime();
const nightly = parseCron('0 2 * * *');

describe('schedules', () => {
  test('five fields and names are read, in local time', () => {
    assert.equal(nightly.nextAfter(at(1, 1, 59)), at(1, 2));
    assert.equal(nightly.nextAfter(at(1, 2)), at(2, 2));
    assert.equal(parseCron('@daily').nextAfter(at(1, 2)), at(2, 0));
    assert.equal(parseCron('30 4 * * SUN').nextAfter(at(1, 0)), at(4, 4, 30));
  });

  test('what is no schedule, or never happens, is refused with the reason', () => {
    for (const text of [
      '',
      '0 2 * *',
      '0 0 2 * * *',
      '61 * * * *',
      '0 0 31 2 *',
      '@reboot',
      '2026-01-01T00:00:00',
      'off',
    ]) {
      assert.equal(isCron(text), false, text);
      assert.throws(() => parseCron(text), { code: 'validation.config' });
    }
  });
});

describe('a run is due', () => {
  test('once after each scheduled time, later by the jitter of the node', () => {
    const table = { schedule: nightly, jitterMs: 17 * minuteMs };
    assert.equal(isDue(table, at(1, 2, 17), at(1, 2, 17)), false);
    assert.equal(isDue(table, at(1, 2, 17), at(2, 2, 16)), false);
    assert.equal(isDue(table, at(1, 2, 17), at(2, 2, 17)), true);
    assert.equal(isDue(table, at(1, 2, 16), at(1, 2, 17)), true);
  });

  test('when it was missed, however long ago, and then once', () => {
    const table = { schedule: nightly, jitterMs: 0 };
    assert.equal(isDue(table, at(1, 2), at(9, 14)), true);
    assert.equal(isDue(table, at(9, 14), at(9, 15)), false);
    assert.equal(isDue(table, at(9, 14), at(10, 2)), true);
  });

  test('when the clock was set back by years, but not when it was set right by seconds', () => {
    const table = { schedule: nightly, jitterMs: 0 };
    assert.equal(isDue(table, at(9, 2) + 10 * 365 * dayMs, at(9, 3)), true);
    assert.equal(isDue(table, at(9, 2) + 1_000, at(9, 2)), false);
  });

  test('exactly once for the times in between, whenever the node is there to look', () => {
    const hours = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(hours, fc.integer({ min: 0, max: 3 * hourMs }), (gaps, jitterMs) => {
        const table = { schedule: nightly, jitterMs };
        let [last, now] = [at(1, 12), at(1, 12)];
        for (const gap of gaps) {
          now += gap * hourMs;
          const next = nightly.nextAfter(last - jitterMs) ?? Number.NaN;
          assert.equal(isDue(table, last, now), next + jitterMs <= now);
          if (isDue(table, last, now)) last = now;
          assert.equal(isDue(table, last, now), false);
        }
      }),
    );
  });
});

test('nodes begin at different moments, each always at its own, and all within the spread', () => {
  const nodes = Array.from({ length: 400 }, (_, n) => `node${n}`);
  const jitters = nodes.map((node) => jitterOf(node, hourMs));
  assert.deepEqual(
    jitters,
    nodes.map((node) => jitterOf(node, hourMs)),
  );
  assert.ok(jitters.every((ms) => Number.isInteger(ms) && ms >= 0 && ms < hourMs));
  const perQuarter = [0, 1, 2, 3].map(
    (quarter) => jitters.filter((ms) => Math.floor(ms / (hourMs / 4)) === quarter).length,
  );
  assert.ok(
    perQuarter.every((number) => number > 60),
    String(perQuarter),
  );
  assert.equal(jitterOf('lyra', 0), 0);
});
