import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type BacktestNeeds, backtest } from '../../../collector/backtest/backtest.ts';
import { createAnnouncements } from '../../../collector/enforcement/announcements.ts';
import { createFreezer } from '../../../collector/enforcement/freezer.ts';
import { NodeClocks } from '../../../collector/enforcement/graces.ts';
import { EnforcementRounds } from '../../../collector/enforcement/rounds.ts';
import { withBacktestView } from '../../../collector/postgres/backtest-store.ts';
import { postgresPlanningStore } from '../../../collector/postgres/enforcement-store.ts';
import { enforcementPolicy } from '../../../common/enforcement/policy.ts';
import { wantedIn } from '../../../common/enforcement/wanted.ts';
import { limits } from '../../../common/limits.ts';
import { containersOn } from '../../../common/manifest/compile.ts';
import { type Manifest, parseManifest } from '../../../common/manifest/manifest.ts';
import type { Order } from '../../../common/order.ts';
import { firstEntryMs } from '../../authors.ts';
import { type Random, randomOf, seedOf } from '../../e2e/random.ts';
import { collectorKeys } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { assertSameDeeds, type Issued, obeyedWithinMs } from './deeds.ts';
import { madeFor, type RecordedFleet, RecordedNode, recordedFleet } from './recorded-fleet.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const seed = seedOf('backtest');
const commit = 'c'.repeat(40);

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

const unlimited = { cooldown: 0, blast_radius: 100, daily_limit: 100_000, settling_time: 0 };

interface Written {
  readonly mode?: string;
  readonly graceSeconds?: number;
  readonly governance?: Readonly<Record<string, unknown>>;
  readonly rules?: Readonly<Record<string, unknown>>;
  readonly user?: string;
  readonly containers?: readonly Readonly<Record<string, unknown>>[];
  readonly windows?: readonly unknown[];
}

function wantedOf(name: string, others: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
  return { name, type: 'docker', image: `${name}:1`, user: '1000', ...others };
}

/** Wants `web` and `api` on every node; all rules act. YAML is a superset of JSON. */
function manifestOf(written: Written = {}): Manifest {
  const wanted = ['web', 'api'].map((name) => wantedOf(name, { user: written.user ?? '1000' }));
  return parseManifest(
    JSON.stringify({
      config: {
        enforcement_mode: written.mode ?? 'active',
        grace_period_seconds: written.graceSeconds ?? 0,
        auto_rollback: true,
      },
      containers: written.containers ?? wanted,
      drift_rules: {
        unauthorized_containers: { action: 'terminate', exceptions: ['debug-*'] },
        missing_containers: { action: 'recreate' },
        image_drift: { action: 'rollback' },
        config_drift: { action: 'rollback' },
        ...written.rules,
      },
      rollback: { enabled: true, retry_delay: 0, max_retries: 100 },
      governance: { ...unlimited, ...written.governance },
      maintenance_windows: written.windows ?? [],
    }),
  );
}

const alertOnly = manifestOf({
  rules: Object.fromEntries(
    ['unauthorized_containers', 'missing_containers', 'image_drift', 'config_drift'].map((rule) => [
      rule,
      { action: 'alert' },
    ]),
  ),
});

async function backtested(fleet: RecordedFleet, manifest: Manifest, others: Partial<BacktestNeeds> = {}) {
  const needs: BacktestNeeds = {
    ...{ manifest, fromMs: 0, toMs: fleet.clock.now(), collectorKey: collectorKeys.publicKey },
    ...{ only: undefined, released: false, manifestAt: async () => undefined },
    announcements: createAnnouncements({ verify: async () => true, logger: quietLogger }),
    ...others,
  };
  return withBacktestView(fleet.db, (view) => backtest(view, needs));
}

