import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { z } from 'zod';
import { approvalText } from '../../common/order.ts';
import { type SshSigners, sshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import { type ManifestRepository, makeTemporaryFolder, type RunningCollector } from '../system.ts';
import {
  bodiesOf,
  type EnforcedNode,
  eventually,
  follows,
  heldFor,
  orderWhere,
  otherImage,
  outcomesOf,
  sleeping,
  startEnforcedNode,
  storyOf,
  told,
  wantedImage,
} from './enforce-world.ts';
import { byApproval, type SignedWorld, startSignedWorld } from './signed-world.ts';

/** A node that knows who may sign, and nothing else: commits and orders come from the collector. */
const folder = makeTemporaryFolder('sgw-es-');
const needsKeys = { skip: withoutSshKeygen() };
const forbidden = ['one', 'two'];
const containers = [{ node: 'lyra', name: 'web', image: wantedImage, command: sleeping }];
const passive = byApproval(containers);

let world: SignedWorld;
let people: SshSigners;
let strangers: SshSigners;
let manifest: ManifestRepository;
let collector: RunningCollector;
let node: EnforcedNode;
/** The first one, signed by alice. */
let first: string;

before(async () => {
  if (needsKeys.skip !== false) return;
  strangers = await sshSigners({ mallory: 'alice' });
  const signers = { alice: 'alice', bob: 'bob' };
  world = await startSignedWorld({ folder: folder.path, manifest: passive, signers });
  ({ people, manifest, collector } = world);
  node = await startEnforcedNode(collector, {
    ...{ name: 'lyra', folder: folder.path, env: world.trust },
    runs: async (engine) => {
      await engine.run({ name: 'web', image: wantedImage, cmd: sleeping });
      for (const name of forbidden) await engine.run({ name, image: otherImage, cmd: sleeping });
    },
  });
  const { commit } = z.object({ commit: z.string() }).parse((await bodiesOf(collector, 'desired.adopted')).at(-1));
  first = commit;
});
after(async () => {
  await world?.stop();
  await strangers?.remove();
});

test('a node follows the signed commits that its collector brings, and no others', needsKeys, async () => {
  await follows(node, first);
  const unsigned = manifest.commit(stringify({ ...passive, containers: [] }));
  await collector.restart();
  const refused = async () => (await bodiesOf(collector, 'desired.rejected')).some(({ commit }) => commit === unsigned);
  await eventually('it is refused', refused);
  assert.equal((await node.agent.status()).commit, first);
  // The collector follows it, and sees what stands by the last good one.
  await heldFor(collector, 'commit', forbidden.length);
  // The rest of the fleet's history may hold anything: whoever signs a commit answers for all of it.
  const good = manifest.commit(stringify(passive), people.keyFile('alice'));
  await collector.restart();
  await follows(node, good);
});

test('where somebody has to agree, an order waits for them, and nobody else will do', needsKeys, async () => {
  const about = (container: string) => ({ node: 'lyra', container });
  const wait = (container: string) => orderWhere(collector, about(container), ({ status }) => status === 'requested');
  const [one, two] = [await wait('one'), await wait('two')];
  assert.deepEqual(
    one.held_up_by.map(({ code }) => code),
    ['approvals'],
  );

  const copied = join(folder.path, 'copied.sig');
  writeFileSync(copied, people.sign('alice', approvalText(two.hash)));
  assert.equal(await approve(one.hash, '--as', 'alice', '--signature', copied), 3, 'given for another order');
  assert.equal(await approve(one.hash, '--as', 'alice', '--key', strangers.keyFile('mallory')), 3, 'a stranger');
  assert.equal(await approve(one.hash, '--as', 'bob', '--key', people.keyFile('bob')), 4, 'not an approver');
  assert.deepEqual((await storyOf(collector, one.hash)).approvals, []);

  assert.equal(await approve(one.hash, '--as', 'alice', '--key', people.keyFile('alice')), 0);
  const done = await orderWhere(collector, about('one'), ({ status }) => status === 'verified');
  assert.deepEqual([done.hash, outcomesOf(done)], [one.hash, ['executed', 'verified']]);
  const waiting = await storyOf(collector, two.hash);
  assert.deepEqual([waiting.status, waiting.events], ['requested', []]);
  assert.equal((await node.container('two')).container.id, two.container_id);
  await told(collector, 'orders', 'reject', two.hash, '--reason', 'it may stay');
  assert.equal((await node.container('two')).container.id, two.container_id);
});

/** @returns the exit code. */
async function approve(hash: string, ...how: readonly string[]): Promise<number> {
  const file = ['--allowed-signers', people.allowedSigners];
  return (await collector.cli('orders', 'approve', hash, ...how, ...file)).exitCode;
}
