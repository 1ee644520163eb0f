import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { z } from 'zod';
import { canonicalText } from '../../common/canonical.ts';
import { collectorAuthor } from '../../common/entry.ts';
import { chaosProxy } from '../fakes/chaos-proxy.ts';
import type { FakeEngine } from '../fakes/engine.ts';
import { embeddedPrograms, type Server, startPair } from '../servers.ts';
import {
  enrolNode,
  makeManifestRepository,
  makeTemporaryFolder,
  type RunningCollector,
  type RunningNode,
  startCollector,
  startNode,
} from '../system.ts';
import { until } from '../until.ts';
import { churn } from './churn.ts';
import { keyAlone } from './enforce-attacker.ts';
import { actsAtOnce, ordersOf, orderWhere, outcomesOf, sleeping } from './enforce-world.ts';
import { keepEngine, keepProxy, otherImage, tearDown, wantedImage } from './fleet.ts';
import { assertSaidOnce, assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { randomOf, seedOf } from './random.ts';
import { caughtUp, statusWhere } from './waiting.ts';

/** Three collectors behind a balancer, on a primary and its standby; two nodes that find whichever of them is there. */
const folder = makeTemporaryFolder('sgw-cluster-');
const names = ['lyra', 'node1'];
const scanIntervalMs = 1_000;
/** An agent tries again after half a second at first, and every other connection may lead to one that is dead. */
const elsewhereWithinMs = 45_000;
const wanted = (node: string) => ({ node, name: `${node}-web`, image: wantedImage, command: sleeping });

interface Node {
  readonly name: string;
  readonly engine: FakeEngine;
  readonly agent: RunningNode;
}

let [primary, standby]: [Server?, Server?] = [];
let collectors: readonly RunningCollector[] = [];
let nodes: readonly Node[] = [];
const one = (at: number) => collectors[at] ?? assert.fail('not started');

before(async () => {
  ({ primary, standby } = await startPair(await embeddedPrograms(folder.path), folder.path));
  // Whatever nobody wrote about is ended at once.
  const manifest = makeManifestRepository(
    join(folder.path, 'manifest'),
    stringify({ ...actsAtOnce, containers: names.map(wanted) }),
  );
  const list = `127.0.0.1:${primary.port},127.0.0.1:${standby.port}`;
  const env = {
    DATABASE_URL: `postgres://sigilwatch@${list}/postgres`,
    SIGILWATCH_MANIFEST_REPOSITORY: manifest.path,
  };
  const first = await startCollector({ dir: join(folder.path, 'collector-1'), env });
  const more = ['collector-2', 'collector-3'].map((name) => keyAlone(first.dir, join(folder.path, name)));
  const others = await Promise.all(more.map((dir) => startCollector({ dir, env, token: first.token })));
  collectors = [first, ...others];
  let turn = 0;
  const ports = collectors.map(({ url }) => Number(new URL(url).port));
  const balancer = await keepProxy(
    await chaosProxy(
      () => ports[turn++ % ports.length] ?? 0,
      () => ({}),
    ),
  );
  nodes = await Promise.all(names.map((name) => startOne(name, balancer.port, manifest.path)));
  for (const node of nodes) await caughtUp(node);
});
after(tearDown);

async function startOne(name: string, balancer: number, manifest: string): Promise<Node> {
  const socketPath = join(folder.path, `${name}.sock`);
  const engine = await keepEngine(socketPath);
  for (const image of [wantedImage, otherImage]) engine.state.importImage(image);
  await engine.run({ name: `${name}-web`, image: wantedImage, cmd: sleeping });
  const dir = join(folder.path, name);
  await enrolNode(one(0), name, dir, `http://127.0.0.1:${balancer}`);
  return { name, engine, agent: await startNode({ node: name, dir, socketPath, manifest, scanIntervalMs }) };
}

/** Who has a session with it. */
async function sessionsOf({ url, token }: RunningCollector): Promise<number> {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } });
  return Number(/^sigilwatch_collector_agent_sessions (\d+)$/m.exec(await answer.text())?.[1]);
}

/** An unauthorized container is ended by exactly one order, whoever it is asked. */
async function ordered({ name: node, engine }: Node, container: string, asked: RunningCollector): Promise<void> {
  await engine.run({ name: container, image: otherImage, cmd: sleeping });
  const story = await orderWhere(asked, { node, container }, ({ status }) => status === 'verified');
  assert.deepEqual(outcomesOf(story), ['executed', 'verified']);
  for (const collector of collectors) assert.equal((await ordersOf(collector, { node, container })).length, 1);
}

