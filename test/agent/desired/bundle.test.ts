import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { limits } from '../../../common/limits.ts';
import {
  type FleetRepository,
  fleetRepository,
  missing,
  type SshSigner,
  sshSigner,
  TestNode,
  wanting,
} from '../desired-world.ts';
import { tempFolder } from '../watching.ts';

const temp = tempFolder();
const skip = missing('git', 'ssh-keygen');
let dir: string;
let node: TestNode;
let fleet: FleetRepository;
let alice: SshSigner;

beforeEach(() => {
  if (skip !== false) return;
  dir = mkdtempSync(join(temp, 'case-'));
  node = new TestNode(dir);
  fleet = fleetRepository(join(dir, 'fleet'));
  alice = sshSigner(dir, 'alice');
  const allowedSigners = join(dir, 'allowed_signers');
  writeFileSync(allowedSigners, `alice@example.org ${alice.publicKey}\n`);
  node.trust = { allowedSigners };
});

const outcomeOf = async (commit: string, bytes: Buffer) => {
  const result = await node.source.offerBundle(commit, bytes);
  assert.deepEqual(node.leftovers, [], 'nothing is left of it');
  return result.outcome === 'refused' ? result.code : result.outcome;
};
const cached = () => existsSync(join(node.dataDir, 'desired.git'));

