import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { type SshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import { type Finished, jsonLine, makeTemporaryFolder, type RunningCollector } from '../system.ts';
import {
  type EnforcedNode,
  eventually,
  follows,
  openEngine,
  sleeping,
  startEnforcedNode,
  type TestEngine,
  told,
  wantedImage,
  withoutEngine,
} from './enforce-world.ts';
import { byApproval, type SignedWorld, startSignedWorld } from './signed-world.ts';
import { caughtUp, statusWhere } from './waiting.ts';

/** An image that a node without a network lacks comes to it by hand, from the real engine of the collector's machine to its own. */
const folder = makeTemporaryFolder('sgw-ai-');
const needs = { skip: withoutEngine || withoutSshKeygen() };
const absent = 'app:9';
const containers = [
  { node: 'lyra', name: 'web', image: wantedImage, command: sleeping },
  { node: 'lyra', name: 'late', image: absent, command: sleeping },
];
const passive = byApproval(containers);

let world: SignedWorld;
let people: SshSigners;
let collector: RunningCollector;
/** Of the collector's machine. */
let engine: TestEngine;
let node: EnforcedNode;
let stick: string;

before(async () => {
  if (needs.skip !== false) return;
  engine = await openEngine(folder.path, 'collector-engine');
  const env = { DOCKER_HOST: `unix://${engine.socketPath}` };
  world = await startSignedWorld({ folder: folder.path, manifest: passive, env });
  ({ people, collector } = world);
  node = await startEnforcedNode(collector, {
    ...{ name: 'lyra', folder: folder.path, env: world.trust },
    runs: (its) => its.run({ name: 'web', image: wantedImage, cmd: sleeping }),
  });
  await follows(node);
  await caughtUp(node);
  node.wire.refuse(true);
  node.wire.cutAll();
  stick = join(folder.path, 'stick');
  mkdirSync(stick);
  // Both programs write to it, under units as users of their own.
  chmodSync(stick, 0o777);
});

after(() => world?.stop());

function saying<T>({ exitCode, stdout, stderr }: Finished, schema: z.ZodType<T>): T {
  assert.equal(exitCode, 0, stderr);
  return schema.parse(jsonLine(stdout));
}

const imported = z.object({
  imported: z.array(
    z.object({
      return: z.object({
        folder: z.string(),
        images: z.array(z.string()),
        lacking: z.array(z.object({ image: z.string(), reason: z.string() })),
      }),
    }),
  ),
});
const taken = z.object({ taken: z.object({ orders: z.number(), images: z.array(z.string()) }) });

async function answerOf(...flags: readonly string[]) {
  const said = saying(await collector.cli('--json', 'bundle', 'import', stick, ...flags), imported);
  return said.imported[0]?.return ?? assert.fail('nothing imported');
}

test('a node asks for the images that are wanted there and that its engine lacks', needs, async () => {
  const { images } = saying(
    await node.agent.cli('--json', 'bundle', 'export', '--to', stick),
    z.object({ images: z.array(z.string()) }),
  );
  assert.deepEqual(images, [absent]);
});

test(
  'what the engine at the collector lacks as well is told, and keeps nothing else from being carried',
  needs,
  async () => {
    const { images, lacking } = await answerOf();
    assert.deepEqual([images, lacking.map(({ image }) => image)], [[], [absent]]);
    assert.match(lacking[0]?.reason ?? '', /No such image/);
    const { stdout } = await collector.cli('bundle', 'import', stick);
    assert.match(stdout, /^ {2}NOT BROUGHT {4}image app:9, which lyra asks for: .*No such image/m);
  },
);

test('what it has is saved, checked, split by size, and taken in for an order', needs, async () => {
  // More than one part; what is in it does not matter.
  await engine.importImage(absent, ['ENV A=1']);
  const about = ['--node', 'lyra', '--action', 'restore', '--container', 'late', '--reason', 'it was missing'];
  const signed = ['--as', 'alice', '--key', people.keyFile('alice'), '--allowed-signers', people.allowedSigners];
  await told(collector, 'orders', 'issue', ...about, '--confirm', 'late', ...signed);
  const none = await answerOf('--no-asked-images');
  assert.deepEqual([none.images, none.lacking], [[], []]);
  const answer = await answerOf('--max-part-bytes', '1048576');
  assert.deepEqual([answer.images, answer.lacking], [[absent], []]);
  const parts = readdirSync(answer.folder).filter((name) => name.startsWith('image-'));
  assert.ok(parts.length > 1, String(parts));
  const { orders, images } = saying(await node.agent.cli('--json', 'bundle', 'import', stick), taken).taken;
  assert.deepEqual([orders, images.length], [1, 1]);
  const isUp = async () =>
    (await node.containers()).some(({ container: { name, state } }) => name === 'late' && state === 'running');
  await eventually('it runs', isUp);
  await statusWhere({ name: 'lyra', agent: node.agent }, 'no drift is left', ({ openDrifts }) => openDrifts === 0);
});

test('a node that has all that is wanted there asks for nothing', needs, async () => {
  const again = saying(
    await node.agent.cli('--json', 'bundle', 'export', '--to', stick),
    z.object({ images: z.array(z.string()) }),
  );
  assert.deepEqual(again.images, []);
});

test('an image that somebody names and that the engine lacks ends the import', needs, async () => {
  const first = join(stick, 'entries-lyra-000001');
  const { exitCode, stderr } = await collector.cli('--json', 'bundle', 'import', first, '--image', 'nobody:1');
  assert.equal(exitCode, 2, stderr);
  assert.match(stderr, /image nobody:1: .*No such image/);
});