async function fleetOf(names: readonly string[], manifest: Manifest) {
  const fleet = await recordedFleet(postgres.pool(await postgres.migratedDatabase()));
  const nodes = names.map((name) => new RecordedNode(fleet, name, { manifest, commit }));
  for (const node of nodes) {
    for (const name of node.wanted) node.run(name, `${name}:1`);
    // So many that no radius is too small for what else happens.
    for (let nth = 10; nth < 30; nth++) node.run(`debug-${nth}`, 'shell:1');
    await node.start();
  }
  fleet.pass(60_000);
  return { fleet, nodes };
}

/** Something happens to the containers of a node. */
function befall({ int, pick }: Random, node: RecordedNode): void {
  const name = pick(node.wanted);
  const happenings = [
    () => node.run(`stray-${int(1, 4)}`, 'miner:1'),
    () => node.run(`debug-${int(1, 2)}`, 'shell:1'),
    () => node.remove(`stray-${int(1, 4)}`),
    () => node.change(name, { state: 'exited', exitCode: int(0, 1) * 137 }),
    () => node.change(name, { state: 'running', exitCode: 0 }),
    () => node.remove(name),
    () => node.run(name, `${name}:${int(1, 2)}`),
    () => node.made.set(node.run(name, `${name}:1`), madeFor(pick(['0', '1000']))),
  ];
  pick(happenings)();
}

interface Living {
  readonly fleet: RecordedFleet;
  readonly nodes: readonly RecordedNode[];
}

/** What goes with the life of a fleet: how time passes, and what follows upon each entry of a node. */
interface Ways {
  readonly pass: (ms: number) => Promise<void>;
  readonly follow: (node: RecordedNode) => Promise<void>;
}

/** Minutes go by with now and then something. */
async function live(
  { fleet, nodes }: Living,
  { random, minutes }: { readonly random: Random; readonly minutes: number },
  ways: Ways = { pass: async (ms) => fleet.pass(ms), follow: async () => {} },
): Promise<void> {
  for (let minute = 0; minute < minutes; minute++) {
    for (const node of nodes) {
      await ways.pass(random.int(1, 60_000 / nodes.length - 1_000));
      if (random.chance(0.5)) befall(random, node);
      await node.look();
      await ways.follow(node);
      await node.report();
      await ways.follow(node);
    }
  }
}

/** The planner as it runs in a collector, on real projections, for nodes that obey. */
function enforcing({ fleet, nodes }: Living, manifest: Manifest) {
  const { db, ledger, clock } = fleet;
  const store = postgresPlanningStore(db);
  const sent: Order[] = [];
  const issued: Issued[] = [];
  const metrics = { ordered: () => {}, frozen: () => {} };
  const carrier = { nodes: () => nodes.map(({ name }) => name) };
  const logger = quietLogger;
  let drawn = 0;
  const rounds = new EnforcementRounds({
    ...{ store, ledger, clock, logger, metrics },
    dispatcher: {
      fresh: ({ order }) => void sent.push(order),
      waiting: async () => {},
      forget: () => {},
      unwitnessed: [],
    },
    freezer: createFreezer({ store, ledger, carrier, logger, metrics }),
    announcements: createAnnouncements({ verify: async () => true, logger }),
    random: (bytes) => Buffer.from((drawn++).toString(16).padStart(2 * bytes, '0'), 'hex'),
  });
  const inForce = {
    commit,
    policy: enforcementPolicy(manifest),
    wanted: wantedIn(containersOn(manifest)),
    adoptedAtMs: firstEntryMs,
  };
  const clocks = new Map(nodes.map(({ name }) => [name, new NodeClocks()]));
  const dueMs = new Map<RecordedNode, number>();
  const follow = async (node: RecordedNode) => {
    for (;;) {
      const { untilMs } = await rounds.run(node.name, inForce, clocks.get(node.name) ?? assert.fail());
      dueMs.set(node, untilMs ?? Number.POSITIVE_INFINITY);
      const orders = sent.splice(0);
      if (orders.length === 0) return;
      for (const order of orders) {
        const { issuedAt: at, action, container, containerId } = order;
        issued.push({ at, deed: `${at} ${order.node} ${action} ${container} ${containerId}` });
        fleet.pass(obeyedWithinMs);
        await node.obey(order);
      }
    }
  };
  const pass = async (ms: number) => {
    const untilMs = clock.now() + ms;
    for (;;) {
      const [next] = [...dueMs].sort(([, a], [, b]) => a - b);
      if (next === undefined || next[1] > untilMs) break;
      fleet.pass(Math.max(0, next[1] - clock.now()));
      await follow(next[0]);
    }
    fleet.pass(Math.max(0, untilMs - clock.now()));
  };
  return { follow, pass, issued };
}

