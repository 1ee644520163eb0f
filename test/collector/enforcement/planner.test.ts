import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { plan } from '../../../collector/enforcement/planner.ts';
import type { OpenDrift, Replica } from '../../../collector/enforcement/ports.ts';
import { replicasLeft } from '../../../collector/enforcement/replicas.ts';
import type { Plan, Situation } from '../../../collector/enforcement/situation.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { limits } from '../../../common/limits.ts';
import { driftDigest, orderSchema } from '../../../common/order.ts';
import { commit, driftOf, idOf, manifestOf, node, nowMs, openDrift, situationOf, storedOrder } from './situations.ts';

const miner = openDrift('UNAUTHORIZED_CONTAINER', 'miner');
const image = openDrift('IMAGE_DRIFT', 'web');

const ordered = ({ orders }: Plan) => orders.map(({ action, container }) => `${action} ${container}`);
const codes = ({ held }: Plan) => held.map(({ code }) => code);

/** What becomes of drifts: the orders, then the codes of what is held. */
function outcome(others: Partial<Situation>): string[] {
  const made = plan(situationOf(others));
  return [...ordered(made), ...codes(made)];
}

describe('an order', () => {
  test('is the answer of the rule, names exactly one container, and says what it was decided on', () => {
    const [order] = plan(situationOf({ drifts: [miner] })).orders;
    const whole = orderSchema.parse({ ...order, nonce: '0'.repeat(32) });
    assert.deepEqual(
      [whole.action, whole.container, whole.containerId, whole.drift?.digest, whole.commit, whole.by, whole.origin],
      [
        'terminate',
        'miner',
        idOf('miner'),
        driftDigest(miner.drift),
        commit,
        'drift_rules.unauthorized_containers',
        'rule',
      ],
    );
    assert.deepEqual([whole.issuedAt, whole.approvals], [rfc3339(nowMs), 0]);
    assert.equal(Date.parse(whole.expiresAt) - nowMs, limits.orderLifetimeMs);
  });

  test('waits for approvals as long as the manifest says', () => {
    const manifest = manifestOf({ mode: 'passive', governance: { approval_time: 7200 } });
    const [order] = plan(situationOf({ drifts: [miner], manifest })).orders;
    assert.deepEqual([order?.approvals, order?.expiresAt], [1, rfc3339(nowMs + 7_200_000)]);
  });

  test('waits for witnesses for an hour, however long for approvals', () => {
    const plain = manifestOf({ governance: { approval_time: 7200 } });
    const manifest = { ...plain, policy: { ...plain.policy, witnesses: { keys: ['one'], required: 1 } } };
    const [order] = plan(situationOf({ drifts: [miner], manifest })).orders;
    assert.deepEqual([order?.approvals, order?.expiresAt], [0, rfc3339(nowMs + limits.witnessedOrderLifetimeMs)]);
  });

  test('answers all drifts of a container, and a container that is missing is made anew', () => {
    const config = openDrift('CONFIG_DRIFT', 'web', { openedIndex: 99 });
    const missing = openDrift('MISSING_CONTAINER', 'web', { openedIndex: 101 });
    assert.deepEqual(outcome({ drifts: [config, image] }), ['rollback web', 'covered']);
    assert.equal(plan(situationOf({ drifts: [config, image] })).orders[0]?.drift?.kind, 'IMAGE_DRIFT');
    assert.deepEqual(outcome({ drifts: [config, image, missing] }), ['restore web', 'covered', 'covered']);
  });

  test('is given about what stood before, also on a node that has just adopted the commit', () => {
    const adopted = { commit, atMs: nowMs - 5_000 };
    const settled = { fleetMs: 0, ownMs: nowMs + 7 };
    const others = { settled, node: { node, adopted, containers: 9 } };
    assert.deepEqual(outcome({ ...others, drifts: [miner] }), ['terminate miner']);
  });
});

