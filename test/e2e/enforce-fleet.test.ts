import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { z } from 'zod';
import type { EngineApi } from '../engine-api.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import {
  type ManifestRepository,
  makeManifestRepository,
  makeTemporaryFolder,
  type RunningCollector,
  startCollector,
} from '../system.ts';
import {
  actsAtOnce,
  bodiesOf,
  type EnforcedNode,
  eventually,
  follows,
  heldFor,
  type ListedOrder,
  type OrderStory,
  ordersOf,
  orderWhere,
  otherImage,
  outcomesOf,
  sleeping,
  startEnforcedNode,
  storyOf,
  told,
  wantedImage,
  withoutEngine,
} from './enforce-world.ts';
import { tearDown } from './fleet.ts';
import { caughtUp } from './waiting.ts';

/** One collector, four nodes with an engine each, and everything that rules make of drifts there. */
const folder = makeTemporaryFolder('sgw-en-');
const names = ['lyra', 'node1', 'node2', 'node3'];
const flags = join(folder.path, 'flags');
const realEngine = { skip: withoutEngine };
const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const clocks = { skip: existsSync(faketime) ? false : `${faketime} is not installed (package faketime)` };

const forbidden = (name: string) => ({ name, image: otherImage, cmd: sleeping });
const isVerified = ({ status }: { readonly status: string }) => status === 'verified';
const isOpen = ({ status }: { readonly status: string }) => status === 'requested';

const check = (...command: readonly string[]) => {
  return { test: ['CMD', '/bin/busybox', ...command], interval: '100ms', timeout: '1s' };
};
const app = { image: wantedImage, command: sleeping };
/** All that a container may be connected to the world by. */
const connected = {
  ...{ ...app, ports: ['127.0.0.1::8080'], volumes: ['shop-data:/data'] },
  environment: { MODE: 'production', NUMBER: 4 },
};
const slow = ['slow-finished', 'slow-undone'];
const wanted = [
  ...names.map((node) => ({ node, name: `${node}-web`, ...app })),
  ...['shop', 'store'].map((name) => ({ node: 'node2', name, ...connected })),
  { node: 'node2', name: 'fragile', ...app, healthcheck: { ...check('false'), retries: 1 } },
  ...slow.map((name) => ({
    ...{ node: 'node3', name, ...app, volumes: [`${flags}/${name}:/flags:ro`] },
    healthcheck: { ...check('test', '-e', '/flags/ready'), start_period: '60s' },
  })),
];
/** Seconds; longer than a collector takes to start anew. */
const offlineAfter = 20;
const whenOffline = { when_offline: 'local', offline_after: offlineAfter };
const rules = { ...actsAtOnce, governance: { ...actsAtOnce.governance, ...whenOffline, freeze_nodes: names.length } };
const good = stringify({ ...rules, containers: wanted });
/** Follow repositories of their own, by which no collector orders anything. */
const cutOff = { far: 20, edge: 86_400 } as const;

let postgres: TestPostgres;
let collector: RunningCollector;
let manifest: ManifestRepository;
let fleet: ReadonlyMap<string, EnforcedNode>;

before(async () => {
  manifest = makeManifestRepository(join(folder.path, 'manifest'), good);
  // Not its own database, which would be stopped and started again with it.
  postgres = await startPostgres();
  const env = { SIGILWATCH_MANIFEST_REPOSITORY: manifest.path, DATABASE_URL: await postgres.migratedDatabase() };
  collector = await startCollector({ dir: join(folder.path, 'collector'), env });
  const shared = { folder: folder.path, manifest: manifest.path, localOrders: true };
  const started = await Promise.all([
    ...names.map((name) =>
      startEnforcedNode(collector, { ...shared, name, runs: (engine) => runFromTheStart(engine, name) }),
    ),
    ...Object.entries(cutOff).map(([name, seconds]) => startCutOff(name, seconds)),
  ]);
  fleet = new Map(started.map((node) => [node.name, node]));
});
after(async () => {
  await tearDown();
  await postgres.stop();
});