describe('the manifest that was in force', () => {
  for (let run = 0; run < (long ? 30 : 4); run++) {
    const graceSeconds = run % 2 === 0 ? 0 : 50;
    test(`would have ordered what the planner really ordered, after ${graceSeconds} s: ${run}`, async () => {
      // Of each name there is one: when a collector asks whether another replica works is not on record.
      const containers = ['node1', 'node2'].flatMap((node) =>
        ['web', 'api'].map((name) => wantedOf(`${name}-of-${node}`, { node })),
      );
      const manifest = manifestOf({ graceSeconds, containers });
      const lived = await fleetOf(['node1', 'node2'], manifest);
      const { issued, ...ways } = enforcing(lived, manifest);
      await live(lived, { random: randomOf(seed, `run ${run}`), minutes: long ? 200 : 50 }, ways);
      const manifestAt = async () => manifest;
      const { actions, unjudged, gaps, alerts } = await backtested(lived.fleet, manifest, { manifestAt });
      assert.ok(issued.length > 5, `only ${issued.length} orders`);
      assertSameDeeds(actions, issued);
      assert.deepEqual([unjudged, gaps, alerts], [[], [], []]);
      // The same from the middle on, where some drifts stand already.
      const fromMs = Math.floor((firstEntryMs + lived.fleet.clock.now()) / 2);
      const later = await backtested(lived.fleet, manifest, { manifestAt, fromMs });
      assertSameDeeds(
        later.actions,
        issued.filter(({ at }) => Date.parse(at) > fromMs),
      );
    });
  }

  test('would have ordered nothing of what was put right before its grace period was over', async () => {
    const manifest = manifestOf();
    const lived = await fleetOf(['node1'], manifest);
    const { issued, ...ways } = enforcing(lived, manifest);
    const [node = assert.fail()] = lived.nodes;
    for (let minute = 0; minute < 6; minute++) {
      if (minute % 3 === 1) node.run('stray', 'miner:1');
      await node.look();
      await ways.follow(node);
      await node.report();
      lived.fleet.pass(60_000);
    }
    assert.equal(issued.length, 2);
    const result = await backtested(lived.fleet, manifestOf({ graceSeconds: 1 }));
    assert.deepEqual([result.actions, result.rules[0]?.drifts], [[], 2]);
  });
});