describe('nothing is ordered', () => {
  test('about mounted files, which stay what they are when the container is made anew', () => {
    const file = { field: 'mounted_files./etc/web.conf', desired: `sha256:${'a'.repeat(64)}`, observed: null };
    const drift = driftOf('CONFIG_DRIFT', 'web');
    const about = (differences: OpenDrift['drift']['differences']) =>
      outcome({ drifts: [openDrift('CONFIG_DRIFT', 'web', { drift: { ...drift, differences } })] });
    assert.deepEqual(about([file]), ['alert_only']);
    assert.deepEqual(about([file, { field: 'more', desired: null, observed: '7 more differences' }]), ['alert_only']);
    assert.deepEqual(about([...drift.differences, file]), ['rollback web']);
  });

  const window = { name: 'night', day: 'daily', start_time: '11:30', end_time: '12:30' };
  const adopted = { commit, atMs: nowMs - 5_000 };
  const silence = (scope: object, until = nowMs + 60_000) => ({
    index: 1,
    body: {
      ...{ id: idOf('s'), until: rfc3339(until), actor: 'ada', reason: 'known' },
      scope: { node: null, container: null, kind: null, ...scope },
    },
  });
  const announced = { node: null, container: 'web', image: 'web:2', until: rfc3339(nowMs + 1_000) };
  const created = { ...miner, openedAtMs: nowMs - 2_000, drift: driftOf('UNAUTHORIZED_CONTAINER', 'miner', 'created') };
  const missed = { ...miner, drift: { ...miner.drift, containerId: 'not an id' } };

  const cases: readonly (readonly [promise: string, code: string, others: Partial<Situation>, until?: number])[] = [
    [
      'on a node that follows another commit',
      'commit',
      { node: { node, adopted: { commit: 'x', atMs: 0 }, containers: 9 } },
    ],
    ['on a node that follows none', 'commit', { node: { node, adopted: null, containers: 9 } }],
    ['in audit mode', 'mode', { manifest: manifestOf({ mode: 'audit' }) }],
    [
      'that the rule does not ask for',
      'alert_only',
      { manifest: manifestOf({ rules: { unauthorized_containers: { action: 'alert' } } }) },
    ],
    ['while it is silenced', 'silenced', { silences: [silence({ container: 'miner' })] }, nowMs + 60_000],
    ['by a commit that is frozen', 'frozen', { frozen: true }],
    ['while nodes settle', 'settling', { settled: { fleetMs: nowMs + 7, ownMs: 0 } }, nowMs + 7],
    [
      'by a node that has just adopted the commit for what it found by it',
      'settling',
      {
        settled: { fleetMs: 0, ownMs: nowMs + 7 },
        node: { node, adopted, containers: 9 },
        drifts: [{ ...miner, openedAtMs: nowMs - 1 }],
      },
      nowMs + 7,
    ],
    [
      'within the grace period',
      'grace',
      { manifest: manifestOf({ graceSeconds: 90 }) },
      nowMs + 30_000 + limits.graceSlackMs,
    ],
    [
      'about a container that does not run yet',
      'starting',
      { drifts: [created] },
      nowMs + limits.startWithinMs - 2_000,
    ],
    [
      'in a maintenance window',
      'window',
      { manifest: manifestOf({ windows: [{ ...window, allow_drift: true }] }) },
      nowMs + 60_000,
    ],
    ['about what has no id', 'unnamed', { drifts: [missed] }],
    [
      'while an order is under way',
      'pending',
      { orders: [storedOrder(miner)] },
      nowMs - 1_000 + limits.orderLifetimeMs,
    ],
    [
      'that an operator has ordered otherwise',
      'pending',
      { orders: [storedOrder(miner, { others: { drift: null, origin: 'operator', action: 'quarantine' } })] },
      nowMs - 1_000 + limits.orderLifetimeMs,
    ],
    ['once the day is full', 'daily_limit', { manifest: manifestOf({ governance: { daily_limit: 0 } }) }],
  ];
  for (const [promise, code, others, untilMs] of cases) {
    test(`${promise}: ${code}`, () => {
      const { orders, held } = plan(situationOf({ drifts: [miner], ...others }));
      assert.deepEqual([orders, held.map((hold) => [hold.code, hold.untilMs])], [[], [[code, untilMs]]]);
    });
  }

  test('about the image that was announced, and nothing else is excused by that', () => {
    const others = { announcements: [announced] };
    const config = openDrift('CONFIG_DRIFT', 'web');
    const missing = openDrift('MISSING_CONTAINER', 'web');
    const elsewhere = openDrift('IMAGE_DRIFT', 'api');
    assert.deepEqual(outcome({ ...others, drifts: [image] }), ['expected']);
    assert.deepEqual(outcome({ ...others, drifts: [image], nowMs: nowMs + 1_000 }), ['rollback web']);
    assert.deepEqual(outcome({ ...others, drifts: [config] }), ['rollback web']);
    assert.deepEqual(outcome({ ...others, drifts: [missing] }), ['restore web']);
    assert.deepEqual(outcome({ ...others, drifts: [elsewhere] }), ['rollback api']);
    assert.deepEqual(outcome({ drifts: [image], announcements: [{ ...announced, image: 'web:3' }] }), ['rollback web']);
  });

  test('for other drifts than those that are silenced', () => {
    for (const scope of [{ container: 'web' }, { node: 'node2' }, { kind: 'IMAGE_DRIFT' }]) {
      assert.deepEqual(outcome({ drifts: [miner], silences: [silence(scope)] }), ['terminate miner']);
    }
    assert.deepEqual(outcome({ drifts: [miner], silences: [silence({}, nowMs)] }), ['terminate miner'], 'over');
    assert.deepEqual(outcome({ drifts: [miner, image], silences: [silence({})] }), ['silenced', 'silenced']);
  });

  test('during a window that only holds up rollbacks, except rollbacks', () => {
    const manifest = manifestOf({ windows: [window] });
    assert.deepEqual(outcome({ manifest, drifts: [miner, image] }), ['terminate miner', 'window']);
  });

  test('too early by either clock', () => {
    const manifest = manifestOf({ graceSeconds: 60 });
    const until = (openedAtMs: number, seenMs: number | undefined) => {
      const seen = new Map(seenMs === undefined ? [] : [[100, seenMs]]);
      return plan(situationOf({ manifest, drifts: [{ ...miner, openedAtMs }], seenMs: seen })).held[0]?.untilMs;
    };
    const [full, slack] = [60_000, limits.graceSlackMs];
    assert.equal(until(nowMs + 5_000, nowMs), nowMs + 5_000 + full + slack, 'the node is ahead');
    assert.equal(until(nowMs - 20_000, nowMs), nowMs + full + slack, 'the node is behind');
    assert.equal(until(nowMs - 20_000, undefined), nowMs + full + slack, 'not seen before is seen now');
    assert.equal(until(nowMs - 85_000, nowMs), nowMs - 85_000 + limits.clockSuspectMs + full + slack, 'a restart');
  });
});

