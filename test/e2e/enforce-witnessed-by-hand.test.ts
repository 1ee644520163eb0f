import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { z } from 'zod';
import { type SshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import { makeTemporaryFolder, type RunningCollector, type RunningNode } from '../system.ts';
import {
  type EnforcedNode,
  eventually,
  follows,
  otherImage,
  outcomesOf,
  sleeping,
  startEnforcedNode,
  storyOf,
  told,
  wantedImage,
} from './enforce-world.ts';
import { byApproval, type SignedWorld, startSignedWorld } from './signed-world.ts';
import { printedPins, startWitness } from './witnessed-world.ts';

/** What a person orders, and has signed, is no more obeyed than what a rule orders before witnesses have seen it. */
const folder = makeTemporaryFolder('sgw-eh-');
const needsKeys = { skip: withoutSshKeygen() };
const node = 'lyra';
const others = ['node1', 'node2'];
const passive = {
  ...byApproval([{ node, name: 'web', image: wantedImage, command: sleeping }]),
  nodes: [node, ...others].map((name) => ({ name })),
};

let world: SignedWorld;
let people: SshSigners;
let collector: RunningCollector;
let lyra: EnforcedNode;
let witnesses: readonly RunningNode[];

before(async () => {
  if (needsKeys.skip !== false) return;
  world = await startSignedWorld({ folder: folder.path, manifest: passive });
  ({ people, collector } = world);
  const { manifest, trust: env } = world;
  const place = { folder: folder.path, manifest: manifest.path, env };
  lyra = await startEnforcedNode(collector, {
    ...{ ...place, name: node },
    runs: (engine) => engine.run({ name: 'web', image: wantedImage, cmd: sleeping }),
  });
  witnesses = await Promise.all(others.map((name) => startWitness(collector, { ...place, name })));
  const pins = await printedPins(collector);
  const governance = { ...passive.governance, witnessed_orders: true };
  const commit = manifest.commit(stringify({ ...passive, ...pins, governance }), people.keyFile('alice'));
  await collector.restart();
  await follows(lyra, commit);
});
after(() => world?.stop());

const issued = z.object({ hash: z.string() });

async function order(container: string): Promise<string> {
  const about = ['--node', node, '--action', 'terminate', '--container', container, '--reason', 'nobody knows it'];
  const signed = ['--as', 'alice', '--key', people.keyFile('alice'), '--allowed-signers', people.allowedSigners];
  return issued.parse(await told(collector, 'orders', 'issue', ...about, '--confirm', container, ...signed)).hash;
}

async function stranger(name: string): Promise<string> {
  const id = await lyra.engine.run({ name, image: otherImage, cmd: sleeping });
  await eventually(`${name} is seen`, async () => {
    const rows = await collector.list(`/api/v1/drifts?node=${node}&state=open`, z.object({ container: z.string() }));
    return rows.some(({ container }) => container === name);
  });
  return id;
}

const runs = async (id: string) => (await lyra.engine.ids()).includes(id);
const story = (hash: string) => storyOf(collector, hash);
const isDone = async (hash: string) => outcomesOf(await story(hash)).includes('executed');

test('an order by hand that a quorum has seen is obeyed', needsKeys, async () => {
  const id = await stranger('first');
  const hash = await order('first');
  await eventually('it is carried out', () => isDone(hash));
  assert.equal((await story(hash)).origin, 'operator');
  assert.ok(!(await runs(id)));
});

test('one that too few have seen waits, and is obeyed once enough have', needsKeys, async () => {
  await Promise.all(witnesses.map((agent) => agent.stop()));
  const id = await stranger('second');
  const hash = await order('second');
  const codes = async () => (await story(hash)).held_up_by.map(({ code }) => code);
  await eventually('it is told what it waits for', async () => (await codes()).includes('unwitnessed'));
  assert.deepEqual([outcomesOf(await story(hash)), await runs(id)], [[], true]);
  await witnesses[0]?.restart();
  await eventually('it is carried out', () => isDone(hash));
  assert.ok(!(await runs(id)));
});
