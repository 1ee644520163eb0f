import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLinkAccount } from '../../../agent/link/status.ts';
import { AppError } from '../../../common/errors.ts';
import { quietLogger } from '../../quiet-logger.ts';

const welcome = { clockOffsetMs: 0, collector: { protocol: 'sigilwatch.v1', version: '0.1.0' } };

/** An account over clocks that go as the test says: the one on the wall jumps. */
function ground() {
  const at = { wall: Date.UTC(2026, 4, 5), passed: 0 };
  const clock = { now: () => at.wall, monotonicMs: () => at.passed };
  const account = createLinkAccount({ clock, logger: quietLogger, collectorUrl: 'http://collector.example' });
  const outbox = { acked: { seq: 0, hash: '' }, checkpoint: () => undefined };
  const pass = (ms: number): void => {
    at.wall += ms;
    at.passed += ms;
  };
  const lose = () =>
    account.ended(new AppError('collector.unreachable', 'gone'), {
      state: 'disconnected',
      waitMs: 1,
      nowMs: clock.now(),
    });
  return { at, account, pass, lose, spans: () => account.status(outbox, undefined) };
}

test('how long a node is cut off is not counted by a clock that somebody can set', () => {
  const { at, account, pass, lose, spans } = ground();
  account.welcomed(welcome, at.wall);
  pass(5_000);
  assert.equal(spans().cutOffMs, undefined);
  lose();
  at.wall += 86_400_000;
  assert.equal(spans().cutOffMs, 0);
  pass(30_000);
  account.connecting();
  lose();
  at.wall -= 2 * 86_400_000;
  assert.equal(spans().cutOffMs, 30_000, 'attempts that fail are no connection');
});

test('a clock that is set while the connection stands is off from the collector by that much at once', () => {
  const { at, account, pass, spans } = ground();
  assert.equal(spans().clockOffsetMs, undefined);
  account.welcomed({ ...welcome, clockOffsetMs: -3_000 }, at.wall);
  pass(60_000);
  assert.equal(spans().clockOffsetMs, -3_000);
  at.wall += 86_400_000;
  assert.equal(spans().clockOffsetMs, -86_403_000);
  at.wall -= 86_403_000;
  pass(60_000);
  assert.equal(spans().clockOffsetMs, 0, 'and trusted again when it is right');
});

test('from its start an agent is cut off until it is welcomed', () => {
  const { at, account, pass, spans } = ground();
  pass(700);
  assert.deepEqual([spans().cutOffMs, spans().connectedMs], [700, 0]);
  account.welcomed(welcome, at.wall);
  assert.equal(spans().cutOffMs, undefined);
});

test('for how long there was a connection is the sum of all of them', () => {
  const { at, account, pass, lose, spans } = ground();
  for (const ms of [1_000, 200]) {
    account.welcomed(welcome, at.wall);
    pass(ms);
    lose();
    pass(10_000);
  }
  assert.equal(spans().connectedMs, 1_200);
  account.welcomed(welcome, at.wall);
  pass(50);
  at.wall += 5_000_000;
  assert.equal(spans().connectedMs, 1_250);
});
