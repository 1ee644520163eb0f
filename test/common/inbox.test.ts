import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createInbox } from '../../common/inbox.ts';
import { createLiveness } from '../../common/liveness.ts';
import { until } from '../until.ts';

test('frames are handled one at a time and in order, and the source is paused until all are', async () => {
  const calls: string[] = [];
  const releases: (() => void)[] = [];
  const give = createInbox<string>({
    source: { pause: () => calls.push('pause'), resume: () => calls.push('resume') },
    handle: (frame) => {
      calls.push(frame);
      return new Promise((resolve) => releases.push(resolve));
    },
    fail: () => calls.push('fail'),
  });
  give('a');
  give('b');
  assert.deepEqual(calls, ['pause', 'a']);
  releases.shift()?.();
  await until('the next one', () => calls.length === 3);
  releases.shift()?.();
  await until('resumed', () => calls.includes('resume'));
  assert.deepEqual(calls, ['pause', 'a', 'b', 'resume']);
  give('c');
  assert.deepEqual(calls.slice(4), ['pause', 'c']);
});

test('after a failure nothing is handled any more', async () => {
  const handled: string[] = [];
  const failures: unknown[] = [];
  const give = createInbox<string>({
    source: { pause: () => {}, resume: () => {} },
    handle: async (frame) => {
      handled.push(frame);
      throw new Error(frame);
    },
    fail: (thrown) => failures.push(thrown),
  });
  give('a');
  give('b');
  await until('failed', () => failures.length > 0);
  give('c');
  assert.deepEqual([handled, failures.length], [['a'], 1]);
});

test('a silent peer is pinged once, and given up when it does not answer', () => {
  const liveness = createLiveness({ pingIntervalMs: 100, pongTimeoutMs: 50 }, 0);
  assert.deepEqual(
    [50, 100, 120, 149, 150].map((atMs) => liveness.check(atMs)),
    ['alive', 'ping', 'alive', 'alive', 'dead'],
  );
  liveness.heard(160);
  assert.deepEqual(
    [200, 260].map((atMs) => liveness.check(atMs)),
    ['alive', 'ping'],
  );
});
