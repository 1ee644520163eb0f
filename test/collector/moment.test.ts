import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDeadline, parseMoment } from '../../collector/commands/moment.ts';

const now = Date.parse('2026-11-20T10:00:00.000Z');
const iso = (ms: number) => new Date(ms).toISOString();

describe('a time that is to come', () => {
  const cases: readonly (readonly [written: string, meant: string])[] = [
    ['in 2 hours', '2026-11-20T12:00:00.000Z'],
    ['+90m', '2026-11-20T11:30:00.000Z'],
    ['+1d', '2026-11-21T10:00:00.000Z'],
    ['2026-11-20 18:00', '2026-11-20T18:00:00.000Z'],
    ['2026-11-20T18:00:00+02:00', '2026-11-20T16:00:00.000Z'],
  ];
  for (const [written, meant] of cases) test(written, () => assert.equal(iso(parseDeadline(written, now)), meant));

  test('is asked for by examples of such', () => {
    for (const text of ['18:00', '2 hours ago', 'soon', '']) {
      assert.throws(() => parseDeadline(text, now), { code: 'validation.request', message: /\+90m or "in 2 hours"/ });
    }
  });
});

test('a time that was is not written as one to come', () => {
  assert.equal(iso(parseMoment('2 hours ago', now)), '2026-11-20T08:00:00.000Z');
  assert.throws(() => parseMoment('in 2 hours', now), { code: 'validation.request' });
});