test('an order finds its node at whichever collector has its socket, and is given once', async () => {
  // One after the other: nodes that drift alike together make a commit suspect.
  for (const node of nodes) await ordered(node, 'rogue', one(0));
});

test('nodes of a collector that is killed are with another within seconds, and orders find them there', async () => {
  for (const at of [0, 1, 2]) {
    const killed = one(at);
    const left = collectors.filter((collector) => collector !== killed);
    await killed.kill9();
    const together = async () => {
      const counts = await Promise.all(left.map(sessionsOf));
      return counts.reduce((sum, count) => sum + count, 0) === nodes.length;
    };
    await until(`all nodes are with the two that are left (without ${at})`, together, elsewhereWithinMs);
    for (const node of nodes) await statusWhere(node, 'connected', ({ link }) => link.state === 'connected');
    await killed.restart();
    const [node] = nodes;
    if (node !== undefined) await ordered(node, `rogue-${at}`, killed);
  }
});

test('an engine that does not answer is told of, by one of them', async () => {
  const [node = assert.fail()] = nodes;
  await node.engine.down();
  const alert = z.object({ key: z.string() });
  const told = async () =>
    (await one(0).list('/api/v1/alerts', alert)).some(({ key }) => key === `engine.down/${node.name}`);
  await until('people are told', told, 90_000);
  await node.engine.up();
  await statusWhere(node, 'the engine is up', ({ engine }) => engine === 'up');
});

test('the primary is killed under load and its standby promoted: nothing acknowledged is lost, nothing is there twice', async (t) => {
  const seed = seedOf('failover');
  const quiet = new AbortController();
  const busy = nodes.map((node) => churn(node.engine, [`${node.name}-web`], randomOf(seed, node.name), quiet.signal));
  for (const node of nodes) {
    const { link } = await node.agent.status();
    await statusWhere(node, 'busy', (status) => status.link.ackedSeq > link.ackedSeq + 20, 30_000);
  }
  await primary?.kill9();
  const acked = await Promise.all(nodes.map(async ({ agent }) => (await agent.status()).link.ackedSeq));
  await statusWhere(nodes[0] ?? assert.fail(), 'something waits', ({ outbox }) => outbox.depth > 5, 20_000);
  await standby?.sql('select pg_promote()');
  const promotedMs = performance.now();
  quiet.abort();
  await Promise.all(busy);
  for (const node of nodes) await caughtUp(node);
  t.diagnostic(`caught up ${Math.round(performance.now() - promotedMs)} ms after the promotion, seed ${seed}`);
  for (const collector of collectors) {
    assert.ok(!collector.logs().some((line) => line.includes('ledger.contradicted')));
  }
  for (const { agent } of nodes) await agent.stop();
  const chains = chainsOf(await readLedger(one(0), folder.path));
  nodes.forEach(({ name }, at) => {
    const chain = chains.get(name) ?? [];
    assert.ok(chain.length >= (acked[at] ?? 0), `${name}: ${chain.length} of ${acked[at]} acknowledged`);
    assertSaidOnce(chain, scanIntervalMs);
  });
  await assertVerified(one(0));
});

test('what collectors do by themselves was done by one of them', async () => {
  const said = chainsOf(await readLedger(one(0), folder.path)).get(collectorAuthor) ?? [];
  const count = (texts: readonly string[]) =>
    texts.reduce((counts, text) => counts.set(text, (counts.get(text) ?? 0) + 1), new Map<string, number>());
  // People may do the same twice, and each collector says itself which commit of its own clone it goes by.
  const each = ['auth.event', 'desired.adopted'];
  const once = said.filter(({ entry: { kind } }) => !kind.startsWith('alert.') && !each.includes(kind));
  const texts = count(once.map(({ entry: { kind, body } }) => canonicalText({ kind, body })));
  assert.ok(texts.size > names.length);
  assert.deepEqual(
    [...texts].filter(([, times]) => times > 1),
    [],
  );
  const keysOf = (wish: 'alert.raised' | 'alert.resolved') =>
    count(said.flatMap(({ entry }) => (entry.kind === wish ? entry.body.key : [])));
  const resolved = keysOf('alert.resolved');
  const raised = [...keysOf('alert.raised')];
  assert.ok(raised.length > 0);
  assert.deepEqual(
    raised.filter(([key, times]) => times > (resolved.get(key) ?? 0) + 1),
    [],
  );
});
