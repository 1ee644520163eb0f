import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, open, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { writeNewFile } from '../../../../collector/data/new-file.ts';
import { verifyExportFile } from '../../../../collector/ledger/export/file.ts';
import { type MirrorNeeds, mirrorBatch, mirroredPaths } from '../../../../collector/ledger/export/mirror.ts';
import { type MirrorBranch, openMirrorBranch } from '../../../../collector/ledger/export/mirror-git.ts';
import { parseVerifierKey } from '../../../../common/note.ts';
import { fleetPolicy, formatPolicy, type Policy, parsePolicy } from '../../../../common/policy.ts';
import { type ExportableLedger, exportableLedger } from '../../../exports.ts';

let root: string;
let repositories = 0;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-mirror-'));
});
after(() => rm(root, { recursive: true, force: true }));

function newRepository(): string {
  return join(root, `mirror-${++repositories}`);
}

function git(repository: string, ...args: readonly string[]): string {
  const who = ['-c', 'user.name=somebody', '-c', 'user.email=somebody@example.org', '-c', 'commit.gpgSign=false'];
  return execFileSync('git', [...who, '-C', repository, ...args], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
}

interface MirrorOptions {
  readonly maxBatchEntries?: number;
  readonly confront?: (note: string) => Promise<void>;
  readonly checkpointBeyond?: MirrorNeeds['checkpointBeyond'];
  readonly policy?: MirrorNeeds['policy'];
}

function mirror(fleet: ExportableLedger, branch: MirrorBranch, options: MirrorOptions = {}) {
  return mirrorBatch({
    branch,
    source: fleet.source,
    prover: fleet.ledger,
    checkpointBeyond: () => fleet.checkpoint(),
    confront: (note) => fleet.ledger.confront(note),
    policy: async () => fleet.policy,
    writeFile: writeNewFile,
    ...options,
  });
}

/** Mirrors until there is nothing new. */
async function mirrorAll(fleet: ExportableLedger, branch: MirrorBranch, options: MirrorOptions = {}): Promise<void> {
  while ((await mirror(fleet, branch, options)) !== undefined) {}
}

/** Every file of the branch verifies alone, and together they hold each entry exactly once. */
async function assertMirrored(repository: string, size: number): Promise<void> {
  const policy = parsePolicy(git(repository, 'show', 'main:policy.txt'));
  for (const name of assertGapless(repository, size)) {
    const { faults, first, end } = await verified(repository, `main:${name}`, policy);
    assert.equal(faults, 0, `${name}: ${first?.message}`);
    assert.deepEqual([end?.from, end === undefined ? 0 : end.to - 1], spanOf(name));
  }
}

async function verified(repository: string, object: string, policy: Policy) {
  const path = join(root, 'mirrored.jsonl');
  await writeFile(path, git(repository, 'show', object));
  const file = await open(path, 'r');
  const verdict = await verifyExportFile(file, { policy, requireSignatures: true });
  await file.close();
  return verdict;
}

function assertGapless(repository: string, size: number): readonly string[] {
  const names = git(repository, 'ls-tree', '-r', '--name-only', 'main', 'ledger/').trim().split('\n');
  let next = 0;
  for (const name of names) {
    const [from = -1, last = -1] = spanOf(name);
    assert.equal(from, next, name);
    next = last + 1;
  }
  assert.equal(next, size);
  return names;
}

function spanOf(name: string): number[] {
  return (/([0-9]{12})-([0-9]{12})\.jsonl$/.exec(name) ?? []).slice(1).map(Number);
}

test('every entry is committed once, in files that verify by themselves, with counts in the message', async () => {
  const fleet = await exportableLedger(20);
  const repository = newRepository();
  const branch = await openMirrorBranch({ repository, branch: 'main' });
  await mirrorAll(fleet, branch);
  await fleet.ledger.append(fleet.nodes[0]?.more(5) ?? []);
  await mirrorAll(fleet, branch, { maxBatchEntries: 3 });
  await assertMirrored(repository, 25);
  const messages = git(repository, 'log', '--reverse', '--format=%s').trim().split('\n');
  assert.deepEqual(messages, ['ledger: 20 entries 0-19', 'ledger: 3 entries 20-22', 'ledger: 2 entries 23-24']);
  const body = git(repository, 'log', '-1', '--format=%an%n%b', 'main~2');
  assert.match(
    body,
    /^sigilwatch-collector\nkinds: 16 sigil\.cleared, 3 node\.enrolled, 1 ledger\.created\nauthors: .*\ntree size: 20\nroot: /,
  );
  assert.equal(await mirror(fleet, branch), undefined);
});

test('a file from before there were witnesses verifies with the policy of its own commit, not with a later one', async () => {
  const fleet = await exportableLedger(20);
  const repository = newRepository();
  const branch = await openMirrorBranch({ repository, branch: 'main' });
  const log = { key: parseVerifierKey(fleet.ledger.vkey) };
  const nobody = formatPolicy(fleetPolicy({ log, witnesses: [], threshold: 0 }));
  await mirrorAll(fleet, branch, { checkpointBeyond: () => fleet.checkpoint(0), policy: async () => nobody });
  await fleet.ledger.append(fleet.nodes[0]?.more(5) ?? []);
  await mirrorAll(fleet, branch);
  const names = assertGapless(repository, 25);
  const commits = names.map((name) => git(repository, 'log', '--diff-filter=A', '--format=%H', '--', name).trim());
  const policies = ['main', ...commits].map((at) => parsePolicy(git(repository, 'show', `${at}:policy.txt`)));
  const [latest, ...own] = policies;
  assert.ok(latest && own.length === 2);
  for (const [at, policy] of own.entries()) {
    assert.equal((await verified(repository, `main:${names[at]}`, policy)).faults, 0, names[at]);
  }
  assert.notEqual((await verified(repository, `main:${names[0]}`, latest)).faults, 0);
  assert.equal((await verified(repository, `main:${names[1]}`, latest)).faults, 0);
});

test('what a crash at any step leaves behind is neither repeated nor lost', async () => {
  const fleet = await exportableLedger(12);
  const repository = newRepository();
  const real = await openMirrorBranch({ repository, branch: 'main' });
  await mirrorAll(fleet, real, { maxBatchEntries: 6 });
  for (let step = 0, crashed = true; crashed; step++) {
    await fleet.ledger.append(fleet.nodes[1]?.more(2) ?? []);
    crashed = false;
    const dying = crashingAfter(real, step, () => {
      crashed = true;
    });
    await mirror(fleet, dying).catch((thrown: unknown) => assert.match(String(thrown), /power cut/));
    // A process that comes back knows nothing but the repository.
    await mirrorAll(fleet, await openMirrorBranch({ repository, branch: 'main' }));
    assertGapless(repository, fleet.store.entries.length);
  }
  await assertMirrored(repository, fleet.store.entries.length);
  assert.equal(git(repository, 'fsck', '--no-dangling').trim(), '');
});

/** The branch, on which the `step`-th call that writes is the last thing that happens; nobody hears how it went. */
function crashingAfter(branch: MirrorBranch, step: number, onCrash: () => void): MirrorBranch {
  let calls = 0;
  const dying =
    <A extends readonly unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const last = calls++ === step;
      const result = await call(...args);
      if (!last) return result;
      onCrash();
      throw new Error('power cut');
    };
  return {
    ...branch,
    storeFile: dying(branch.storeFile),
    storeText: dying(branch.storeText),
    storeTree: dying(branch.storeTree),
    commit: dying(branch.commit),
    advance: dying(branch.advance),
  };
}