describe('on a fleet where nothing was enforced', () => {
  test('a stranger is terminated once, and another one of its name again', async () => {
    const { fleet, nodes } = await fleetOf(['node1'], alertOnly);
    const [node = assert.fail()] = nodes;
    const ids = [];
    for (let minute = 0; minute < 20; minute++) {
      if (minute === 3 || minute === 12) ids.push(node.run('stray', 'miner:1'));
      if (minute === 5 || minute === 15) node.change('stray', { state: 'exited' });
      await node.look();
      await node.report();
      fleet.pass(60_000);
    }
    const { actions } = await backtested(fleet, manifestOf());
    assert.deepEqual(
      actions.map(({ action, container_id }) => [action, container_id]),
      ids.map((id) => ['terminate', id]),
    );
  });

  test('what is put right stays so until somebody has put it right really, and it breaks anew', async () => {
    const { fleet, nodes } = await fleetOf(['node1'], alertOnly);
    const [node = assert.fail()] = nodes;
    for (let minute = 0; minute < 40; minute++) {
      if (minute === 3 || minute === 30) node.change('web', { state: 'exited', exitCode: minute });
      if (minute === 6) node.change('web', { exitCode: 137 });
      if (minute === 20) node.change('web', { state: 'running' });
      if (minute === 10) node.run('api', 'api:2');
      if (minute === 15) node.change('api', { health: 'unhealthy' });
      await node.look();
      await node.report();
      fleet.pass(60_000);
    }
    const { actions } = await backtested(fleet, manifestOf());
    assert.deepEqual(
      actions.map(({ action, container }) => `${action} ${container}`),
      ['restore web', 'rollback api', 'restore web'],
    );
  });

  test('in audit mode, or where every rule puts drift on record only, nothing is ordered and nobody alerted', async () => {
    const lived = await fleetOf(['node1', 'node2'], alertOnly);
    await live(lived, { random: randomOf(seed, 'audit'), minutes: 40 });
    for (const manifest of [manifestOf({ mode: 'audit', governance: { settling_time: 3_600 } }), alertOnly]) {
      const { actions, alerts, rules, held } = await backtested(lived.fleet, manifest);
      assert.deepEqual([actions, alerts], [[], []]);
      assert.ok(rules.some(({ drifts }) => drifts > 0));
      assert.ok(held.every(({ held_by }) => held_by === 'mode' || held_by === 'alert_only'));
    }
  });

  test('no limit is exceeded in any window, and the same ledger gives the same result', async () => {
    const lived = await fleetOf(['node1', 'node2'], alertOnly);
    await live(lived, { random: randomOf(seed, 'limits'), minutes: long ? 4_000 : 300 });
    for (const daily_limit of [0, 1, 7]) {
      const manifest = manifestOf({ governance: { daily_limit, cooldown: 600 } });
      const result = await backtested(lived.fleet, manifest);
      assert.equal(result.actions.length > 0, daily_limit > 0);
      for (const { at, node, container } of result.actions) {
        const since = (ms: number) =>
          result.actions.filter((other) => {
            const agoMs = Date.parse(at) - Date.parse(other.at);
            return other.node === node && agoMs >= 0 && agoMs < ms;
          });
        assert.ok(since(limits.dailyWindowMs).length <= daily_limit);
        assert.equal(since(600_000).filter((other) => other.container === container).length, 1);
      }
      assert.ok(result.held.some(({ held_by }) => held_by === 'daily_limit'));
      assert.deepEqual(await backtested(lived.fleet, manifest), result);
      const only = await backtested(lived.fleet, manifest, { only: 'node2' });
      assert.deepEqual(
        only.actions,
        result.actions.filter(({ node }) => node === 'node2'),
      );
    }
    await assert.rejects(backtested(lived.fleet, alertOnly, { only: 'node9' }), { code: 'resource.not_found' });
  });

  test('an order that needs approvals waits for them and does nothing, and is given again when its time is over', async () => {
    const { fleet, nodes } = await fleetOf(['node1'], alertOnly);
    const [node = assert.fail()] = nodes;
    node.run('stray', 'miner:1');
    for (let minute = 0; minute < 45; minute++) {
      await node.look();
      await node.report();
      fleet.pass(60_000);
    }
    const governance = { approvals: { terminate: 2 }, approval_time: 1_200 };
    const { actions, rules } = await backtested(fleet, manifestOf({ governance }));
    assert.deepEqual(
      actions.map(({ action, waits_for_approvals }) => [action, waits_for_approvals]),
      [
        ['terminate', 2],
        ['terminate', 2],
        ['terminate', 2],
      ],
    );
    assert.deepEqual([rules[0]?.orders, rules[0]?.waiting], [3, 3]);
  });

  test('the last of its name that works is not taken down, until another one works again', async () => {
    const { fleet, nodes } = await fleetOf(['node1', 'node2'], alertOnly);
    const [one = assert.fail(), two = assert.fail()] = nodes;
    for (let minute = 0; minute < 12; minute++) {
      if (minute === 2) one.change('web', { health: 'unhealthy' });
      if (minute === 3) two.run('web', 'web:2');
      if (minute === 8) one.change('web', { health: 'healthy' });
      for (const node of nodes) {
        await node.look();
        await node.report();
      }
      fleet.pass(60_000);
    }
    const { actions, held } = await backtested(fleet, manifestOf());
    assert.deepEqual(
      actions.map(({ node, action, container }) => [node, action, container]),
      [['node2', 'rollback', 'web']],
    );
    assert.deepEqual(
      held.map(({ node, held_by }) => [node, held_by]),
      [['node2', 'last_replica']],
    );
    const [first = assert.fail()] = actions;
    const againMs = firstEntryMs + 60_000 + 8 * 60_000;
    assert.ok(Date.parse(first.at) >= againMs && Date.parse(first.at) <= againMs + limits.enforcementLookMs, first.at);
  });

  test('a manifest that makes many nodes drift at once is frozen with one alert, unless somebody releases it', async () => {
    const lived = await fleetOf(['node1', 'node2', 'node3'], alertOnly);
    await live(lived, { random: randomOf(seed, 'freeze'), minutes: 10 });
    const bad = manifestOf({ containers: [], governance: { settling_time: 30, freeze_nodes: 3 } });
    const fromMs = firstEntryMs + 90_000;
    const { actions, alerts, held } = await backtested(lived.fleet, bad, { fromMs });
    assert.deepEqual(actions, []);
    assert.deepEqual(
      alerts.map(({ key, severity }) => [key, severity]),
      [['enforcement.frozen/this manifest', 'critical']],
    );
    assert.ok(held.every(({ held_by }) => held_by === 'frozen'));
    const released = await backtested(lived.fleet, bad, { fromMs, released: true });
    assert.equal(released.alerts.length, 1);
    assert.ok(released.actions.length >= 6);
    assert.ok(released.actions.every(({ at }) => Date.parse(at) >= fromMs + 30_000));
  });
});

