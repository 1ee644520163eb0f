import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type BacktestNeeds, backtest } from '../../../collector/backtest/backtest.ts';
import { createAnnouncements } from '../../../collector/enforcement/announcements.ts';
import { withBacktestView } from '../../../collector/postgres/backtest-store.ts';
import { withTransaction } from '../../../collector/postgres/pool.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { AppError, type ErrorCode } from '../../../common/errors.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { type Order, orderHash } from '../../../common/order.ts';
import { firstEntryMs } from '../../authors.ts';
import { collectorCli } from '../../collector-cli.ts';
import { collectorKeys } from '../../ledgers.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { orderOf } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';
import { eraseTo, erasureNeeds, layPartitions } from './erasable.ts';
import { type RecordedFleet, RecordedNode, recordedFleet } from './recorded-fleet.ts';

const commit = 'c'.repeat(40);
let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

/** Wants `web`; strangers are terminated, and whatever is missing made anew. */
const rules = (grace = 0) => `
config: { enforcement_mode: active, grace_period_seconds: ${grace} }
containers: [{ name: web, type: docker, image: "web:1" }]
drift_rules: { unauthorized_containers: { action: terminate }, missing_containers: { action: recreate } }
governance: { settling_time: 0, cooldown: 0 }
`;
const wanting = parseManifest(rules());

async function fleetOfOne(url?: string) {
  const fleet = await recordedFleet(postgres.pool(url ?? (await postgres.migratedDatabase())));
  const node = new RecordedNode(fleet, 'node1', { manifest: wanting, commit });
  node.run('web', 'web:1');
  await node.start();
  return { fleet, node };
}

async function minutes({ fleet, node }: { fleet: RecordedFleet; node: RecordedNode }, count: number): Promise<void> {
  for (let minute = 0; minute < count; minute++) {
    fleet.pass(60_000);
    await node.look();
    await node.report();
  }
}

function backtested({ db, clock }: RecordedFleet, manifest = wanting, others: Partial<BacktestNeeds> = {}) {
  const needs: BacktestNeeds = {
    ...{ manifest, fromMs: 0, toMs: clock.now(), collectorKey: collectorKeys.publicKey },
    ...{ only: undefined, released: false, manifestAt: async () => undefined },
    announcements: createAnnouncements({ verify: async () => true, logger: quietLogger }),
    ...others,
  };
  return withBacktestView(db, (view) => backtest(view, needs));
}

function fails(code: ErrorCode) {
  return (error: unknown) => error instanceof AppError && error.code === code;
}

describe('what was not observed', () => {
  test('is named, and nothing is decided while a node is not heard', async () => {
    const under = await fleetOfOne();
    const { fleet, node } = under;
    await minutes(under, 3);
    node.run('stray', 'miner:1');
    await minutes(under, 1);
    const downMs = fleet.clock.now();
    fleet.pass(3_600_000);
    const upMs = fleet.clock.now();
    const gap = { from: rfc3339(downMs), to: rfc3339(upMs), reason: 'agent-down' } as const;
    await fleet.say('node1', [{ kind: 'coverage.gap', body: { ...gap, rebuilt: [] } }]);
    await minutes(under, 2);
    fleet.pass(60_000);
    const minute = rfc3339(Math.floor(fleet.clock.now() / 60_000) * 60_000);
    await node.report({ coverage: 'engine-down' });
    fleet.pass(7_200_000);
    const { gaps, actions } = await backtested(fleet, parseManifest(rules(600)));
    const engineUp = rfc3339(Date.parse(minute) + 60_000);
    assert.deepEqual(gaps, [
      { node: 'node1', from: rfc3339(downMs), to: rfc3339(upMs), reason: 'agent-down' },
      { node: 'node1', from: minute, to: engineUp, reason: 'engine-down' },
      { node: 'node1', from: rfc3339(upMs + 180_000), to: rfc3339(fleet.clock.now()), reason: 'silent' },
    ]);
    assert.deepEqual(
      actions.map(({ at, container }) => [at, container]),
      [[rfc3339(upMs), 'stray']],
    );
  });

  test('never counts as missing: an account that begins anew is judged once it is whole', async () => {
    const under = await fleetOfOne();
    const { fleet, node } = under;
    await minutes(under, 2);
    const all = [...node.containers.values()];
    await fleet.say('node1', [{ kind: 'observed', body: { baseline: true, upserted: [], removed: [] } }]);
    fleet.pass(1_000);
    await fleet.say('node1', [{ kind: 'observed', body: { baseline: false, upserted: all, removed: [] } }]);
    await minutes(under, 2);
    assert.deepEqual((await backtested(fleet)).actions, []);
  });
});