/** What runs before anybody watches; some of it is not what is wanted. */
async function runFromTheStart(engine: EngineApi, node: string): Promise<void> {
  await engine.run({ name: `${node}-web`, image: wantedImage, cmd: sleeping });
  if (node === 'node2') {
    await engine.run(forbidden('fragile'));
    const host = { Binds: ['shop-data:/data'], PortBindings: { '8080/tcp': [{ HostIp: '127.0.0.1' }] } };
    await engine.run({ ...forbidden('store'), env: ['MODE=production', 'NUMBER=4'], host });
  }
  if (node !== 'node3') return;
  for (const name of slow) {
    mkdirSync(join(flags, name), { recursive: true });
    await engine.run({ ...forbidden(name), host: { Binds: [`${flags}/${name}:/flags:ro`] } });
  }
}

/** A node whose clock on the wall can be moved on, and that may do two things by itself at most, once it is cut off for so long. */
function startCutOff(name: string, seconds: number): Promise<EnforcedNode> {
  const governance = { ...actsAtOnce.governance, daily_limit: 2, when_offline: 'local', offline_after: seconds };
  const text = stringify({ ...actsAtOnce, governance, containers: [{ node: name, name: 'web', ...app }] });
  writeFileSync(clockFile(name), '+0s');
  const repository = makeManifestRepository(join(folder.path, `${name}-git`), text);
  return startEnforcedNode(collector, {
    ...{ name, localOrders: true, folder: folder.path, manifest: repository.path },
    env: {
      LD_PRELOAD: faketime,
      FAKETIME_TIMESTAMP_FILE: clockFile(name),
      FAKETIME_CACHE_DURATION: '1',
      DONT_FAKE_MONOTONIC: '1',
    },
    runs: (engine) => engine.run({ name: 'web', image: wantedImage, cmd: sleeping }),
  });
}

function nodeOf(name: string): EnforcedNode {
  return fleet.get(name) ?? assert.fail(`no node ${name}`);
}

function clockFile(node: string): string {
  return join(folder.path, `${node}-clock`);
}

