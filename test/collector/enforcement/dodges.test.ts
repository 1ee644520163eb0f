import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../../common/limits.ts';
import { rest } from '../../fakes/enforcement.ts';
import { bench } from './bench.ts';
import { driftOf, manifestOf } from './situations.ts';

const miner = driftOf('UNAUTHORIZED_CONTAINER', 'miner');

function alertsOf({ recorded }: ReturnType<typeof bench>['world']): readonly string[] {
  return recorded.flatMap(({ kind, body }) =>
    kind === 'alert.raised' || kind === 'alert.resolved' ? [`${kind} ${body.key}`] : [],
  );
}

test('what the daily limit holds up is told to people once a day, and that it is over', async () => {
  const { world, collector, answer, ordered } = bench({ manifest: manifestOf({ governance: { daily_limit: 1 } }) });
  const { desk } = collector();
  const throwaway = world.open('node1', driftOf('UNAUTHORIZED_CONTAINER', 'throwaway'));
  desk.saw('node1', ['drift.opened']);
  await rest();
  world.resolve('node1', throwaway.drift.id);
  answer('executed');
  world.open('node1', miner);
  const alerts = () => alertsOf(world);
  for (let look = 0; look < 3; look++) {
    desk.saw('node1', ['drift.opened']);
    await rest();
  }
  assert.deepEqual(alerts(), ['alert.raised enforcement.daily_limit/node1']);
  assert.deepEqual(ordered(), ['terminate throwaway on node1']);
  await world.advance(limits.dailyWindowMs);
  assert.deepEqual(ordered().slice(1), ['terminate miner on node1']);
  assert.deepEqual(alerts().slice(1), ['alert.resolved enforcement.daily_limit/node1']);
});

test('a drift that no order has ended is told to people when no more are given, and when it is over', async () => {
  const { world, collector, answer, ordered } = bench({ manifest: manifestOf({ rollback: { max_retries: 1 } }) });
  const { desk } = collector();
  const { drift } = world.open('node1', miner);
  for (let look = 0; look < 10; look++) {
    const before = ordered().length;
    desk.saw('node1', ['drift.opened']);
    await world.advance(60_000);
    if (ordered().length > before) answer('failed');
  }
  assert.equal(ordered().length, 2);
  assert.deepEqual(alertsOf(world), ['alert.raised enforcement.exhausted/node1']);
  world.resolve('node1', drift.id);
  desk.start();
  await world.advance(limits.enforcementLookMs * 2);
  assert.deepEqual(alertsOf(world).slice(1), ['alert.resolved enforcement.exhausted/node1']);
});

test('a collector that was started anew ends the alert of the one before, and ends none that does not stand', async () => {
  const { world, collector } = bench({ manifest: manifestOf({ governance: { daily_limit: 1 } }) });
  const key = 'enforcement.daily_limit/node1';
  const before = { key, severity: 'error', summary: 'by the collector before', node: 'node1' } as const;
  await world.ledger.record({ kind: 'alert.raised', body: before });
  const { desk } = collector();
  for (const node of ['node1', 'node2', 'node1']) {
    desk.nodeCame(node);
    await rest();
  }
  const said = world.recorded.flatMap(({ kind, body }) => (kind === 'alert.resolved' ? [body.key] : []));
  assert.deepEqual(said, [key]);
});

test('no name keeps people from hearing of the daily limit', async () => {
  const { world, collector, answer } = bench({ manifest: manifestOf({ governance: { daily_limit: 1 } }) });
  const { desk } = collector();
  const throwaway = world.open('node1', driftOf('UNAUTHORIZED_CONTAINER', 'throwaway'));
  desk.saw('node1', ['drift.opened']);
  await rest();
  world.resolve('node1', throwaway.drift.id);
  answer('executed');
  // Cut after 64 characters, half of the last one would be left.
  world.open('node1', driftOf('UNAUTHORIZED_CONTAINER', `${'x'.repeat(63)}\u{1f9e8}`));
  desk.saw('node1', ['drift.opened']);
  await rest();
  const raised = world.recorded.filter(({ kind }) => kind === 'alert.raised');
  assert.equal(raised.length, 1);
});

test('a grace period is not dodged by containers that are made anew or renamed in a loop', async () => {
  const { world, collector, ordered } = bench({ manifest: manifestOf({ graceSeconds: 90 }) });
  const { desk } = collector();
  for (const name of ['a', 'b', 'c']) {
    const drift = driftOf('UNAUTHORIZED_CONTAINER', name);
    world.open('node1', drift);
    desk.saw('node1', ['drift.opened']);
    await world.advance(name === 'c' ? 5_000 : 40_000);
    assert.deepEqual(ordered(), []);
    if (name !== 'c') world.resolve('node1', drift.id);
    if (name === 'b') await world.advance(5_000);
  }
  await world.advance(limits.graceSlackMs);
  assert.deepEqual(ordered(), ['terminate c on node1'], 'they are of one image, 90 seconds after the first');
});