describe('what earlier orders came to', () => {
  const executed = (agoMs: number) =>
    storedOrder(image, { issuedMs: nowMs - agoMs, results: [['executed', nowMs - agoMs]] });
  const failed = (agoMs: number) =>
    storedOrder(image, { issuedMs: nowMs - agoMs - 1_000, results: [['failed', nowMs - agoMs]] });
  const refused = (agoMs: number) =>
    storedOrder(image, { issuedMs: nowMs - agoMs - 1_000, results: [['refused', nowMs - agoMs]] });
  const after = (...orders: readonly ReturnType<typeof executed>[]) => {
    const made = plan(situationOf({ drifts: [image], orders }));
    return [...ordered(made), ...made.held.map(({ code, untilMs }) => [code, untilMs])];
  };

  test('one that was executed gets time to show', () => {
    assert.deepEqual(after(executed(1_000)), [['verifying', nowMs - 1_000 + limits.verifyWithinMs]]);
    assert.deepEqual(
      after(executed(limits.verifyWithinMs + 30_000)),
      ['rollback web'],
      'it has failed, and is tried again',
    );
  });

  test('one that failed is tried again after the delay, and so often as the manifest says', () => {
    assert.deepEqual(after(failed(29_000)), [['retry', nowMs + 1_000]]);
    assert.deepEqual(after(failed(30_000)), ['rollback web']);
    assert.deepEqual(after(failed(99_000), failed(60_000)), ['rollback web']);
    assert.deepEqual(after(failed(990_000), failed(99_000), failed(60_000)), [['exhausted', undefined]]);
  });

  test('one that relapsed counts as failed, also when the drift had ended in between', () => {
    const relapsed = [1, 2, 3].map((i) => ({
      ...storedOrder(image, { issuedMs: nowMs - i * 99_000, results: [['relapsed', nowMs - i * 90_000]] }),
      index: i,
    }));
    assert.deepEqual(after(...relapsed), [['exhausted', undefined]]);
  });

  test('a drift that has changed, has come anew, or is judged by another commit is another try', () => {
    const three = [990_000, 99_000, 60_000].map(failed);
    const changed = { ...image, drift: { ...image.drift, containerId: idOf('another') } };
    assert.deepEqual(outcome({ drifts: [changed], orders: three }), ['rollback web']);
    assert.deepEqual(outcome({ drifts: [{ ...image, openedIndex: 500 }], orders: three }), ['rollback web']);
    const before = three.map((stored) => ({ ...stored, order: { ...stored.order, commit: 'before' } }));
    assert.deepEqual(after(...before), ['rollback web']);
  });

  test('one that is refused again and again is ordered ever more rarely', () => {
    assert.deepEqual(after(refused(29_000)), [['retry', nowMs + 1_000]]);
    assert.deepEqual(after(refused(99_000), refused(59_000)), [['retry', nowMs + 1_000]]);
    const often = Array.from({ length: 40 }, (_, i) => refused(1_000 + i));
    assert.deepEqual(after(...often), [['retry', nowMs - 1_000 + limits.refusedRetryMaxMs]]);
  });

  test('a container that went away before it could be acted on slows down no order about the next one', () => {
    const drift = (containerId: string | null) => ({ ...driftOf('MISSING_CONTAINER', 'web'), containerId });
    const stopped = (containerId: string | null) =>
      openDrift('MISSING_CONTAINER', 'web', { drift: drift(containerId) });
    const gone = (containerId: string | null, agoMs: number) => {
      const [issuedMs, refusedMs] = [nowMs - agoMs - 1_000, nowMs - agoMs];
      return storedOrder(stopped(containerId), { issuedMs, results: [['refused', refusedMs, 'gone']] });
    };
    const often = Array.from({ length: 12 }, (_, i) => gone(idOf(`web ${i}`), 1_000 + i));
    const next = plan(situationOf({ drifts: [stopped(idOf('web 12'))], orders: often }));
    assert.deepEqual([next.held[0]?.code, next.held[0]?.untilMs], ['retry', nowMs - 1_000 + 30_000]);
    const same = plan(situationOf({ drifts: [stopped(idOf('web'))], orders: [2, 1].map((n) => gone(idOf('web'), n)) }));
    assert.deepEqual(same.held[0]?.untilMs, nowMs - 1 + 60_000, 'one that cannot be looked at is another matter');
  });

  test('what a person has rejected is not ordered again', () => {
    assert.deepEqual(after(storedOrder(image, { issuedMs: nowMs - 999_000, status: 'rejected' })), [
      ['rejected', undefined],
    ]);
  });

  test('a rollback that nobody has answered may still be under way after it has expired', () => {
    const silent = storedOrder(image, { issuedMs: nowMs - limits.orderLifetimeMs - 1_000, status: 'expired' });
    const overMs = nowMs - 1_000 + limits.healthyWithinMs + limits.stopGraceMs;
    assert.deepEqual(after(silent), [['pending', overMs]]);
    const unapproved = { ...silent, order: { ...silent.order, approvals: 1 } };
    assert.deepEqual(after(unapproved), [['retry', nowMs - 1_000 + 30_000]], 'nobody could have begun it');
  });

  test('a container in quarantine is left there', () => {
    const orders = [
      storedOrder(miner, {
        issuedMs: nowMs - 9_000_000,
        results: [['executed', nowMs - 9_000_000]],
        others: { action: 'quarantine' },
      }),
    ];
    const rules = { unauthorized_containers: { action: 'quarantine' } };
    assert.deepEqual(outcome({ drifts: [miner], orders, manifest: manifestOf({ rules }) }), ['quarantined']);
  });

  test('a container in quarantine that somebody else lets run goes back there', () => {
    const rules = { unauthorized_containers: { action: 'quarantine' } };
    const freed = [
      storedOrder(miner, {
        issuedMs: nowMs - 9_000_000,
        results: [
          ['executed', nowMs - 9_000_000],
          ['relapsed', nowMs - 600_000],
        ],
        others: { action: 'quarantine' },
      }),
    ];
    assert.deepEqual(outcome({ drifts: [miner], orders: freed, manifest: manifestOf({ rules }) }), [
      'quarantine miner',
    ]);
  });
});