describe('each node for itself', { concurrency: true }, () => {
  test('a forbidden container is terminated: ordered on record, evidence on disk, executed, verified', async () => {
    const node = nodeOf('lyra');
    const id = await node.engine.run(forbidden('rogue'));
    const about = { node: 'lyra', container: 'rogue' };
    const story = await orderWhere(collector, about, isVerified);
    assert.deepEqual(outcomesOf(story), ['executed', 'verified']);
    assert.deepEqual([story.action, story.container_id, story.origin], ['terminate', id, 'rule']);
    assert.ok(!(await node.engine.ids()).includes(id));
    assert.ok(story.events.every(({ index }) => index > story.index));

    const file = readFileSync(join(node.dir, 'orders', `${story.hash}.json`));
    const [executed] = story.events;
    assert.equal(createHash('sha256').update(file).digest('hex'), executed?.evidence?.sha256);
    assert.equal(file.length, executed?.evidence?.bytes);
    const { proof, inspect } = evidence.parse(JSON.parse(file.toString()));
    // While it still ran, the order was in a checkpoint that the node had accepted.
    assert.deepEqual([proof.index, inspect.value.Id, inspect.value.State.Running], [story.index, id, true]);
    assert.ok(Number(proof.checkpoint.split('\n')[1]) > proof.index);

    const shown = await told(collector, 'orders', 'show', story.hash.slice(0, 8));
    assert.deepEqual(shown, await collector.api(`/api/v1/orders/${story.hash}`, z.unknown()));
    const text = (await collector.cli('orders', 'show', story.hash.slice(0, 8))).stdout;
    for (const said of ['terminate rogue on lyra', 'executed, says lyra', executed?.evidence?.sha256 ?? '-'])
      assert.ok(text.includes(said), `${said} is not in ${text}`);
  });

  test('a name that another container has taken between decision and action is not killed', async () => {
    const { engine, wire } = nodeOf('node1');
    wire.hold(true);
    const meant = await engine.run(forbidden('job'));
    const about = { node: 'node1', container: 'job' };
    const { hash, container_id } = await orderWhere(collector, about, isOpen);
    assert.equal(container_id, meant);
    // So that no rule answers the second one in its own right.
    const why = ['--for', '1h', '--reason', 'somebody is at it'];
    await told(collector, 'silence', 'add', '--node', 'node1', '--container', 'job', ...why);
    await engine.remove(meant);
    const other = await engine.run(forbidden('job'));
    wire.hold(false);
    const story = await orderWhere(collector, about, (one) => one.hash === hash && one.status === 'refused');
    assert.deepEqual(
      story.events.map(({ code }) => code),
      ['gone'],
    );
    assert.equal((await nodeOf('node1').container('job')).container.id, other);
    assert.equal((await nodeOf('node1').container('job')).container.state, 'running');
    assert.equal((await ordersOf(collector, about)).length, 1);
    await engine.remove(other);
  });

  test('a missing container is made, with ports, variables and volumes', async () => {
    const made = await orderWhere(collector, { node: 'node2', container: 'shop' }, isVerified);
    assert.deepEqual([made.action, outcomesOf(made)], ['restore', ['executed', 'verified']]);
    await assertAsWanted(made, 'shop');
  });

  test('one of another image is rolled back, with ports, variables and volumes', async () => {
    const made = await orderWhere(collector, { node: 'node2', container: 'store' }, isVerified);
    assert.deepEqual([made.action, outcomesOf(made)], ['rollback', ['executed', 'verified']]);
    await assertAsWanted(made, 'store');
  });

  test(
    'one that does not become healthy leaves the old one running, and is tried as often as allowed',
    realEngine,
    async () => {
      const node = nodeOf('node2');
      await heldFor(collector, 'exhausted', 1);
      const orders = await ordersOf(collector, { node: 'node2', container: 'fragile' });
      assert.deepEqual(
        orders.map(({ action, status }) => `${action} ${status}`),
        Array(1 + actsAtOnce.rollback.max_retries).fill('rollback failed'),
      );
      const { container } = await node.container('fragile');
      assert.deepEqual([container.image, container.state], [otherImage, 'running']);
      assert.ok(orders.every(({ container_id }) => container_id === container.id));
      assert.deepEqual(await namedLike(node, 'fragile'), ['fragile']);
    },
  );

  test(
    'an agent that is killed in the middle of a rollback finishes or undoes it, and says so once',
    realEngine,
    async () => {
      const node = nodeOf('node3');
      const first = await Promise.all(
        slow.map((container) => orderWhere(collector, { node: 'node3', container }, isOpen)),
      );
      const made = await Promise.all(slow.map((name) => waitsForHealth(node, name)));
      await node.agent.kill9();
      writeFileSync(join(flags, 'slow-finished', 'ready'), '');
      await node.engine.kill(made[1] ?? '');
      await node.agent.restart();

      const finished = await orderWhere(collector, { node: 'node3', container: 'slow-finished' }, isVerified);
      assert.deepEqual([finished.hash, outcomesOf(finished)], [first[0]?.hash, ['executed', 'verified']]);
      assert.equal((await node.container('slow-finished')).container.id, made[0]);

      // The old one is back under its name, which is what the next order is about.
      const isNext = ({ hash, status }: ListedOrder) => hash !== first[1]?.hash && isOpen({ status });
      const next = await orderWhere(collector, { node: 'node3', container: 'slow-undone' }, isNext);
      assert.deepEqual([next.action, next.container_id], ['rollback', first[1]?.container_id]);
      const undone = await storyOf(collector, first[1]?.hash ?? '');
      assert.deepEqual(
        undone.events.map(({ outcome, code }) => `${outcome} ${code}`),
        ['failed interrupted'],
      );
      writeFileSync(join(flags, 'slow-undone', 'ready'), '');
      await orderWhere(collector, { node: 'node3', container: 'slow-undone' }, isVerified);
      await eventually(
        'nothing is left over',
        async () => (await namedLike(node, 'slow')).join(' ') === slow.join(' '),
      );
    },
  );

  test('a node that is cut off acts on the standing rules once it may, within limits, and accounts for it', async () => {
    const node = nodeOf('far');
    const ids = await intrude(node);
    const { cutOffSinceMs = Number.NaN } = (await node.agent.status()).link;
    await eventually('two are gone', async () => (await node.engine.ids()).length === ids.length - 1);
    await seenSince(node, Date.now());
    assert.equal((await node.engine.ids()).length, ids.length - 1, 'within the limit');
    assert.equal((await ordersOf(collector, { node: 'far' })).length, 0);
    node.wire.refuse(false);
    await node.agent.restart();
    const both = async () => (await ordersOf(collector, { node: 'far' })).filter(isVerified).length === 2;
    await eventually('the ledger has both', both);
    for (const { hash, ...order } of await ordersOf(collector, { node: 'far' })) {
      assert.deepEqual(
        [order.origin, order.action, order.commit],
        ['local', 'terminate', (await node.agent.status()).commit],
      );
      const story = await storyOf(collector, hash);
      const evidenced = readFileSync(join(node.dir, 'orders', `${hash}.json`), 'utf8');
      const { issuedAt } = ownOrder.parse(JSON.parse(evidenced)).order;
      assert.ok(Date.parse(issuedAt) - cutOffSinceMs > cutOff.far * 1_000 - clockSlackMs, 'not before its time');
      assert.deepEqual(outcomesOf(story), ['executed', 'verified']);
      assert.ok(ids.includes(story.container_id ?? '') && story.events.every(({ index }) => index > story.index));
    }
  });

  test('a node that is cut off does not take a clock that jumps for time that has passed', clocks, async () => {
    const node = nodeOf('edge');
    const ids = await intrude(node);
    writeFileSync(clockFile('edge'), '+2d');
    await seenSince(node, Date.now() + 2 * 86_400_000);
    assert.deepEqual((await node.engine.ids()).length, 1 + ids.length);
    node.wire.refuse(false);
    await follows(node);
    assert.equal((await ordersOf(collector, { node: 'edge' })).length, 0);
  });
});