test("other people's files, staged changes and edits in the repository stay as they are", async () => {
  const fleet = await exportableLedger(8);
  const repository = newRepository();
  await mkdir(repository);
  git(repository, 'init', '--quiet', '-b', 'main');
  await writeFile(join(repository, 'README'), 'committed\n');
  await mkdir(join(repository, 'docs'));
  await writeFile(join(repository, 'docs', 'naïve name'), 'kept\n');
  git(repository, 'add', '.');
  git(repository, 'commit', '--quiet', '-m', 'by hand');
  await writeFile(join(repository, 'README'), 'edited\n');
  await writeFile(join(repository, 'staged'), 'staged\n');
  git(repository, 'add', 'staged');
  const branch = await openMirrorBranch({ repository, branch: 'main' });
  // Nothing is mirrored yet, so there is nothing to bring up to date.
  await branch.checkOut(mirroredPaths);
  const batch = await mirror(fleet, branch);
  await branch.checkOut(batch?.files ?? []);
  await branch.checkOut(mirroredPaths);
  assert.equal(git(repository, 'status', '--porcelain'), ' M README\nA  staged\n');
  assert.equal(await readFile(join(repository, 'policy.txt'), 'utf8'), fleet.policy);
  assert.equal(git(repository, 'show', 'main:README'), 'committed\n');
  assert.equal(git(repository, 'show', 'main:docs/naïve name'), 'kept\n');
  assert.equal(git(repository, 'log', '--format=%s'), 'ledger: 8 entries 0-7\nby hand\n');
  // And what people commit on top does not disturb the mirror.
  git(repository, 'commit', '--quiet', '-am', 'by hand again');
  await fleet.ledger.append(fleet.nodes[0]?.more(3) ?? []);
  await mirrorAll(fleet, branch);
  await assertMirrored(repository, 11);
});

