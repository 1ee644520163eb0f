import assert from 'node:assert/strict';
import { mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, beforeEach, describe, test } from 'node:test';
import {
  type FleetRepository,
  fleetRepository,
  gpgSigner,
  missing,
  mustBeSigned,
  type SshSigner,
  sshSigner,
  TestNode,
  wanting,
} from '../desired-world.ts';
import { tempFolder } from '../watching.ts';

const temp = tempFolder();
const noSsh = missing('git', 'ssh-keygen');
const noGpg = missing('git', 'gpg');
let dir: string;
let node: TestNode;
let fleet: FleetRepository;

beforeEach(() => {
  dir = mkdtempSync(join(temp, 'case-'));
  node = new TestNode(dir);
  fleet = fleetRepository(join(dir, 'fleet'));
  node.repository = fleet.dir;
});

const refresh = async () => {
  await node.source.refresh();
  return node.wanted;
};
const refusedFor = async (code: string) => assert.equal(await node.lastCode(), code);

describe('a commit signed with an SSH key', { skip: noSsh }, () => {
  let alice: SshSigner;
  let mallory: SshSigner;
  const allow = (...lines: readonly string[]) => {
    const path = join(dir, 'allowed_signers');
    writeFileSync(path, lines.map((line) => `${line}\n`).join(''));
    node.trust = { ...node.trust, allowedSigners: path };
  };
  beforeEach(() => {
    alice = sshSigner(dir, 'alice');
    mallory = sshSigner(dir, 'mallory');
    allow(`alice@example.org namespaces="git" ${alice.publicKey}`);
  });

  test('counts when the key is allowed, and the signer is named', async () => {
    fleet.commit(wanting('a'), alice);
    assert.deepEqual(await refresh(), ['a']);
    assert.match(node.source.adopted?.signer ?? '', /^alice@example\.org \(SHA256:.{43}\)$/);
    await node.restart();
    assert.match(node.source.adopted?.signer ?? '', /^alice@example\.org /);
  });

  test('is needed whatever the manifest says: unsigned, or signed by a stranger, nothing comes into force', async () => {
    fleet.commit(wanting('a'), alice);
    await refresh();
    fleet.commit(wanting('b', 'audit: {require_signed_commits: false}\n'));
    assert.deepEqual(await refresh(), ['a']);
    assert.match(node.lastReason, /is not signed/);
    fleet.commit(wanting('c'), mallory);
    assert.deepEqual(await refresh(), ['a']);
    assert.match(node.lastReason, /no valid signature/);
    await refusedFor('auth.signature');
  });

  test('does not count when the key is revoked, has expired or is not meant for commits', async () => {
    const key = alice.publicKey;
    fleet.commit(wanting('a'), alice);
    for (const line of [
      `alice@example.org valid-before="20200101" ${key}`,
      `alice@example.org valid-after="20990101" ${key}`,
      `alice@example.org namespaces="file" ${key}`,
      `# ${key}`,
    ]) {
      allow(line);
      await node.restart();
      assert.deepEqual(await refresh(), undefined, line);
      await refusedFor('auth.signature');
    }
    allow(`alice@example.org ${key}`);
    const revokedSigners = join(dir, 'revoked');
    writeFileSync(revokedSigners, `${key}\n`);
    node.trust = { ...node.trust, revokedSigners };
    await node.restart();
    assert.deepEqual(await refresh(), undefined);
    await refusedFor('auth.signature');
    writeFileSync(revokedSigners, `${mallory.publicKey}\n`);
    assert.deepEqual(await refresh(), ['a'], 'the list has changed, so the commit is judged anew');
  });

  test('does not count when its date lies before the expiry of the key and today does not', async () => {
    allow(`alice@example.org valid-before="20200101" ${alice.publicKey}`);
    fleet.commit(wanting('a'), alice, { GIT_COMMITTER_DATE: '2019-06-01T12:00:00Z' });
    assert.equal(await refresh(), undefined);
    await refusedFor('auth.signature');
  });

  test('counts for this commit alone: the signature of another one, a tag, a note prove nothing', async () => {
    const good = fleet.commit(wanting('a'), alice);
    await refresh();
    fleet.commit(wanting('b'));
    fleet.git(['-c', 'tag.gpgsign=true', 'tag', '-m', 'release', 'v1'], alice);
    assert.deepEqual(await refresh(), ['a']);
    const unsigned = fleet.git(['cat-file', 'commit', 'HEAD']);
    const signature = /^gpgsig (?:.*\n)(?: .*\n)+/m.exec(fleet.git(['cat-file', 'commit', good]))?.[0] ?? '';
    const forged = fleet.object('commit', `${unsigned.replace('\n\n', `\n${signature}\n`)}\n`);
    fleet.git(['reset', '-q', '--hard', forged]);
    assert.deepEqual(await refresh(), ['a']);
    assert.match(node.lastReason, new RegExp(`${forged} has no valid signature`));
  });

  test('with something added to it is another commit: a second signature is refused', async () => {
    fleet.commit(wanting('a'), alice);
    const signed = fleet.git(['cat-file', 'commit', 'HEAD']);
    const added = fleet.object('commit', `${signed.replace('\n\n', '\ngpgsig-sha256 x\n\n')}\n`);
    fleet.git(['reset', '-q', '--hard', added]);
    assert.equal(await refresh(), undefined);
    await refusedFor('auth.signature');
  });

  test('counts as a merge when the merge itself is signed', async () => {
    fleet.commit(wanting('a'), alice);
    await refresh();
    fleet.git(['checkout', '-q', '-b', 'side', 'HEAD']);
    fleet.commit(wanting('evil'), mallory);
    fleet.git(['checkout', '-q', 'main']);
    fleet.git(['merge', '-q', '--no-ff', '-m', 'merge', 'side']);
    assert.deepEqual(await refresh(), ['a'], 'not signed');
    fleet.git(['reset', '-q', '--hard', 'HEAD^']);
    fleet.git(['merge', '-q', '--no-ff', '-m', 'merge', 'side'], mallory);
    assert.deepEqual(await refresh(), ['a'], 'signed by a stranger');
    fleet.git(['reset', '-q', '--hard', 'HEAD^']);
    fleet.git(['merge', '-q', '--no-ff', '-m', 'merge', 'side'], alice);
    assert.deepEqual(await refresh(), ['evil'], 'who signs a merge answers for what it holds');
  });

  test('is what it is: replaced objects and settings of the repository change nothing', async () => {
    const good = fleet.commit(wanting('a'), alice);
    await refresh();
    const bad = fleet.commit(wanting('b'));
    fleet.git(['replace', bad, good]);
    const everybody = join(dir, 'everybody');
    writeFileSync(everybody, `* ${mallory.publicKey}\n`);
    fleet.git(['config', 'gpg.ssh.allowedSignersFile', everybody]);
    assert.deepEqual(await refresh(), ['a']);
    fleet.git(['replace', '-d', bad]);
    fleet.commit(wanting('c'), mallory);
    fleet.git(['config', 'gpg.ssh.program', 'true']);
    assert.deepEqual(await refresh(), ['a']);
    await refusedFor('auth.signature');
  });

  test('is verified in a repository of SHA-256 too', async () => {
    const other = fleetRepository(join(dir, 'fleet256'), 'sha256');
    node.repository = other.dir;
    other.commit(wanting('a'), alice);
    assert.deepEqual(await refresh(), ['a']);
    other.commit(wanting('b'), mallory);
    assert.deepEqual(await refresh(), ['a']);
    other.commit(wanting('c'), alice);
    assert.deepEqual(await refresh(), ['c']);
  });

  test('cannot be verified while the list of signers is away, and is once it is back', async () => {
    fleet.commit(wanting('a'), alice);
    renameSync(join(dir, 'allowed_signers'), join(dir, 'away'));
    assert.equal(await refresh(), undefined);
    await refusedFor('validation.config');
    renameSync(join(dir, 'away'), join(dir, 'allowed_signers'));
    assert.deepEqual(await refresh(), ['a']);
  });

  test('a key that is allowed later lets the same commit in, without a restart', async () => {
    fleet.commit(wanting('a'), mallory);
    assert.equal(await refresh(), undefined);
    await refresh();
    assert.deepEqual(node.told, ['desired.rejected'], 'told once');
    allow(`mallory@example.org ${mallory.publicKey}`, `alice@example.org ${alice.publicKey}`);
    assert.deepEqual(await refresh(), ['a']);
  });
});

