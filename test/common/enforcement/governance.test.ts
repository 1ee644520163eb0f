import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { limitedBy, type PastOrder, runs } from '../../../common/enforcement/governance.ts';
import { limits } from '../../../common/limits.ts';
import { containerStates } from '../../../common/observed.ts';
import { orderActions } from '../../../common/order.ts';
import { nowMs, orderFor, policyOf, rogue } from './ground.ts';

const governance = (said: string) => policyOf(`governance: {${said}}\n`).governance;
const id = (n: number) => n.toString(16).padStart(64, '0');
const past = (n: number, agoMs: number, said: Partial<PastOrder> = {}): PastOrder => ({
  action: 'terminate',
  container: `c${n}`,
  containerId: id(n),
  atMs: nowMs - agoMs,
  ...said,
});
const limitOf = (said: string, orders: readonly PastOrder[], containers = 100) =>
  limitedBy(orderFor(rogue), governance(said), { past: orders, containers, nowMs });

test('the daily limit counts the last 24 hours, and says when it ends', () => {
  const orders = [past(1, limits.dailyWindowMs), past(2, limits.dailyWindowMs - 1), past(3, 3_600_000)];
  assert.equal(limitOf('daily_limit: 3', orders), undefined);
  const limited = limitOf('daily_limit: 2', orders);
  assert.equal(limited?.limit, 'daily_limit');
  assert.equal(limited?.untilMs, nowMs + 1);
  assert.equal(limitOf('daily_limit: 0', [])?.limit, 'daily_limit');
});

test('a container of the same name is left alone for the cooldown', () => {
  const same = past(1, 60_000, { container: 'rogue' });
  assert.equal(limitOf('cooldown: 61s', [same])?.limit, 'cooldown');
  assert.equal(limitOf('cooldown: 60s', [same]), undefined);
  assert.equal(limitOf('cooldown: 61s', [past(1, 60_000)]), undefined);
});

test('orders take down a share of the containers and no more, but always one', () => {
  assert.equal(limitOf('blast_radius: 0', [], 1), undefined);
  assert.equal(limitOf('blast_radius: 0', [past(1, 1_000)], 1)?.limit, 'blast_radius');
  const two = [past(1, 1_000), past(2, 1_000)];
  assert.equal(limitOf('blast_radius: 50', two, 4), undefined);
  assert.equal(limitOf('blast_radius: 50', two, 2)?.limit, 'blast_radius');
  assert.equal(limitOf('blast_radius: 50', [past(1, limits.blastWindowMs)], 1), undefined);
});

test('what was only made, or has ended, is not among those of which a share may go', () => {
  const states = containerStates.map((state) => [state, runs({ state })] as const);
  const expected = ['running', 'paused', 'restarting'];
  assert.deepEqual(
    states.filter(([, counts]) => counts).map(([state]) => state),
    expected,
  );
});

test('a container in quarantine is not touched until it is released', () => {
  const its = { containerId: orderFor(rogue).containerId, container: 'rogue' };
  const taken = past(1, 86_400_000 * 3, { ...its, action: 'quarantine' });
  assert.equal(limitOf('cooldown: 0', [taken])?.limit, 'quarantined');
  assert.equal(limitOf('cooldown: 0', [taken, past(1, 1_000, { ...its, action: 'release' })]), undefined);
});

test('a container is made anew under the name of one that was in quarantine and is gone', () => {
  const its = { containerId: orderFor(rogue).containerId, container: 'rogue', action: 'quarantine' } as const;
  const order = orderFor(rogue, { action: 'restore', containerId: null });
  const at = { past: [past(1, 86_400_000, its)], containers: 1, nowMs };
  assert.equal(limitedBy(order, governance('cooldown: 0'), at), undefined);
});

test('what an operator signs is not held up', () => {
  const order = orderFor(rogue, { origin: 'operator' });
  assert.equal(limitedBy(order, governance('daily_limit: 0'), { past: [], containers: 1, nowMs }), undefined);
});

test('whatever comes, no more is taken down in any ten minutes than the share', () => {
  const wish = fc.record({ action: fc.constantFrom(...orderActions), n: fc.nat(30), waitMs: fc.nat(200_000) });
  fc.assert(
    fc.property(
      fc.array(wish, { maxLength: 60 }),
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 1, max: 30 }),
      (wishes, share, containers) => {
        const rules = governance(`blast_radius: ${share}, cooldown: 0, daily_limit: 100000`);
        const done: PastOrder[] = [];
        let at = nowMs;
        let left = containers;
        for (const { action, n, waitMs } of wishes) {
          at += waitMs;
          const order = orderFor(rogue, { action, container: `c${n}`, containerId: id(n) });
          if (limitedBy(order, rules, { past: done, containers: left, nowMs: at }) !== undefined) continue;
          done.push({ action, container: `c${n}`, containerId: id(n), atMs: at });
          if (action === 'terminate' && left > 0) left -= 1;
          const recent = done.filter(
            (one) => /terminate|rollback|quarantine/.test(one.action) && at - one.atMs < limits.blastWindowMs,
          );
          const struck = new Set(recent.map((one) => one.container)).size;
          assert.ok(
            struck <= Math.max(1, Math.floor(((containers + done.length) * share) / 100)),
            `${struck} of ${containers}`,
          );
        }
      },
    ),
    { numRuns: 500 },
  );
});