const ownOrder = z.object({ order: z.object({ issuedAt: z.string() }) });
/** The two clocks may be slewed against each other. */
const clockSlackMs = 500;
const evidence = z.object({
  proof: z.object({ index: z.number(), checkpoint: z.string() }),
  inspect: z.object({ value: z.object({ Id: z.string(), State: z.object({ Running: z.boolean() }) }) }),
});

async function assertAsWanted(order: OrderStory, name: string): Promise<void> {
  const { container, config } = await nodeOf('node2').container(name);
  assert.deepEqual(
    [container.id, container.image, container.state],
    [order.events[0]?.container_id, wantedImage, 'running'],
  );
  assert.deepEqual(config.ports, ['127.0.0.1:->8080/tcp']);
  assert.deepEqual(config.volumes, ['shop-data:/data:rw']);
  assert.deepEqual([config.environment.MODE, config.environment.NUMBER], ['production', '4']);
  await eventually('nothing else is left', async () => (await namedLike(nodeOf('node2'), name)).join() === name);
}

/** Names of all containers that begin so: what was put aside for a while has a longer one. */
async function namedLike(node: EnforcedNode, name: string): Promise<readonly string[]> {
  const all = (await node.containers()).map(({ container }) => container.name);
  return all.filter((one) => one.startsWith(name)).sort();
}

/** Waits until the new container runs under the name and nobody knows yet whether it is healthy. @returns its id */
async function waitsForHealth(node: EnforcedNode, name: string): Promise<string> {
  let id = '';
  const asked = async () => {
    const found = (await node.containers()).find(({ container }) => container.name === name)?.container;
    id = found?.id ?? '';
    return found?.image === wantedImage && found.state === 'running' && found.health === 'starting';
  };
  await eventually(`${name} has been replaced and waits`, asked);
  return id;
}

/** Cuts a node off and starts three containers that nobody wants there; resolves when the agent knows. */
async function intrude({ agent, engine, wire }: EnforcedNode): Promise<readonly string[]> {
  await eventually('it is connected', async () => (await agent.status()).link.state === 'connected');
  wire.refuse(true);
  wire.cutAll();
  await eventually('it is cut off', async () => (await agent.status()).link.cutOffSinceMs !== undefined);
  const ids = await Promise.all(['one', 'two', 'three'].map((name) => engine.run(forbidden(name))));
  await eventually('the agent knows', async () => (await agent.status()).openDrifts === ids.length);
  return ids;
}

/** Waits for a scan that began after this time by the agent's own clock. */
async function seenSince({ agent }: EnforcedNode, ms: number): Promise<void> {
  const seen = async () => Date.parse((await agent.status()).lastScan?.minute ?? '') > ms;
  await eventually('a later scan', seen);
}