describe('configurations', () => {
  const roots = async () => {
    const { fleet, nodes } = await fleetOf(['node1'], alertOnly);
    const [node = assert.fail()] = nodes;
    node.made.set(node.run('web', 'web:1'), madeFor('0'));
    for (let minute = 0; minute < 5; minute++) {
      await node.look();
      await node.report();
      fleet.pass(60_000);
    }
    return fleet;
  };

  test('are judged by what the nodes found where the same was wanted then', async () => {
    const { actions, unjudged } = await backtested(await roots(), manifestOf(), { manifestAt: async () => alertOnly });
    assert.deepEqual(
      actions.map(({ action, container, drift }) => [action, container, drift]),
      [['rollback', 'web', 'CONFIG_DRIFT']],
    );
    assert.deepEqual(unjudged, []);
  });

  test('are named as not judged where something else was wanted, or nobody knows any more', async () => {
    const fleet = await roots();
    const otherwise = manifestOf({ user: '33' });
    for (const [manifest, manifestAt] of [
      [otherwise, async () => alertOnly],
      [manifestOf(), async () => undefined],
      [manifestOf(), async () => manifestOf({ rules: { config_drift: { action: 'ignore' } } })],
    ] as const) {
      for (const fromMs of [0, fleet.clock.now() - 90_000]) {
        const { actions, unjudged } = await backtested(fleet, manifest, { manifestAt, fromMs });
        assert.deepEqual(actions, []);
        assert.deepEqual(unjudged.map(({ node, container }) => `${node} ${container}`).sort(), [
          'node1 api',
          'node1 web',
        ]);
      }
    }
  });
});
