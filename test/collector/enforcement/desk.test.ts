import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { rfc3339 } from '../../../common/clock.ts';
import { announcementText } from '../../../common/enforcement/announcement.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { rest } from '../../fakes/enforcement.ts';
import { bench, miner } from './bench.ts';
import { commit, driftOf, idOf, manifestOf, nowMs } from './situations.ts';

describe('from a drift to its order', () => {
  test('it is on record before it is sent, with its entry at hand', async () => {
    const { world, collector, ordered } = bench();
    const { desk, carrier } = collector();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    assert.equal(carrier.sent.length, 0, 'nothing is sent before it is committed');
    await rest();
    assert.deepEqual(ordered(), ['terminate miner on node1']);
    const [stored] = world.orders();
    const [sent] = carrier.sent;
    assert.deepEqual([sent?.node, sent?.hash, sent?.index], ['node1', stored?.hash, stored?.index]);
    assert.ok(sent?.leaf?.bytes.includes(stored?.order.nonce ?? 'no order'));
  });

  test('once the fleet has settled it costs one read of each thing, side by side', async () => {
    const { world, collector } = bench();
    const { desk } = collector();
    desk.saw('node1', ['drift.opened']);
    await world.advance(60_000);
    world.asked.length = 0;
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    assert.deepEqual(world.asked, [], 'whoever appends waits for nothing');
    await rest();
    assert.deepEqual([...world.asked].sort(), ['measures', 'nodes', 'openDrifts', 'ordersOf']);
    assert.equal(world.orders().length, 1);
  });

  test('nothing is asked in audit mode, without a manifest, or about kinds that tell of nothing', async () => {
    const { world, current, collector } = bench({ manifest: manifestOf({ mode: 'audit' }) });
    const { desk } = collector();
    desk.start();
    const all = async () => {
      desk.saw('node1', ['drift.opened']);
      desk.nodeCame('node1');
      desk.heard();
      await world.advance(60_000);
    };
    world.open('node1', miner);
    await all();
    current.manifest = undefined;
    await all();
    current.manifest = manifestOf();
    desk.saw('node1', ['report', 'observed', 'drift.resolved', 'sigil.scan']);
    await rest();
    assert.deepEqual([world.asked, world.recorded], [[], []]);
  });

  test('what comes while a round is under way is seen by the next', async () => {
    const { world, collector, ordered } = bench();
    const { desk } = collector();
    world.open('node1', miner);
    for (let i = 0; i < 5; i++) desk.saw('node1', ['drift.opened']);
    await Promise.resolve();
    world.open('node1', driftOf('UNAUTHORIZED_CONTAINER', 'other'));
    desk.saw('node1', ['drift.opened']);
    await rest();
    assert.deepEqual(ordered(), ['terminate miner on node1', 'terminate other on node1']);
  });

  test('a grace period ends by itself', async () => {
    const { world, collector, ordered, held } = bench({ manifest: manifestOf({ graceSeconds: 90 }) });
    const { desk } = collector();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await world.advance(90_000);
    assert.deepEqual([ordered(), held.get('grace')], [[], 1]);
    await world.advance(limits.graceSlackMs);
    assert.deepEqual([ordered(), held.get('grace')], [['terminate miner on node1'], 0]);
  });

  test('an old drift that becomes ripe is judged by all orders since it opened', async () => {
    const { world, collector, ordered, answer } = bench();
    const { desk } = collector();
    world.open('node1', driftOf('IMAGE_DRIFT', 'web'));
    for (let i = 0; i < 3; i++) {
      desk.saw('node1', ['drift.opened']);
      await rest();
      answer('failed');
      await world.advance(31_000);
    }
    assert.equal(ordered().length, 3);
    await world.advance(3 * limits.dailyWindowMs);
    desk.saw('node1', ['drift.changed']);
    await rest();
    assert.equal(ordered().length, 3, 'it has come to nothing often enough');
  });
});