describe('a bundle that the collector offers', { skip }, () => {
  test('brings the commit in force, and later ones only what is new', async () => {
    const first = fleet.commit(wanting('a'), alice);
    assert.equal(await outcomeOf(first, fleet.bundle('main')), 'adopted');
    assert.equal(await outcomeOf(first, fleet.bundle('main')), 'known');
    assert.equal(await node.source.have(), first);
    const second = fleet.commit(wanting('b'), alice);
    assert.equal(await outcomeOf(second, fleet.bundle('main', `^${first}`)), 'adopted');
    assert.deepEqual(node.wanted, ['b']);
    await node.restart();
    assert.deepEqual([node.wanted, await node.source.have()], [['b'], second]);
    assert.deepEqual(node.told, ['desired.adopted', 'desired.adopted']);
  });

  test('is not even looked at where nobody is trusted, which is told once', async () => {
    node.trust = {};
    assert.equal(node.source.takesOffers, false);
    const commit = fleet.commit(wanting('a'), alice);
    assert.equal(await outcomeOf(commit, fleet.bundle('main')), 'validation.config');
    const next = fleet.commit(wanting('b'), alice);
    assert.equal(await outcomeOf(next, fleet.bundle('main')), 'validation.config');
    assert.deepEqual([node.told, node.wanted, cached()], [['desired.rejected'], undefined, false]);
    assert.match(node.lastReason, /manifest\.allowedSigners/);
  });

  test('with a commit that nobody trusted has signed changes nothing', async () => {
    const good = fleet.commit(wanting('a'), alice);
    await outcomeOf(good, fleet.bundle('main'));
    const unsigned = fleet.commit(wanting('b'));
    assert.equal(await outcomeOf(unsigned, fleet.bundle('main')), 'auth.signature');
    assert.equal(await outcomeOf(unsigned, fleet.bundle('main', `^${good}`)), 'auth.signature');
    assert.deepEqual([node.wanted, await node.source.have()], [['a'], good]);
    assert.deepEqual(node.told, ['desired.adopted', 'desired.rejected'], 'told once');
  });

  test('with an older commit, or one that goes on from elsewhere, takes nothing back', async () => {
    const old = fleet.commit(wanting('a'), alice);
    const oldBundle = fleet.bundle('main');
    const now = fleet.commit(wanting('b'), alice);
    await outcomeOf(now, fleet.bundle('main'));
    assert.equal(await outcomeOf(old, oldBundle), 'state.conflict');
    assert.match(node.lastReason, new RegExp(`${old} is not a descendant of ${now}`));
    fleet.git(['reset', '-q', '--hard', old]);
    const rewritten = fleet.commit(wanting('c'), alice);
    assert.equal(await outcomeOf(rewritten, fleet.bundle('main')), 'state.conflict');
    const stranger = fleetRepository(join(dir, 'other'));
    const foreign = stranger.commit(wanting('d'), alice);
    assert.equal(await outcomeOf(foreign, stranger.bundle('main')), 'state.conflict');
    const other = fleetRepository(join(dir, 'other256'), 'sha256');
    const otherHash = other.commit(wanting('e'), alice);
    assert.equal(await outcomeOf(otherHash, other.bundle('main')), 'state.conflict');
    await node.restart();
    assert.deepEqual(node.wanted, ['b']);
  });

  test('that builds on what is not here is asked for whole, and no history is believed in that is not in it', async () => {
    const first = fleet.commit(wanting('a'), alice);
    const second = fleet.commit(wanting('b'), alice);
    assert.equal(await outcomeOf(second, fleet.bundle('main', `^${first}`)), 'incomplete');
    assert.deepEqual([node.told, node.wanted], [[], undefined]);
    assert.equal(await outcomeOf(second, fleet.bundle('main')), 'adopted');
  });

  test('that is cut off, altered, empty or no bundle is refused, and leaves nothing', async () => {
    const commit = fleet.commit(wanting('a'), alice);
    const bytes = fleet.bundle('main');
    const altered = Buffer.from(bytes);
    const at = bytes.length - 40;
    altered[at] = (altered[at] ?? 0) ^ 1;
    const header = bytes.subarray(0, bytes.indexOf('\n\n') + 2);
    const bad = [
      bytes.subarray(0, bytes.length - 30),
      altered,
      header,
      Buffer.alloc(0),
      Buffer.from('not a bundle'),
      Buffer.concat([Buffer.from('# v3 git bundle\n@filter=blob:none\n'), bytes.subarray(16)]),
      Buffer.concat([Buffer.from('# v9 git bundle\n'), bytes.subarray(16)]),
      Buffer.alloc(1024 * 1024, 'x'),
    ];
    for (const [i, piece] of bad.entries()) assert.equal(await outcomeOf(commit, piece), 'validation.manifest', `${i}`);
    const big = Buffer.alloc(limits.maxOfferedBundleBytes + 1);
    assert.equal(await outcomeOf(commit, big), 'validation.too_large');
    assert.deepEqual([node.wanted, cached()], [undefined, false]);
    assert.equal(await outcomeOf(commit, bytes), 'adopted');
  });

  test('that brings another commit than it is about, a tag, or a name that is none, is refused', async () => {
    const commit = fleet.commit(wanting('a'), alice);
    fleet.git(['tag', '-m', 'x', 'v1']);
    const tag = fleet.id('v1');
    assert.equal(await outcomeOf('0'.repeat(40), fleet.bundle('main')), 'validation.manifest');
    assert.equal(await outcomeOf(tag, fleet.bundle('v1')), 'validation.manifest');
    for (const name of ['main', '../../x', `${commit} `, '--upload-pack=x', '']) {
      assert.equal(await outcomeOf(name, fleet.bundle('main')), 'validation.manifest', name);
    }
    assert.equal(node.wanted, undefined);
    assert.deepEqual(
      new Set(node.journal.saidOf('desired.rejected').map(({ body }) => body.commit?.length ?? 0)),
      new Set([40, 0]),
    );
  });

  test('with an object that git finds fault with is refused as a whole', async () => {
    const blob = fleet.object('blob', wanting('a'));
    const tree = fleet.git(['mktree'], undefined, {});
    assert.notEqual(blob, tree);
    const author = 't <t@example.org> 1700000000 +0000';
    const broken = fleet.object(
      'commit',
      `tree ${tree}\nauthor ${author}\nauthor ${author}\ncommitter ${author}\n\nx\n`,
    );
    fleet.git(['update-ref', 'refs/heads/broken', broken]);
    assert.equal(await outcomeOf(broken, fleet.bundle('broken')), 'validation.manifest');
    assert.match(node.lastReason, /no sound bundle/);
  });

  test('whose objects claim to be far more than it holds is refused', async () => {
    const commit = fleet.commit(wanting('a'), alice);
    const bomb = packBomb(2 ** 31);
    const bytes = Buffer.concat([Buffer.from(`# v2 git bundle\n${commit} refs/heads/main\n\n`), bomb]);
    assert.equal(await outcomeOf(commit, bytes), 'validation.manifest');
    assert.equal(node.wanted, undefined);
  });

  test('cannot reach anything by what its references are called', async () => {
    const commit = fleet.commit(wanting('a'), alice);
    const bytes = fleet.bundle('main');
    const pack = bytes.subarray(bytes.indexOf('\n\n') + 2);
    for (const ref of [
      'refs/heads/../../x',
      'refs/heads/a:refs/heads/adopted',
      '--exec=x',
      '+refs/heads/*',
      'refs/x.lock',
    ]) {
      const named = Buffer.concat([Buffer.from(`# v2 git bundle\n${commit} ${ref}\n\n`), pack]);
      assert.equal(await outcomeOf(commit, named), 'validation.manifest', ref);
    }
    assert.equal(await outcomeOf(commit, bytes), 'adopted');
  });

  test('whole makes a lost or damaged cache anew', async () => {
    const first = fleet.commit(wanting('a'), alice);
    await outcomeOf(first, fleet.bundle('main'));
    rmSync(join(node.dataDir, 'desired.git/objects'), { recursive: true });
    await node.restart();
    assert.deepEqual([node.wanted, await node.source.have()], [['a'], undefined]);
    const second = fleet.commit(wanting('b'), alice);
    assert.equal(await outcomeOf(second, fleet.bundle('main', `^${first}`)), 'incomplete');
    assert.equal(await outcomeOf(second, fleet.bundle('main')), 'adopted');
    assert.equal(await node.source.have(), second);
  });

  test('that the journal does not take is not in force, and is once it does', async () => {
    const first = fleet.commit(wanting('a'), alice);
    node.journal.mood = 'write_failed';
    await assert.rejects(node.source.offerBundle(first, fleet.bundle('main')), { code: 'outbox.write_failed' });
    assert.equal(node.wanted, undefined);
    await node.restart();
    node.journal.mood = 'well';
    assert.equal(await outcomeOf(first, fleet.bundle('main')), 'adopted');
  });

  test('with a journal that was lost in between still has to go on from what was in force', async () => {
    const first = fleet.commit(wanting('a'), alice);
    const second = fleet.commit(wanting('b'), alice);
    await outcomeOf(second, fleet.bundle('main'));
    node.journal.loseState();
    await node.restart();
    fleet.git(['reset', '-q', '--hard', first]);
    const rewritten = fleet.commit(wanting('c'), alice);
    assert.equal(await outcomeOf(rewritten, fleet.bundle('main')), 'state.conflict');
    fleet.git(['reset', '-q', '--hard', second]);
    assert.equal(await outcomeOf(second, fleet.bundle('main')), 'adopted');
  });
});

