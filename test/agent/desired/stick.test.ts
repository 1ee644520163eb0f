import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import {
  type FleetRepository,
  fleetRepository,
  missing,
  type SshSigner,
  sshSigner,
  TestNode,
  wanting,
} from '../desired-world.ts';
import { agentCommand } from '../program.ts';
import { tempFolder } from '../watching.ts';

const temp = tempFolder();
const skip = missing('git', 'ssh-keygen');
let dir: string;
let node: TestNode;
let fleet: FleetRepository;
let config: string;

beforeEach(() => {
  dir = mkdtempSync(join(temp, 'case-'));
  node = new TestNode(dir);
  fleet = fleetRepository(join(dir, 'fleet'));
  config = join(dir, 'agent.yaml');
  writeFileSync(config, `dataDir: ${node.dataDir}\n`);
});

const desired = (...argv: readonly string[]) => agentCommand(['--config', config, '--json', 'desired', ...argv]);
const shown = async () => JSON.parse((await desired('show')).stdout);
const refresh = async () => {
  await node.source.refresh();
  return node.wanted;
};

describe('a bundle on a stick', { skip }, () => {
  test('comes into force without a collector, and show says so', async () => {
    const commit = fleet.commit(wanting('a'));
    const imported = await desired('import', node.stick(fleet.bundle('main')));
    assert.equal(imported.code, 0, imported.stderr);
    assert.deepEqual(JSON.parse(imported.stdout), {
      ...{ commit, signer: null, before: null, handed_over: true, within_ms: 60_000 },
    });
    assert.equal((await shown()).waiting, 1);
    assert.deepEqual(await refresh(), ['a']);
    await refresh();
    assert.deepEqual(node.told, ['desired.adopted']);
    const { adopted, waiting } = await shown();
    assert.deepEqual([adopted.commit, adopted.origin, adopted.signer, waiting], [commit, 'stick', null, 0]);
    const again = await desired('import', node.stick(fleet.bundle('main')));
    assert.equal(JSON.parse(again.stdout).handed_over, false);
  });

  test('may hold only what is new', async () => {
    const first = fleet.commit(wanting('a'));
    await desired('import', node.stick(fleet.bundle('main')));
    await refresh();
    fleet.commit(wanting('b'));
    const part = node.stick(fleet.bundle('main', `^${first}`));
    assert.equal((await desired('import', part)).code, 0);
    assert.deepEqual(await refresh(), ['b']);
  });

  test('has to be signed where somebody is trusted, and by them', async () => {
    const [alice, mallory] = [sshSigner(dir, 'alice'), sshSigner(dir, 'mallory')];
    const allowedSigners = join(dir, 'allowed_signers');
    writeFileSync(allowedSigners, `alice ${alice.publicKey}\n`);
    writeFileSync(config, `dataDir: ${node.dataDir}\nmanifest: {allowedSigners: ${allowedSigners}}\n`);
    node.trust = { allowedSigners };
    for (const by of [undefined, mallory]) {
      fleet.commit(wanting('evil'), by);
      const { code, stderr } = await desired('import', node.stick(fleet.bundle('main')));
      assert.deepEqual([code, JSON.parse(stderr).error_code], [3, 'auth.signature']);
    }
    fleet.commit(wanting('a'), alice);
    assert.equal((await desired('import', node.stick(fleet.bundle('main')))).code, 0);
    assert.deepEqual(await refresh(), ['a']);
    assert.match((await shown()).adopted.signer, /^alice \(SHA256:/);
  });

  test('that is none, or brings several commits, is refused at once and not handed over', async () => {
    fleet.commit(wanting('a'));
    fleet.git(['checkout', '-q', '-b', 'other']);
    fleet.commit(wanting('b'));
    for (const bytes of [Buffer.from('x'), fleet.bundle('main', 'other'), fleet.bundle('main').subarray(0, -5)]) {
      const { code, stderr } = await desired('import', node.stick(bytes));
      assert.deepEqual([code, JSON.parse(stderr).error_code], [2, 'validation.manifest']);
      assert.doesNotMatch(stderr, /hint:/, 'what is wrong is said, and not what git advises');
    }
    const folder = await desired('import', dir);
    assert.deepEqual([folder.code, JSON.parse(folder.stderr).error_code], [2, 'validation.request']);
    const lost = await desired('import', join(dir, 'nothing.bundle'));
    assert.deepEqual([lost.code, JSON.parse(lost.stderr).error_code], [2, 'validation.request']);
    assert.equal((await shown()).waiting, 0);
    assert.equal((await desired('import', node.stick(fleet.bundle('HEAD', 'main')))).code, 0, 'HEAD says which');
  });

  test('handed over before a restart is found after it', async () => {
    fleet.commit(wanting('a'));
    await desired('import', node.stick(fleet.bundle('main')));
    await node.restart();
    assert.deepEqual(await refresh(), ['a']);
  });

  test('that the journal does not take now is taken up again', async () => {
    fleet.commit(wanting('a'));
    await desired('import', node.stick(fleet.bundle('main')));
    node.journal.mood = 'full';
    await assert.rejects(node.source.refresh(), { code: 'outbox.full' });
    node.journal.mood = 'well';
    assert.deepEqual(await refresh(), ['a']);
  });
});

describe('a commit that is not a descendant', { skip }, () => {
  let rewritten: string;
  beforeEach(async () => {
    node.repository = fleet.dir;
    const old = fleet.commit(wanting('a'));
    fleet.commit(wanting('b'));
    await refresh();
    fleet.git(['reset', '-q', '--hard', old]);
    rewritten = fleet.commit(wanting('c'));
    await refresh();
  });

  test('is shown with the reason, and comes into force once the operator accepts it', async () => {
    const before = await shown();
    assert.deepEqual([before.lastRefused.commit, before.lastRefused.code], [rewritten, 'state.conflict']);
    const accepted = await desired('accept', rewritten, '--reason', 'history was cleaned of a password');
    assert.equal(accepted.code, 0, accepted.stderr);
    assert.equal(JSON.parse(accepted.stdout).was_refused, true);
    assert.deepEqual(await refresh(), ['c']);
    const after = await shown();
    assert.deepEqual([after.adopted.release, after.accepted], ['history was cleaned of a password', null]);
  });

  test('is accepted once: going back to it later takes another word', async () => {
    const inForce = node.source.adopted?.commit ?? '';
    await desired('accept', rewritten, '--reason', 'x');
    await refresh();
    await node.restart();
    fleet.git(['reset', '-q', '--hard', inForce]);
    await refresh();
    assert.deepEqual(node.wanted, ['c']);
    await desired('accept', inForce, '--reason', 'back');
    assert.deepEqual(await refresh(), ['b']);
    fleet.git(['reset', '-q', '--hard', rewritten]);
    assert.deepEqual(await refresh(), ['b']);
  });

  test('is still judged by its signature and its files when it is accepted', async () => {
    const alice: SshSigner = sshSigner(dir, 'alice');
    const allowedSigners = join(dir, 'allowed_signers');
    writeFileSync(allowedSigners, `alice ${alice.publicKey}\n`);
    node.trust = { allowedSigners };
    await node.restart();
    await desired('accept', rewritten, '--reason', 'x');
    assert.deepEqual(await refresh(), ['b']);
    assert.equal(await node.lastCode(), 'auth.signature');
    const broken = fleet.commit('nonsense', alice);
    await desired('accept', broken, '--reason', 'x');
    assert.deepEqual(await refresh(), ['b']);
    assert.equal(await node.lastCode(), 'validation.manifest');
  });

  test('that the collector offered is let in without being offered again', async () => {
    const alice = sshSigner(dir, 'alice');
    const allowedSigners = join(dir, 'allowed_signers');
    writeFileSync(allowedSigners, `alice ${alice.publicKey}\n`);
    [node.trust, node.repository] = [{ allowedSigners }, undefined];
    await node.restart();
    const commit = fleet.commit(wanting('d'), alice);
    const { outcome } = await node.source.offerBundle(commit, fleet.bundle('main'));
    assert.equal(outcome, 'refused');
    await desired('accept', commit, '--reason', 'x');
    assert.deepEqual(await refresh(), ['d']);
  });

  test('cannot be accepted by half its name, or for no reason', async () => {
    for (const argv of [
      [rewritten.slice(0, 12), '--reason', 'x'],
      [rewritten, '--reason', ' '],
      ['main', '--reason', 'x'],
    ]) {
      const { code, stderr } = await desired('accept', ...argv);
      assert.deepEqual([code, JSON.parse(stderr).error_code], [2, 'validation.request']);
    }
    assert.equal((await desired('accept', rewritten)).code, 2);
  });

  test('is told to a person with what to do next', async () => {
    const { stdout } = await agentCommand(['--config', config, 'desired', 'show']);
    assert.match(stdout, /^in force: [0-9a-f]{40}\n {2}not verified/);
    assert.match(stdout, new RegExp(`refused last: ${rewritten} from the local repository`));
    assert.match(stdout, /is not a descendant of/);
  });
});