test('a repository that holds another history, or the ledger of somebody else, is left alone', async () => {
  const fleet = await exportableLedger(12);
  const repository = newRepository();
  const branch = await openMirrorBranch({ repository, branch: 'main' });
  await mirrorAll(fleet, branch);
  const before = await branch.head();
  const shorter = await exportableLedger(10);
  await assert.rejects(mirror(shorter, branch), { code: 'ledger.tampered' });
  const forked = await exportableLedger(10);
  await forked.ledger.append(forked.nodes[2]?.more(9) ?? []);
  await assert.rejects(mirror(forked, branch), { code: 'ledger.tampered' });
  assert.equal(await branch.head(), before);
  // Entries that no checkpoint of the repository covers.
  const stray = join(repository, 'ledger/999/000/000');
  await branch.checkOut(mirroredPaths);
  await mkdir(stray, { recursive: true });
  await writeFile(join(stray, '999000000000-999000000009.jsonl'), '');
  git(repository, 'add', 'ledger');
  git(repository, 'commit', '--quiet', '-m', 'stray');
  await assert.rejects(mirror(fleet, branch), { code: 'state.conflict' });
});

test('two collectors on one repository repeat nothing', async () => {
  const fleet = await exportableLedger(10);
  const repository = newRepository();
  await openMirrorBranch({ repository, branch: 'main' });
  const branches = await Promise.all([0, 1].map(() => openMirrorBranch({ repository, branch: 'main' })));
  for (let round = 0; round < 6; round++) {
    await fleet.ledger.append(fleet.nodes[round % 3]?.more(4) ?? []);
    // As from two processes, which do not share names of files.
    const apart = branches.map((branch, at) => ({ ...branch, scratch: join(root, `scratch-${at}`) }));
    await Promise.all(apart.map(({ scratch }) => mkdir(scratch, { recursive: true })));
    const results = await Promise.allSettled(apart.map((branch) => mirror(fleet, branch)));
    for (const result of results) {
      if (result.status === 'rejected') assert.equal(result.reason.code, 'state.conflict', String(result.reason));
    }
  }
  await mirrorAll(fleet, branches[0] ?? assert.fail());
  await assertMirrored(repository, fleet.store.entries.length);
});

test('a lock left by a process that is gone does not stop the mirror for good', async () => {
  const fleet = await exportableLedger(6);
  const repository = newRepository();
  const branch = await openMirrorBranch({ repository, branch: 'main' });
  await mirrorAll(fleet, branch);
  await fleet.ledger.append(fleet.nodes[0]?.more(1) ?? []);
  const lock = join(repository, '.git/refs/heads/main.lock');
  await writeFile(lock, '');
  await assert.rejects(mirror(fleet, branch), { code: 'state.conflict', retryable: true });
  await utimes(lock, 0, 0);
  await mirrorAll(fleet, branch);
  await assertMirrored(repository, 7);
});

test('a bare repository is mirrored to as well, and pushed from', async () => {
  const fleet = await exportableLedger(6);
  const [remote, repository] = [newRepository(), newRepository()];
  for (const path of [remote, repository]) {
    await mkdir(path);
    git(path, 'init', '--quiet', '--bare', '-b', 'main');
  }
  const branch = await openMirrorBranch({ repository, branch: 'main' });
  await mirrorAll(fleet, branch);
  await branch.checkOut(mirroredPaths);
  await branch.push(remote);
  await assertMirrored(remote, 6);
  await assert.rejects(branch.push(join(root, 'nowhere')), { code: 'validation.config' });
});