describe('limits', () => {
  const many = (count: number): OpenDrift[] =>
    Array.from({ length: count }, (_, i) => openDrift('UNAUTHORIZED_CONTAINER', `miner${i}`, { openedIndex: i }));

  test('orders of one plan count for each other, oldest drift first', () => {
    const ten = { node: { node, adopted: { commit, atMs: 0 }, containers: 10 }, drifts: many(8).reverse() };
    const made = plan(situationOf({ ...ten, manifest: manifestOf({ governance: { blast_radius: 30 } }) }));
    assert.deepEqual(ordered(made), ['terminate miner0', 'terminate miner1', 'terminate miner2']);
    assert.deepEqual(new Set(codes(made)), new Set(['blast_radius']));
    const daily = plan(situationOf({ ...ten, manifest: manifestOf({ governance: { daily_limit: 5 } }) }));
    assert.equal(daily.orders.length, 5);
    assert.deepEqual(daily.held[0]?.untilMs, nowMs + limits.dailyWindowMs);
  });

  test('containers that were made and never started make nobody else expendable', () => {
    const idle = Array.from({ length: 3 }, (_, i) =>
      openDrift('UNAUTHORIZED_CONTAINER', `idle${i}`, {
        drift: driftOf('UNAUTHORIZED_CONTAINER', `idle${i}`, 'created'),
      }),
    );
    const orders = idle.map((open) => storedOrder(open, { issuedMs: nowMs - 30_000 }));
    const at = { node: { node, adopted: { commit, atMs: 0 }, containers: 4 }, orders };
    const manifest = manifestOf({ governance: { blast_radius: 50 } });
    // Three that never ran were struck, and of the four that run none is gone because of that.
    assert.deepEqual(codes(plan(situationOf({ ...at, manifest, drifts: [miner] }))), ['blast_radius']);
    const wider = manifestOf({ governance: { blast_radius: 60 } });
    assert.deepEqual(ordered(plan(situationOf({ ...at, manifest: wider, drifts: [miner] }))), ['terminate miner']);
    assert.deepEqual(ordered(plan(situationOf({ ...at, manifest: wider, drifts: [...idle, miner] }))), [
      'terminate miner',
    ]);
  });

  test('a node that refuses everything does not get more orders in a day than one that obeys', () => {
    const drifts = many(9);
    const orders = drifts.slice(0, 5).map((open) => storedOrder(open, { results: [['refused', nowMs - 500]] }));
    const manifest = manifestOf({ governance: { daily_limit: 7 } });
    const made = plan(situationOf({ drifts: drifts.slice(5), orders, manifest }));
    assert.deepEqual([made.orders.length, codes(made)], [2, ['daily_limit', 'daily_limit']]);
  });

  test('a failed rollback of the same container is not one more of the blast radius', () => {
    const manifest = manifestOf({ governance: { blast_radius: 1 } });
    const orders = [storedOrder(image, { issuedMs: nowMs - 60_000, results: [['failed', nowMs - 50_000]] })];
    assert.deepEqual(outcome({ drifts: [image], orders, manifest }), ['rollback web']);
    assert.deepEqual(outcome({ drifts: [openDrift('IMAGE_DRIFT', 'api')], orders, manifest }), ['blast_radius']);
  });
});