describe('a manifest that wants signed commits', { skip: noSsh }, () => {
  test('is refused where nobody is trusted, with the setting to make', async () => {
    fleet.commit(wanting('a', mustBeSigned));
    assert.equal(await refresh(), undefined);
    assert.match(node.lastReason, /set manifest\.allowedSigners/);
    await refusedFor('validation.config');
  });

  test('cannot be left by a commit that turns it off, also after the settings are gone', async () => {
    const alice = sshSigner(dir, 'alice');
    const allowedSigners = join(dir, 'allowed_signers');
    writeFileSync(allowedSigners, `alice ${alice.publicKey}\n`);
    node.trust = { allowedSigners };
    fleet.commit(wanting('a', mustBeSigned), alice);
    assert.deepEqual(await refresh(), ['a']);
    fleet.commit(wanting('b'));
    assert.deepEqual(await refresh(), ['a']);
    node.trust = {};
    await node.restart();
    assert.deepEqual(await refresh(), ['a']);
    assert.match(node.lastReason, /set manifest\.allowedSigners/);
    node.trust = { allowedSigners };
    await node.restart();
    fleet.commit(wanting('c'), alice);
    assert.deepEqual(await refresh(), ['c'], 'who may sign may turn it off');
    node.trust = {};
    await node.restart();
    fleet.commit(wanting('d'));
    assert.deepEqual(await refresh(), ['d']);
  });
});

