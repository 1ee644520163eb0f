import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import {
  type ManifestRepository,
  makeManifestRepository,
  makeTemporaryFolder,
  type RunningCollector,
  startCollector,
} from '../system.ts';
import { keyAlone } from './enforce-attacker.ts';
import {
  actsAtOnce,
  bodiesOf,
  type EnforcedNode,
  eventually,
  follows,
  heldDrifts,
  ordersOf,
  orderWhere,
  otherImage,
  outcomesOf,
  sleeping,
  startEnforcedNode,
  told,
  wantedImage,
} from './enforce-world.ts';
import { tearDown } from './fleet.ts';
import { caughtUp } from './waiting.ts';

/** Two collectors on one database, each with a node. */
const folder = makeTemporaryFolder('sgw-et-');
const names = ['lyra', 'node1'];
const manifestOf = (image: string) =>
  stringify({ ...actsAtOnce, containers: names.map((node) => ({ node, name: 'web', image, command: sleeping })) });

let postgres: TestPostgres;
let manifest: ManifestRepository;
let [first, second]: [RunningCollector?, RunningCollector?] = [];
let nodes: readonly EnforcedNode[];
/** Where each node's connections end. */
const ports = new Map<string, number>();

const portOf = (collector: RunningCollector) => Number(new URL(collector.url).port);
const one = () => first ?? assert.fail('not started');
const other = () => second ?? assert.fail('not started');
const lyra = () => nodes[0] ?? assert.fail('not started');

before(async () => {
  postgres = await startPostgres();
  manifest = makeManifestRepository(join(folder.path, 'manifest'), manifestOf(wantedImage));
  const env = { DATABASE_URL: await postgres.migratedDatabase(), SIGILWATCH_MANIFEST_REPOSITORY: manifest.path };
  first = await startCollector({ dir: join(folder.path, 'first'), env });
  const dir = keyAlone(first.dir, join(folder.path, 'second'));
  second = await startCollector({ dir, env, token: first.token });
  ports.set('lyra', portOf(first)).set('node1', portOf(second));
  nodes = await Promise.all(
    names.map((name) =>
      startEnforcedNode(one(), {
        ...{ name, folder: folder.path, manifest: manifest.path, port: () => ports.get(name) ?? 0 },
        runs: (engine) => engine.run({ name: 'web', image: wantedImage, cmd: sleeping }),
      }),
    ),
  );
  for (const node of nodes) await follows(node);
});
after(async () => {
  await tearDown();
  await postgres.stop();
});

/** Lets the node's session end, and the next one begin at another collector. */
async function move(node: EnforcedNode, to: RunningCollector): Promise<void> {
  const { connections } = node.wire;
  ports.set(node.name, portOf(to));
  node.wire.cutAll();
  const moved = async () => {
    return node.wire.connections > connections && (await node.agent.status()).link.state === 'connected';
  };
  await eventually(`${node.name} has moved`, moved);
}

test('one drift is answered with one order, whichever of two collectors the node speaks to', async () => {
  for (const { name, engine } of nodes) {
    await engine.run({ name: 'rogue', image: otherImage, cmd: sleeping });
    const story = await orderWhere(one(), { node: name, container: 'rogue' }, ({ status }) => status === 'verified');
    assert.deepEqual(outcomesOf(story), ['executed', 'verified']);
    assert.equal((await ordersOf(other(), { node: name, container: 'rogue' })).length, 1);
  }
});

test('an order that one collector has put on record is brought by the other, and not given again', async () => {
  const { engine, wire, name: node } = lyra();
  const about = { node, container: 'moved' };
  wire.hold(true);
  await engine.run({ name: 'moved', image: otherImage, cmd: sleeping });
  const { hash } = await orderWhere(one(), about, ({ status }) => status === 'requested');
  // What is held back is cut off with its connection.
  const moving = move(lyra(), other());
  wire.hold(false);
  await moving;
  const story = await orderWhere(other(), about, ({ status }) => status === 'verified');
  assert.deepEqual([story.hash, outcomesOf(story)], [hash, ['executed', 'verified']]);
  assert.equal((await ordersOf(one(), about)).length, 1);
  await move(lyra(), one());
});

test('what holds orders back is known to the nodes of both, whoever has put it on record', async () => {
  const known = async () => Promise.all(nodes.map(async ({ agent }) => (await agent.status()).measures.known));
  const before = await known();
  const scope = ['--kind', 'CONFIG_DRIFT', '--container', 'nobody'];
  await told(other(), 'silence', 'add', ...scope, '--for', '1h', '--reason', 'a test');
  const isKnown = async () => (await known()).every((count, at) => count === (before[at] ?? 0) + 1);
  await eventually('both know of it', isKnown);
});

test('a commit that makes nodes of both drift alike is frozen once, with one alert', async () => {
  const before = await Promise.all(nodes.map(({ engine }) => engine.ids()));
  const commit = manifest.commit(manifestOf('app:9'));
  for (const node of nodes) {
    await follows(node, commit);
    await caughtUp(node);
  }
  await Promise.all([one().restart(), other().restart()]);
  for (const collector of [one(), other()]) {
    const held = async () => (await heldDrifts(collector)).get('frozen') === 1;
    await eventually('its node is held up', held);
  }
  const alerts = (await bodiesOf(one(), 'alert.raised')).filter(({ key }) => key === `enforcement.frozen/${commit}`);
  assert.equal(alerts.length, 1);
  assert.deepEqual(
    (await bodiesOf(one(), 'enforcement.frozen')).map(({ nodes: named }) => named),
    [names],
  );
  assert.deepEqual(
    (await ordersOf(one())).filter((order) => order.commit === commit),
    [],
  );
  assert.deepEqual(await Promise.all(nodes.map(({ engine }) => engine.ids())), before);
});