describe('orders reach their nodes', () => {
  test('that were away', async () => {
    const { world, collector } = bench();
    const { desk, carrier } = collector();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    carrier.here = ['node1'];
    await rest();
    carrier.here = [];
    carrier.sent.length = 0;
    desk.nodeCame('node1');
    await rest();
    assert.deepEqual(carrier.sent, []);
    carrier.here = ['node1'];
    desk.nodeCame('node1');
    await rest();
    assert.deepEqual(
      carrier.sent.map(({ node }) => node),
      ['node1'],
    );
  });

  test('again while they are not answered, and not before', async () => {
    const { world, collector, answer } = bench();
    const { desk, carrier } = collector();
    desk.start();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await world.advance(limits.orderResendMs - 1_000);
    assert.equal(carrier.sent.length, 1);
    await world.advance(limits.enforcementLookMs * 2);
    assert.equal(carrier.sent.length, 2);
    answer('executed');
    await world.advance(limits.orderResendMs * 2);
    assert.equal(carrier.sent.length, 2);
  });

  test('with their approvals, once they have them', async () => {
    const { world, collector } = bench({ manifest: manifestOf({ mode: 'passive' }) });
    const { desk, carrier } = collector();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await rest();
    assert.deepEqual([world.orders().length, carrier.sent.length], [1, 0]);
    const { hash = '' } = world.orders()[0] ?? {};
    const approval = { approver: 'ada', signature: 'signed' };
    world.tell(hash, { kind: 'order.approved', body: { order: hash, approval } });
    desk.heard();
    await rest();
    assert.deepEqual(
      carrier.sent.map((one) => [one.hash, one.approvals]),
      [[hash, [approval]]],
    );
  });

  test('unless they are of a rule that another commit has replaced, or that is suspected', async () => {
    const { world, current, collector } = bench({ manifest: manifestOf({ mode: 'passive' }) });
    const { desk, carrier } = collector();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await rest();
    const { hash = '' } = world.orders()[0] ?? {};
    const approval = { approver: 'ada', signature: 'signed' };
    world.tell(hash, { kind: 'order.approved', body: { order: hash, approval } });
    current.manifest = { ...manifestOf(), commit: 'd'.repeat(40) };
    desk.heard();
    await rest();
    current.manifest = manifestOf();
    await world.ledger.record({
      kind: 'enforcement.frozen',
      body: { commit, drift: 'IMAGE_DRIFT', nodes: [], reason: 'a test' },
    });
    desk.nodeCame('node1');
    await rest();
    assert.deepEqual(carrier.sent, []);
    await world.ledger.record({ kind: 'enforcement.released', body: { commit, actor: 'ada', reason: 'seen' } });
    desk.heard();
    await rest();
    assert.equal(carrier.sent.length, 1);
  });
});

describe('whatever fails is tried again', () => {
  const broken = () => new AppError('database.unreachable', 'away', { retryable: true });

  test('a read', async () => {
    const { world, collector, ordered, counts, events } = bench();
    const { desk } = collector();
    world.failures.set('openDrifts', [broken(), broken()]);
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await world.advance(20_000);
    assert.deepEqual([ordered(), counts.failed], [['terminate miner on node1'], 2]);
    assert.equal(events.filter(({ event }) => event === 'enforcement.round_failed').length, 1, 'it is said once');
  });

  test('an order that could not be put on record, while the others of its round go on', async () => {
    const { world, collector, ordered } = bench();
    const { desk, carrier } = collector();
    world.failures.set('order.issued', [broken()]);
    world.open('node1', miner);
    world.open('node1', driftOf('UNAUTHORIZED_CONTAINER', 'other'));
    desk.saw('node1', ['drift.opened']);
    await rest();
    assert.deepEqual([ordered(), carrier.sent.length], [['terminate other on node1'], 1]);
    await world.advance(20_000);
    assert.deepEqual(
      [ordered().sort(), carrier.sent.length],
      [['terminate miner on node1', 'terminate other on node1'], 2],
    );
  });

  test('an event that nobody told of is found by looking around', async () => {
    const { world, collector, ordered } = bench();
    const { desk } = collector();
    desk.start();
    world.open('node1', miner);
    world.failures.set('dispatchable', [broken()]);
    await world.advance(limits.enforcementLookMs * 1.25);
    assert.deepEqual(ordered(), ['terminate miner on node1']);
  });

  test('nothing begins after the stop', async () => {
    const { world, collector } = bench();
    const { desk } = collector();
    desk.start();
    await desk.stop();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    desk.heard();
    desk.nodeCame('node1');
    await world.advance(60_000);
    assert.deepEqual([world.asked, world.recorded], [[], []]);
  });
});

