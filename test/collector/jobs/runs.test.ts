import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  type Attempt,
  type Ending,
  failedAttempts,
  settled,
  statusOf,
  verdictOf,
} from '../../../collector/jobs/runs.ts';
import { AppError } from '../../../common/errors.ts';
import { type RunOutcome, runOutcomes } from '../../../common/job-words.ts';

const attemptsOf = (outcomes: readonly (RunOutcome | null)[]): Attempt[] =>
  outcomes.map((outcome, at) => ({
    ...{ n: at + 1, begunAtMs: 0, endedAtMs: outcome === null ? null : 1, outcome, error: outcome, runs: 1 },
  }));

const patience = { maxAttempts: 3, backoff: { minMs: 1_000, maxMs: 60_000 }, random: () => 1 };
const failure = (details = {}): Ending => ({
  outcome: 'failed',
  error: new AppError('channel.unreachable', 'x', { details }),
});

describe('what becomes of a job', () => {
  test('three failures end it, whatever else happened in between', () => {
    const calm = fc.constantFrom<RunOutcome>('waiting', 'returned', 'interrupted');
    const between = fc.array(calm, { maxLength: 5 });
    fc.assert(
      fc.property(between, between, between, (a, b, c) => {
        const before = attemptsOf([...a, 'failed', ...b, 'failed', ...c]);
        assert.equal(settled(before, 3), undefined);
        const after = attemptsOf([...a, 'failed', ...b, 'failed', ...c, 'failed']);
        assert.equal(settled(after, 3)?.outcome, 'failed');
        assert.equal(verdictOf(failure(), after, { ...patience, nowMs: 0 }).next, 'end');
      }),
    );
  });

  test('who finds it after a crash decides as who left it would have', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...runOutcomes), { maxLength: 6 }), (outcomes) => {
        const attempts = attemptsOf([...outcomes, 'failed']);
        const verdict = verdictOf(failure(), attempts, { ...patience, nowMs: 0 });
        const later = settled(attempts, patience.maxAttempts);
        if (verdict.next === 'end') assert.deepEqual(later, verdict);
        else assert.equal(later, undefined);
        assert.equal(settled(attemptsOf([...outcomes, 'done']), 3)?.outcome, 'done');
      }),
    );
  });

  test('pauses double, are bounded, and are never shorter than the receiver asks for', () => {
    const wide = { ...patience, maxAttempts: 100, nowMs: 0 };
    const pauses = [1, 2, 3, 10, 50].map((failed) => {
      const verdict = verdictOf(failure(), attemptsOf(Array.from({ length: failed }, () => 'failed' as const)), wide);
      return verdict.next === 'again' ? verdict.dueAtMs : undefined;
    });
    assert.deepEqual(pauses, [1_000, 2_000, 4_000, 60_000, 60_000]);
    const asked = verdictOf(failure({ retryAfterMs: 90_000 }), attemptsOf(['failed']), wide);
    assert.deepEqual(asked, { next: 'again', dueAtMs: 90_000 });
  });

  test('what can never come out differently ends at once', () => {
    const verdict = verdictOf(failure({ isForGood: true }), attemptsOf(['failed']), { ...patience, nowMs: 0 });
    assert.deepEqual(verdict, { next: 'end', outcome: 'failed', error: 'x' });
  });

  test('a job that ends its collector each time ends some time', () => {
    const often = attemptsOf(Array.from({ length: 100 }, () => 'interrupted' as const));
    assert.equal(settled(often.slice(1), 3), undefined);
    assert.equal(settled(often, 3)?.outcome, 'failed');
    assert.equal(failedAttempts(often), 0);
  });
});

test('a status is the outcome once there is one, and before that where the last run stands', () => {
  const status = (outcomes: readonly (RunOutcome | null)[]) =>
    statusOf({ result: null, attempts: attemptsOf(outcomes) });
  assert.equal(status([]), 'pending');
  assert.equal(status([null]), 'running');
  assert.equal(status(['failed', null]), 'running');
  for (const outcome of ['failed', 'waiting', 'returned', 'interrupted'] as const)
    assert.equal(status([outcome]), 'retrying');
});