describe('a commit signed with an OpenPGP key', { skip: noGpg }, () => {
  const signers: ReturnType<typeof gpgSigner>[] = [];
  after(() => {
    for (const signer of signers) signer.close();
  });
  const bob = (options: Parameters<typeof gpgSigner>[1] = {}) => {
    const signer = gpgSigner(mkdtempSync(join(temp, 'g-')), options);
    signers.push(signer);
    node.trust = { gpgHome: signer.home };
    return signer;
  };

  test('counts when the key is fully trusted, and is over when it is revoked', async () => {
    const { signer, revoke } = bob();
    fleet.commit(wanting('a'), signer);
    assert.deepEqual(await refresh(), ['a'], node.lastReason);
    assert.equal(node.source.adopted?.signer, `Bob <bob@example.org> (${signer.fingerprint})`);
    fleet.commit(wanting('b'));
    assert.deepEqual(await refresh(), ['a'], 'not signed');
    fleet.commit(wanting('c'), signer);
    revoke();
    assert.deepEqual(await refresh(), ['a']);
    assert.match(node.lastReason, /the key was revoked/);
    await refusedFor('auth.signature');
  });

  test('does not count when the key is there and nobody said to trust it, whatever settings lie beside it', async () => {
    const { signer, home } = bob({ trusted: false });
    fleet.commit(wanting('a'), signer);
    assert.equal(await refresh(), undefined);
    writeFileSync(join(home, 'gpg.conf'), 'trust-model always\n');
    await node.restart();
    assert.equal(await refresh(), undefined);
    assert.match(node.lastReason, /not fully trusted/);
  });

  test('does not count once the key has expired', async () => {
    const { signer } = bob({ expired: true });
    fleet.commit(wanting('a'), signer);
    assert.equal(await refresh(), undefined);
    assert.match(node.lastReason, /has expired/);
  });

  test('of somebody else, or where only SSH keys are trusted, is refused', async () => {
    const other = bob();
    const { signer } = other;
    bob();
    fleet.commit(wanting('a'), signer);
    assert.equal(await refresh(), undefined);
    assert.match(node.lastReason, /not in the key ring/);
    const allowedSigners = join(dir, 'allowed_signers');
    writeFileSync(allowedSigners, '');
    node.trust = { allowedSigners };
    await node.restart();
    assert.equal(await refresh(), undefined);
    assert.match(node.lastReason, /set manifest\.gpgHome/);
  });
});