describe('what the past did itself', () => {
  const executed = { outcome: 'executed', code: null, reason: '', evidence: null, containerId: null } as const;
  const sayOrder = (fleet: RecordedFleet, order: Order) =>
    fleet.ledger.record({ kind: 'order.issued', body: { order } });

  test('is not judged while it is at work on a container', async () => {
    const under = await fleetOfOne();
    const { fleet, node } = under;
    await minutes(under, 1);
    const [web] = node.containers.values();
    assert.ok(web);
    const of = { node: 'node1', container: 'web', containerId: web.id, issuedMs: fleet.clock.now() } as const;
    const order = orderOf({ ...of, action: 'rollback' });
    await sayOrder(fleet, order);
    const kept: ObservedContainer = {
      ...web,
      name: `web.sigilwatch-kept-${orderHash(order).slice(0, 12)}`,
      state: 'exited',
    };
    const observed = (upserted: ObservedContainer[]) =>
      fleet.say('node1', [{ kind: 'observed', body: { baseline: false, upserted, removed: [] } }]);
    fleet.pass(100);
    await observed([kept]);
    fleet.pass(100);
    await observed([{ ...web, id: 'd'.repeat(64) }]);
    await fleet.say('node1', [{ kind: 'order.result', body: { order: orderHash(order), ...executed } }]);
    await node.report();
    assert.deepEqual(
      (await backtested(fleet)).rules.map(({ drifts }) => drifts),
      [0, 0, 0, 0],
    );
  });

  test('counts for the limits where people ordered it, and what they put into quarantine stays there', async () => {
    const under = await fleetOfOne();
    const { fleet, node } = under;
    const stray = node.run('stray', 'miner:1');
    const issuedMs = fleet.clock.now();
    const of = { node: 'node1', container: 'stray', containerId: stray, origin: 'operator', by: 'x' } as const;
    const order = orderOf({ ...of, issuedMs, action: 'quarantine' });
    await sayOrder(fleet, order);
    await fleet.say('node1', [{ kind: 'order.result', body: { order: orderHash(order), ...executed } }]);
    const startMs = fleet.clock.now();
    await minutes(under, 5);
    for (const fromMs of [0, startMs + 120_000]) {
      const { actions, held } = await backtested(fleet, wanting, { fromMs });
      assert.deepEqual(actions, []);
      assert.ok(held.some(({ held_by }) => held_by === 'quarantined'));
    }
  });
});

test('a grace period goes on over the beginning of the period, also from what was over by then', async () => {
  const under = await fleetOfOne();
  const { fleet, node } = under;
  await minutes(under, 2);
  node.run('stray', 'miner:1');
  await node.look();
  const openedMs = fleet.clock.now();
  fleet.pass(100_000);
  node.remove('stray');
  await node.look();
  fleet.pass(50_000);
  const fromMs = fleet.clock.now();
  fleet.pass(50_000);
  node.run('stray-again', 'miner:1');
  await node.look();
  await minutes(under, 5);
  const dueAt = async (beginMs: number) => {
    const { actions } = await backtested(fleet, parseManifest(rules(300)), { fromMs: beginMs });
    return actions.map(({ at, container }) => [at.slice(0, 19), container]);
  };
  const expected = [[rfc3339(openedMs + 300_000).slice(0, 19), 'stray-again']];
  assert.deepEqual([await dueAt(0), await dueAt(fromMs)], [expected, expected]);
});