describe('one bad commit', () => {
  const four = ['lyra', 'node1', 'node2', 'node3'];
  const adoptedAtMs = nowMs;

  /** The fleet while it adopts the commit, seconds apart, and all find the same thing wrong. */
  async function rollOut(collectors: readonly (readonly string[])[]) {
    const made = bench({ nodes: four, manifest: { ...manifestOf(), adoptedAtMs } });
    const { world } = made;
    world.rows.length = 0;
    for (const node of four) world.rows.push({ node, adopted: { commit: 'before', atMs: 0 }, containers: 10 });
    const desks = collectors.map((here) => made.collector(here));
    for (const { desk } of desks) desk.start();
    for (const [i, node] of four.entries()) {
      await world.advance(4_000);
      world.rows[i] = { node, adopted: { commit, atMs: world.clock.now() }, containers: 10 };
      world.open(node, miner);
      world.open(node, driftOf('IMAGE_DRIFT', 'web'));
      for (const { desk, carrier } of desks) {
        if (carrier.here.includes(node)) desk.saw(node, ['desired.adopted', 'drift.opened']);
      }
    }
    await world.advance(120_000);
    return made;
  }

  test('is frozen, with one alert, and nothing is ordered', async () => {
    const { recordedKinds, world, counts, held } = await rollOut([four]);
    assert.deepEqual(recordedKinds(), ['alert.raised', 'enforcement.frozen']);
    assert.equal(counts.frozen, 1);
    assert.equal(held.get('frozen'), 8);
    const [alert] = world.recorded;
    assert.equal(alert?.kind === 'alert.raised' && alert.body.key, `enforcement.frozen/${commit}`);
  });

  test('is frozen once by several collectors, whoever has the first node', async () => {
    for (const collectors of [[four.slice(0, 2), four.slice(2)], [four.slice(2), four.slice(0, 2)], [four.slice(1)]]) {
      const { recordedKinds } = await rollOut(collectors);
      assert.deepEqual(recordedKinds(), ['alert.raised', 'enforcement.frozen']);
    }
  });

  test('that somebody has looked at and released is not frozen again', async () => {
    const { world, recordedKinds, ordered, collector } = await rollOut([four]);
    await world.ledger.record({ kind: 'enforcement.released', body: { commit, actor: 'ada', reason: 'as wanted' } });
    const { desk } = collector(['node1']);
    desk.saw('node1', ['drift.opened']);
    await world.advance(60_000);
    assert.equal(recordedKinds().filter((kind) => kind === 'enforcement.frozen').length, 1);
    assert.ok(ordered().includes('terminate miner on node1'));
  });

  test('is frozen though the ledger fails in between, with one alert', async () => {
    const made = bench({ nodes: ['node1', 'node2'], manifest: { ...manifestOf(), adoptedAtMs } });
    const { world, recordedKinds } = made;
    for (const i of [0, 1]) world.rows[i] = { node: `node${i + 1}`, adopted: { commit, atMs: nowMs }, containers: 10 };
    world.failures.set('enforcement.frozen', [new AppError('database.unreachable', 'away')]);
    const { desk } = made.collector();
    for (const node of ['node1', 'node2']) world.open(node, miner);
    desk.saw('node1', ['drift.opened']);
    await world.advance(30_000);
    assert.deepEqual(recordedKinds(), ['alert.raised', 'enforcement.frozen']);
  });

  test('a good one is acted on once all have settled', async () => {
    const made = bench({ nodes: ['node1', 'node2'], manifest: { ...manifestOf(), adoptedAtMs } });
    const { world, ordered } = made;
    for (const i of [0, 1])
      world.rows[i] = { node: `node${i + 1}`, adopted: { commit, atMs: nowMs + i * 3_000 }, containers: 10 };
    const { desk } = made.collector();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await world.advance(17_999);
    assert.deepEqual(ordered(), []);
    await world.advance(2);
    assert.deepEqual(ordered(), ['terminate miner on node1']);
  });
});

describe('what works is not taken down everywhere at once', () => {
  test('replicas are replaced one after another', async () => {
    const nodes = ['node1', 'node2', 'node3'];
    const { world, collector, ordered, answer } = bench({ nodes });
    const { desk } = collector();
    desk.start();
    world.replicas.set(
      'web',
      nodes.map((node) => ({ node, state: 'running', health: 'healthy' })),
    );
    for (const node of nodes) {
      world.open(node, driftOf('IMAGE_DRIFT', 'web'));
      desk.saw(node, ['drift.opened']);
    }
    await rest();
    assert.equal(ordered().length, 2, 'one stays as long as the others are under order');
    for (const { hash, order } of world.orders()) {
      world.resolve(order.node, 'IMAGE_DRIFT/web');
      const body = {
        order: hash,
        outcome: 'executed',
        code: null,
        reason: '',
        evidence: null,
        containerId: null,
      } as const;
      world.tell(hash, { kind: 'order.result', body });
    }
    await world.advance(limits.enforcementLookMs * 2);
    assert.equal(ordered().length, 3);
    answer('executed');
  });
});

describe('announced changes', () => {
  const sha = `sha256:${idOf('web:2')}`;
  const announce = (approver: string) => {
    const text = announcementText({ node: null, container: 'web', image: sha, until: rfc3339(nowMs + 60_000) });
    return { kind: 'change.announced', body: { text, approval: { approver, signature: 's' } } } as const;
  };

  test('are expected until they are over, by the image that the container runs', async () => {
    const { world, collector, ordered, held } = bench();
    const { desk } = collector();
    await world.ledger.record(announce('ada'));
    world.imageIds.set(idOf('web'), sha);
    world.open('node1', driftOf('IMAGE_DRIFT', 'web'));
    desk.saw('node1', ['drift.opened']);
    await world.advance(59_000);
    assert.deepEqual([ordered(), held.get('expected')], [[], 1]);
    await world.advance(1_001);
    assert.deepEqual(ordered(), ['rollback web on node1']);
  });

  test('excuse nothing when nobody who may has signed them, or the image is another', async () => {
    for (const [approver, image] of [
      ['mallory', sha],
      ['ada', `sha256:${idOf('evil')}`],
    ] as const) {
      const { world, collector, ordered } = bench();
      const { desk } = collector();
      await world.ledger.record(announce(approver));
      world.imageIds.set(idOf('web'), image);
      world.open('node1', driftOf('IMAGE_DRIFT', 'web'));
      desk.saw('node1', ['drift.opened']);
      await rest();
      assert.deepEqual(ordered(), ['rollback web on node1']);
    }
  });
});