describe('the local repository beside a collector', { skip }, () => {
  const refresh = async () => {
    await node.source.refresh();
    return node.wanted;
  };

  test('that lags behind takes nothing back and says nothing; one that goes back is refused', async () => {
    const ids = ['a', 'b', 'c', 'd'].map((name) => fleet.commit(wanting(name), alice));
    const [a = '', b = '', c = '', d = ''] = ids;
    const clone = fleetRepository(join(dir, 'clone'));
    const pull = (id: string) => {
      clone.git(['fetch', '-q', fleet.dir, 'main']);
      clone.git(['reset', '-q', '--hard', id]);
    };
    node.repository = clone.dir;
    pull(a);
    await refresh();
    assert.equal(await outcomeOf(d, fleet.bundle('main')), 'adopted');
    for (const id of [b, c]) {
      pull(id);
      assert.deepEqual(await refresh(), ['d']);
      await node.restart();
    }
    assert.deepEqual(node.told, ['desired.adopted', 'desired.adopted']);
    pull(b);
    assert.deepEqual(await refresh(), ['d']);
    assert.equal(await node.lastCode(), 'state.conflict');
  });

  test('of rewritten history stays out, until the operator lets that commit in', async () => {
    node.repository = fleet.dir;
    const old = fleet.commit(wanting('a'), alice);
    fleet.commit(wanting('b'), alice);
    await refresh();
    fleet.git(['reset', '-q', '--hard', old]);
    assert.deepEqual(await refresh(), ['b'], 'back to an older one');
    assert.equal(await node.lastCode(), 'state.conflict');
    fleet.commit(wanting('c'), alice);
    assert.deepEqual(await refresh(), ['b']);
    fleet.git(['revert', '--no-edit', 'HEAD'], alice);
    assert.deepEqual(await refresh(), ['b'], 'on a history that is not the one in force');
  });

  test('goes back by a new commit with the old content', async () => {
    node.repository = fleet.dir;
    fleet.commit(wanting('a'), alice);
    fleet.commit(wanting('b'), alice);
    await refresh();
    fleet.git(['revert', '--no-edit', 'HEAD'], alice);
    assert.deepEqual(await refresh(), ['a']);
  });

  test('is read by nothing but git itself: hooks, filters and pointers of its own do nothing', async () => {
    node.repository = fleet.dir;
    const proof = join(dir, 'ran');
    for (const name of [
      'core.fsmonitor',
      'core.sshCommand',
      'core.alternateRefsCommand',
      'uploadpack.packObjectsHook',
    ]) {
      fleet.git(['config', name, `touch ${proof}; false`]);
    }
    fleet.commit(wanting('a'), alice);
    rmSync(proof, { force: true });
    assert.deepEqual(await refresh(), ['a']);
    assert.equal(existsSync(proof), false);
  });

  test('that is away for a while is told, and a bundle counts meanwhile', async () => {
    node.repository = fleet.dir;
    fleet.commit(wanting('a'), alice);
    await refresh();
    const next = fleet.commit(wanting('b'), alice);
    const bytes = fleet.bundle('main');
    renameSync(fleet.dir, `${fleet.dir}-away`);
    await refresh();
    assert.equal(await outcomeOf(next, bytes), 'adopted');
    renameSync(`${fleet.dir}-away`, fleet.dir);
    assert.deepEqual(await refresh(), ['b']);
  });
});

/** A pack of one blob that says it has `size` bytes, and has not. */
function packBomb(size: number): Buffer {
  const sizeBytes: number[] = [];
  let rest = size;
  let octet = (3 << 4) | (rest % 16);
  rest = Math.floor(rest / 16);
  while (rest > 0) {
    sizeBytes.push(octet | 0x80);
    octet = rest % 128;
    rest = Math.floor(rest / 128);
  }
  sizeBytes.push(octet);
  const header = Buffer.from([0x50, 0x41, 0x43, 0x4b, 0, 0, 0, 2, 0, 0, 0, 1]);
  const body = Buffer.concat([header, Buffer.from(sizeBytes), deflateSync(Buffer.alloc(1024))]);
  return Buffer.concat([body, createHash('sha1').update(body).digest()]);
}