describe('entries', () => {
  test('whose bodies were erased are counted and named, and the period begins after them', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    await layPartitions(ownerUrl, [10]);
    const under = await fleetOfOne(url);
    under.node.run('stray', 'miner:1');
    // An erasure takes nothing of the last tile.
    await minutes(under, 256);
    const { fleet } = under;
    const whole = await backtested(fleet);
    await eraseTo(erasureNeeds({ db: fleet.db, ledger: fleet.ledger, ownerUrl }), 10);
    const { erased, period, actions } = await backtested(fleet);
    assert.deepEqual([whole.erased, whole.period.first_index, whole.actions[0]?.drift_index], [null, 0, 7]);
    // Two of them tell whose keys count, and are never erased.
    assert.deepEqual([erased, period.first_index], [{ entries: 8, from: 0, to: 10 }, 10]);
    assert.deepEqual(
      actions.map(({ container }) => container),
      ['stray'],
    );
  });

  test('that are not what was logged end the backtest', async () => {
    const under = await fleetOfOne();
    await minutes(under, 3);
    const { db } = under.fleet;
    await changeOneByOne(db);
    await withTransaction(db, async (tx) => {
      await tx.query('set local session_replication_role = replica');
      await tx.query('update entry_bodies set bytes = set_byte(bytes, 40, get_byte(bytes, 40) # 1) where index = 5');
    });
    await assert.rejects(backtested(under.fleet), fails('ledger.tampered'));
  });
});

describe('the command', () => {
  let under: TestCollector;
  let folder: string;
  let env: Record<string, string>;

  before(async () => {
    const url = await postgres.emptyDatabase();
    under = await startTestCollector(url);
    env = { DATABASE_URL: url, SIGILWATCH_DATA_DIR: under.settings.dataDir };
    folder = await mkdtemp(join(tmpdir(), 'sigilwatch-backtest-'));
    const lyra = await enrolDirectly(under.ledger, 'lyra');
    const at = rfc3339(firstEntryMs);
    const stray: ObservedContainer = {
      ...{ id: 'a'.repeat(64), name: 'stray\u001b[2J', image: 'x:1', imageId: 'sha256:x' },
      ...{ state: 'running', health: 'none', exitCode: 0, restartCount: 0 },
      ...{ createdAt: at, startedAt: at, finishedAt: null },
    };
    const report = { minute: at, coverage: 'observed', scanMs: 1, commit: null } as const;
    const digest = '0'.repeat(64);
    await say(under.ledger, 'lyra', lyra, [
      { kind: 'observed', body: { baseline: true, upserted: [stray], removed: [] } },
      {
        kind: 'report',
        body: { ...report, stores: [], containers: { count: 1, unobserved: 0, digest }, drifts: { open: 0, digest } },
      },
    ]);
  });
  after(async () => {
    await under.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const run = async (text: string, ...more: string[]) => {
    const path = join(folder, 'new.yaml');
    await writeFile(path, text);
    return collectorCli(['policy', 'backtest', '--manifest', path, ...more], env);
  };

  test('tells what would have been ordered, in words that do nothing but stand there and as data', async () => {
    const { code, stdout, stderr } = await run(rules());
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /lyra {2}terminate {2}stray\S+ /);
    assert.match(stdout, /lyra {2}restore {4}web /);
    assert.ok(!stdout.includes('\u001b'));
    const told = JSON.parse((await run(rules(), '--json', '--days', '1', '--node', 'lyra')).stdout);
    assert.deepEqual(told.nodes, ['lyra']);
    assert.equal(told.actions.length, 2);
    const passive = JSON.parse((await run(rules().replace('active', 'passive'), '--json')).stdout);
    assert.ok(passive.actions.every((action: Record<string, unknown>) => action.waits_for_approvals === 1));
    assert.match((await run(rules().replace('active', 'passive'))).stdout, /would have waited for 1 approval/);
  });

  test('says what is wrong with the manifest, and what it cannot do', async () => {
    const { code, stdout } = await run('config: { enforcement_mode: sometimes }\n');
    assert.deepEqual([code, /new\.yaml:1:/.test(stdout)], [1, true]);
    for (const more of [
      ['--days', '0'],
      ['--days', '99999'],
      ['--days', 'x'],
      ['--node', 'node9'],
      ['--node', '!'],
    ]) {
      assert.equal((await run(rules(), ...more)).code, 2, more.join(' '));
    }
    const nowhere = ['policy', 'backtest', '--manifest', join(folder, 'nowhere.yaml')];
    assert.equal((await collectorCli(nowhere, env)).code, 2);
  });
});
