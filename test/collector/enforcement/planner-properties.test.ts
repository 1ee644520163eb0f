import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { plan } from '../../../collector/enforcement/planner.ts';
import type { OpenDrift, StoredOrder } from '../../../collector/enforcement/ports.ts';
import type { Situation } from '../../../collector/enforcement/situation.ts';
import { driftKinds } from '../../../common/drift-kind.ts';
import { limits } from '../../../common/limits.ts';
import { commit, manifestOf, node, nowMs, openDrift, situationOf, storedOrder } from './situations.ts';

const names = ['web', 'api', 'db', 'cache', 'mail', 'miner'];

const open = fc
  .record({
    kind: fc.constantFrom(...driftKinds),
    name: fc.constantFrom(...names),
    openedIndex: fc.nat(400),
    agoMs: fc.nat(100_000_000),
  })
  .map(({ kind, name, openedIndex, agoMs }) =>
    openDrift(kind, name, { openedIndex: openedIndex * 20, openedAtMs: nowMs - agoMs }),
  );

const begunOutcomes = ['executed', 'failed', 'verified', 'relapsed'] as const;

/** Orders of the last day and some before; results come within the life of the order. */
const past = fc
  .record({
    about: open,
    agoMs: fc.oneof(fc.nat(1_200_000), fc.nat(100_000_000)),
    fate: fc.constantFrom(...begunOutcomes, 'refused' as const, 'rejected' as const, 'silent' as const),
    tookMs: fc.nat(limits.orderLifetimeMs),
  })
  .map(({ about, agoMs, fate, tookMs }): StoredOrder => {
    const issuedMs = nowMs - agoMs;
    if (fate === 'rejected') return storedOrder(about, { issuedMs, status: 'rejected' });
    const status = agoMs < limits.orderLifetimeMs ? 'requested' : 'expired';
    if (fate === 'silent') return storedOrder(about, { issuedMs, status });
    return storedOrder(about, { issuedMs, results: [[fate, Math.min(nowMs, issuedMs + tookMs)]] });
  });

const governance = fc.record({
  daily_limit: fc.integer({ min: 0, max: 12 }),
  cooldown_ms: fc.constantFrom(0, 60_000, 300_000),
  blast_radius: fc.integer({ min: 0, max: 100 }),
});

const base = manifestOf({ graceSeconds: 30 });

/** No two entries share an index. */
const numbered = (orders: readonly StoredOrder[]) =>
  orders.map((stored, i) => ({ ...stored, index: stored.index + i }));

const situation = fc
  .record({
    drifts: fc.uniqueArray(open, { selector: ({ drift }) => drift.id, maxLength: 12 }),
    orders: fc.array(past, { maxLength: 15 }),
    governance,
    mode: fc.constantFrom('active' as const, 'passive' as const, 'audit' as const),
    spare: fc.nat(10),
  })
  .map(({ drifts, orders, governance, mode, spare }): Situation => {
    const there = new Set(drifts.flatMap(({ drift }) => drift.containerId ?? []));
    const policy = { ...base.policy, mode, governance: { ...base.policy.governance, ...governance } };
    return situationOf({
      ...{ drifts, manifest: { ...base, policy }, orders: numbered(orders) },
      node: { node, adopted: { commit, atMs: 0 }, containers: there.size + spare },
    });
  });

const runs = { numRuns: 250 };

/** Orders that count as begun, and when, told in another way than the planner does. */
function begun(orders: readonly StoredOrder[]): { readonly stored: StoredOrder; readonly ms: number }[] {
  return orders.flatMap((stored) => {
    const [told] = stored.events;
    if (told === undefined)
      return stored.status === 'rejected' ? [] : [{ stored, ms: Date.parse(stored.order.issuedAt) }];
    return stored.status === 'refused' ? [] : [{ stored, ms: told.atMs }];
  });
}

const takesDown = new Set<string>(['terminate', 'rollback', 'quarantine']);

test('whatever the history, no plan goes beyond what governance allows', () => {
  fc.assert(
    fc.property(situation, (at) => {
      const { orders } = plan(at);
      if (orders.length === 0) return;
      const { daily_limit, cooldown_ms, blast_radius } = at.manifest.policy.governance;
      const before = begun(at.orders);
      const today = at.orders.filter((stored) => {
        const ms = before.find((one) => one.stored === stored)?.ms ?? Date.parse(stored.order.issuedAt);
        return nowMs - ms < limits.dailyWindowMs;
      });
      assert.ok(today.length + orders.length <= daily_limit, 'daily limit');
      for (const { container } of orders) {
        const last = before.filter(({ stored }) => stored.order.container === container).map(({ ms }) => ms);
        assert.ok(nowMs - Math.max(...last) >= cooldown_ms, 'cooldown');
        const same = orders.filter((order) => order.container === container);
        assert.ok(cooldown_ms === 0 || same.length === 1, 'cooldown within a plan');
      }
      const struckNow = orders.filter(({ action }) => takesDown.has(action)).map(({ containerId }) => containerId);
      const recent = before.filter(
        ({ stored, ms }) => takesDown.has(stored.order.action) && nowMs - ms < limits.blastWindowMs,
      );
      const struck = new Set(recent.map(({ stored }) => stored.order.containerId));
      const added = new Set(struckNow.filter((id) => !struck.has(id))).size;
      const there = new Set(at.drifts.map(({ drift }) => drift.containerId));
      const gone = new Set(
        recent.flatMap(({ stored: { order } }) =>
          order.action === 'terminate' && !there.has(order.containerId) ? order.containerId : [],
        ),
      );
      const allowed = Math.max(1, Math.floor(((at.node.containers + gone.size) * blast_radius) / 100));
      assert.ok(added === 0 || struck.size + added <= allowed, 'blast radius');
    }),
    runs,
  );
});

test('every drift is answered by one order or held, and no order is without its drift', () => {
  fc.assert(
    fc.property(situation, (at) => {
      const { orders, held } = plan(at);
      const answered = orders.map(({ drift }) => drift?.id);
      const told = [...answered, ...held.map(({ drift }: { readonly drift: OpenDrift }) => drift.drift.id)].sort();
      assert.deepEqual(told, at.drifts.map(({ drift }) => drift.id).sort());
      if (at.manifest.policy.mode === 'audit') assert.deepEqual(orders, []);
    }),
    runs,
  );
});

test('the same situation gives the same plan, in whatever order it is told', () => {
  const shuffled = situation.chain((at) =>
    fc.record({
      at: fc.constant(at),
      drifts: fc.shuffledSubarray([...at.drifts], { minLength: at.drifts.length }),
      orders: fc.shuffledSubarray([...at.orders], { minLength: at.orders.length }),
    }),
  );
  fc.assert(
    fc.property(shuffled, ({ at, drifts, orders }) => assert.deepEqual(plan({ ...at, drifts, orders }), plan(at))),
    runs,
  );
});

test('what is planned once is not planned again while nobody has answered', () => {
  fc.assert(
    fc.property(situation, (at) => {
      const orders = plan(at).orders.map(
        (order, i): StoredOrder => ({
          ...{ hash: `${i}`.padStart(64, '0'), index: 1_000 + i, status: 'requested', events: [] },
          order: { ...order, nonce: '0'.repeat(32) },
        }),
      );
      assert.deepEqual(
        plan({ ...at, orders: [...at.orders, ...orders] }).orders.filter(({ drift }) =>
          orders.some(({ order }) => order.drift?.id === drift?.id),
        ),
        [],
      );
    }),
    runs,
  );
});