describe('the last replica that works', () => {
  const replica = (on: string, state = 'running', health = 'healthy'): Replica => ({ node: on, state, health });
  const with_ = (...replicas: readonly Replica[]) =>
    outcome({ drifts: [image], replicas: new Map([['web', replicas]]) });

  test('is not replaced', () => {
    assert.deepEqual(with_(replica(node), replica('node2')), ['rollback web']);
    assert.deepEqual(with_(replica(node), replica('node2', 'running', 'none')), ['rollback web']);
    assert.deepEqual(with_(replica(node), replica('node2', 'exited')), ['last_replica']);
    assert.deepEqual(with_(replica(node), replica('node2', 'running', 'unhealthy')), ['last_replica']);
    assert.deepEqual(with_(replica(node)), ['rollback web'], 'it never had another');
    assert.deepEqual(with_(replica(node, 'running', 'unhealthy'), replica('node2', 'exited')), ['rollback web']);
  });

  test('is the one that is left while the others are being replaced', () => {
    const requested = [storedOrder(image, { others: { node: 'node2' } })];
    const left = replicasLeft({ all: [replica(node), replica('node2')], requested }, node);
    assert.deepEqual(with_(...left), ['last_replica']);
  });

  test('is still one that works when it is under another order itself', () => {
    const requested = [storedOrder(image)];
    const left = replicasLeft({ all: [replica(node), replica('node2', 'exited')], requested }, node);
    assert.deepEqual(with_(...left), ['last_replica']);
  });

  test('is made anew where it is missing', () => {
    const replicas = new Map([['web', [replica('node2', 'exited')]]]);
    assert.deepEqual(outcome({ drifts: [openDrift('MISSING_CONTAINER', 'web')], replicas }), ['restore web']);
  });
});