describe('a commit that makes every node drift alike', () => {
  /** Puts a commit into force everywhere, at the nodes first. */
  async function commit(text: string): Promise<string> {
    const id = manifest.commit(text);
    for (const name of names) await follows(nodeOf(name), id);
    for (const name of names) await caughtUp(nodeOf(name));
    // Not by starting it anew: a node that comes back late would act by itself meanwhile.
    const headers = { authorization: `Bearer ${collector.token}` };
    assert.ok((await fetch(`${collector.url}/api/v1/desired/refresh`, { method: 'POST', headers })).ok);
    for (const name of names) await follows(nodeOf(name), id);
    return id;
  }

  /** Cuts a node off that knows of a freeze, and starts it anew, until it may have acted by itself for a while. */
  async function cutOffForLong(name: string): Promise<void> {
    const { agent, wire } = nodeOf(name);
    await eventually('it was told', async () => (await agent.status()).measures.known > 0);
    wire.refuse(true);
    wire.cutAll();
    await agent.restart();
    const isDue = async () => ((await agent.status()).link.cutOffMs ?? 0) > (offlineAfter + 2) * 1_000;
    await eventually('it may act', isDue);
    await seenSince(nodeOf(name), Date.now());
  }

  async function idsEverywhere(): Promise<readonly string[]> {
    const ids = await Promise.all(names.map((name) => nodeOf(name).engine.ids()));
    return ids.flat().sort();
  }

  async function alertsAbout(id: string): Promise<number> {
    const keys = (await bodiesOf(collector, 'alert.raised')).map(({ key }) => key);
    return keys.filter((key) => key === `enforcement.frozen/${id}`).length;
  }

  /** Frozen, told once, and every drift of every node looked at and held. */
  async function assertFrozen(id: string, before: readonly string[]): Promise<void> {
    await heldFor(collector, 'frozen', before.length);
    assert.equal(await alertsAbout(id), 1);
    const frozen = (await bodiesOf(collector, 'enforcement.frozen')).filter((body) => body.commit === id);
    assert.deepEqual(
      frozen.map(({ nodes }) => nodes),
      [names],
    );
    assert.deepEqual(
      (await ordersOf(collector)).filter((order) => order.commit === id),
      [],
    );
    assert.deepEqual(await idsEverywhere(), before);
  }

  test('other images for everything: frozen, one alert, nothing killed; a corrected commit is obeyed again', async () => {
    const before = await idsEverywhere();
    const bad = await commit(good.replaceAll(wantedImage, 'app:9'));
    await assertFrozen(bad, before);
    await cutOffForLong('lyra');
    assert.deepEqual(await idsEverywhere(), before, 'it knows that the commit is frozen');
    nodeOf('lyra').wire.refuse(false);
    // Else it would wait for as long as it has waited before it tries again.
    await nodeOf('lyra').agent.restart();
    await follows(nodeOf('lyra'), bad);
    await caughtUp(nodeOf('lyra'));
    const local = (await ordersOf(collector, { node: 'lyra' })).filter(({ origin }) => origin === 'local');
    assert.deepEqual(local, []);
    const corrected = await commit(
      stringify({ ...rules, containers: wanted.filter(({ name }) => name !== 'fragile') }),
    );
    await nodeOf('node1').engine.run(forbidden('after'));
    for (const about of [
      { node: 'node1', container: 'after' },
      { node: 'node2', container: 'fragile' },
    ]) {
      const order = await orderWhere(
        collector,
        about,
        ({ action, status }) => action === 'terminate' && isVerified({ status }),
      );
      assert.equal(order.commit, corrected);
    }
    assert.equal(await alertsAbout(bad), 1);
    assert.deepEqual(
      (await ordersOf(collector)).filter((one) => one.commit === bad),
      [],
    );
  });

  test('an emptied list: frozen, one alert, nothing killed; once it is released it is obeyed', async () => {
    const before = await idsEverywhere();
    const emptied = await commit(stringify({ ...rules, containers: [] }));
    await assertFrozen(emptied, before);
    await told(collector, 'enforcement', 'release', emptied, '--reason', 'this was meant');
    await eventually('all are gone', async () => (await idsEverywhere()).length === 0);
    assert.equal(await alertsAbout(emptied), 1);
  });
});
