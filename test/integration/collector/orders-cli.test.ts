import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { KeyPair } from '../../../common/keys.ts';
import { manifestFile } from '../../../common/manifest/manifest.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { approvalText } from '../../../common/order.ts';
import { collectorCli } from '../../collector-cli.ts';
import { orderingManifest } from '../../orders.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { type SshSigners, sshSigners, withoutSshKeygen } from '../../ssh-keys.ts';
import { driftOpened, enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

const skip = withoutSshKeygen();
let postgres: TestPostgres;
let under: TestCollector;
let folder: string;
let signers: SshSigners;
let lyra: KeyPair;
let env: Record<string, string>;
/** Of the manifest. */
let commit: string;

before(async () => {
  postgres = await startPostgres();
  const url = await postgres.emptyDatabase();
  folder = await mkdtemp(join(tmpdir(), 'sigilwatch-orders-'));
  await commitManifest(orderingManifest);
  under = await startTestCollector(url, { SIGILWATCH_MANIFEST_REPOSITORY: folder });
  env = { DATABASE_URL: url, SIGILWATCH_DATA_DIR: under.settings.dataDir, SIGILWATCH_MANIFEST_REPOSITORY: folder };
  lyra = await enrolDirectly(under.ledger, 'lyra');
  const at = '2026-01-01T00:00:00Z';
  const rogue: ObservedContainer = {
    ...{ id: 'a'.repeat(64), name: 'rogue', image: 'x:1', imageId: 'sha256:x' },
    ...{ state: 'running', health: 'none', exitCode: 0, restartCount: 0 },
    ...{ createdAt: at, startedAt: at, finishedAt: null },
  };
  await say(under.ledger, 'lyra', lyra, [
    { kind: 'observed', body: { baseline: true, upserted: [rogue], removed: [] } },
    driftOpened('rogue\u001b[2J\nopened', 'UNAUTHORIZED_CONTAINER'),
  ]);
  if (skip === false) signers = await sshSigners({ alice: 'alice', bob: 'bob' });
});
after(async () => {
  await signers?.remove();
  await under.stop();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

async function commitManifest(text: string): Promise<void> {
  const git = (...args: string[]) => execFileSync('git', ['-C', folder, ...args], { encoding: 'utf8', stdio: 'pipe' });
  await writeFile(join(folder, manifestFile), text);
  git('init', '-q');
  git('add', '.');
  git('-c', 'user.name=t', '-c', 'user.email=t@localhost', '-c', 'commit.gpgsign=false', 'commit', '-qm', 'manifest');
  commit = git('rev-parse', 'HEAD').trim();
}

const cli = (...argv: string[]) => collectorCli(argv, env);

async function json(...argv: string[]) {
  const { code, stdout, stderr } = await cli(...argv, '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

const wish = [
  'orders',
  'issue',
  '--node',
  'lyra',
  '--action',
  'terminate',
  '--container',
  'rogue',
  '--reason',
  'it mines',
];
const trusting = () => ['--allowed-signers', signers.allowedSigners];

test('drifts are listed and shown with both sides of each field, on lines that do nothing but stand there', async () => {
  const { items } = await json('drifts', 'list', '--node', 'lyra', '--kind', 'UNAUTHORIZED_CONTAINER');
  assert.equal(items.length, 1);
  assert.equal((await json('drifts', 'show', String(items[0].opened_index))).orders.length, 0);
  for (const words of [['list'], ['show', String(items[0].opened_index)]]) {
    const { code, stdout } = await cli('drifts', ...words);
    assert.equal(code, 0);
    assert.ok(!stdout.includes('\u001b'));
    assert.doesNotMatch(stdout, /^opened/m);
  }
  assert.deepEqual((await json('drifts', 'list', '--state', 'resolved')).items, []);
  assert.equal((await cli('drifts', 'list', '--state', 'gone')).code, 2);
  assert.equal((await cli('drifts', 'list', '--limit', '0')).code, 2);
  assert.equal((await cli('drifts', 'show', '999999')).code, 2);
});

describe('an order that is given by hand', { skip }, () => {
  test('is planned without a trace, and wants the name of the container', async () => {
    const { size } = await under.ledger.checkpoint();
    assert.equal((await json(...wish, '--dry-run')).commit, commit);
    assert.equal((await cli(...wish)).code, 2);
    assert.equal((await cli(...wish, '--confirm', 'web')).code, 2);
    assert.equal((await cli(...wish, '--confirm', 'rogue', '--key', signers.keyFile('alice'))).code, 2);
    assert.equal((await under.ledger.checkpoint()).size, size);
  });

  test('is signed at once by one, elsewhere by another, and told with its whole story', async () => {
    const keys = ['--key', signers.keyFile('alice'), '--as', 'alice', ...trusting()];
    const issued = await json(...wish, '--confirm', 'rogue', ...keys);
    assert.equal(issued.approvals.length, 1);
    const name = issued.hash.slice(0, 8);
    assert.equal((await cli('orders', 'approval-text', name)).stdout, approvalText(issued.hash));
    const file = join(folder, 'signature');
    await writeFile(file, signers.sign('bob', approvalText(issued.hash)));
    assert.equal((await cli('orders', 'approve', name, '--as', 'alice', '--signature', file, ...trusting())).code, 4);
    const approved = await json('orders', 'approve', name, '--as', 'bob', '--signature', file, ...trusting());
    assert.deepEqual(approved.held_up_by, []);
    const body = {
      order: issued.hash,
      outcome: 'failed',
      code: null,
      reason: 'no\nluck',
      evidence: null,
      containerId: null,
    } as const;
    await say(under.ledger, 'lyra', lyra, [{ kind: 'order.result', body }]);
    const story = await json('orders', 'show', name);
    assert.equal(story.status, 'failed');
    assert.deepEqual(
      story.events.map(({ kind }: { kind: string }) => kind),
      ['order.approved', 'order.approved', 'order.result'],
    );
    const { stdout } = await cli('orders', 'show', name);
    assert.match(stdout, /approved by bob/);
    assert.doesNotMatch(stdout, /^luck/m);
  });

  test('is approved by nobody whose signature does not hold, nor without a file of signers', async () => {
    const { hash } = await json(...wish, '--confirm', 'rogue');
    const as = (approver: string, owner: string) => [
      'orders',
      'approve',
      hash,
      '--as',
      approver,
      '--key',
      signers.keyFile(owner),
    ];
    assert.equal((await cli(...as('alice', 'bob'), ...trusting())).code, 3);
    assert.equal((await cli(...as('alice', 'alice'))).code, 4);
    assert.equal((await cli(...as('alice', 'nobody'), ...trusting())).code, 3);
    assert.equal((await cli('orders', 'approve', hash, '--as', 'alice', ...trusting())).code, 2);
    const set = { ...env, SIGILWATCH_MANIFEST_ALLOWED_SIGNERS: signers.allowedSigners };
    assert.equal((await collectorCli(as('alice', 'bob'), set)).code, 3, 'the file of the settings is as good');
    const rejected = await json('orders', 'reject', hash, '--reason', 'a mistake');
    assert.equal(rejected.status, 'rejected');
    assert.equal((await cli(...as('alice', 'alice'), ...trusting())).code, 4);
    const listed = await json('orders', 'list', '--status', 'rejected', '--node', 'lyra');
    assert.deepEqual(
      listed.items.map((one: { hash: string }) => one.hash),
      [hash],
    );
  });
});

describe('the manifest in force', () => {
  test('is the one that the collector has adopted, whatever has become of the repository', async () => {
    const adopted = commit;
    await commitManifest('containers: [{name: broken');
    assert.notEqual(commit, adopted);
    commit = adopted;
    assert.equal((await json('enforcement', 'show')).commit, adopted);
    env.SIGILWATCH_MANIFEST_REPOSITORY = join(folder, 'nowhere');
    assert.equal((await json('enforcement', 'show')).commit, adopted);
    env.SIGILWATCH_MANIFEST_REPOSITORY = folder;
  });

  test('that cannot be read permits nothing, and that is said', async () => {
    const path = join(under.settings.dataDir, 'desired.json');
    const kept = await readFile(path, 'utf8');
    const broken = { [manifestFile]: 'x: 1' };
    await writeFile(path, JSON.stringify({ adopted: { commit, files: broken, adoptedAtMs: 1 }, rejected: null }));
    const { code, stderr } = await cli(...wish, '--confirm', 'rogue');
    assert.equal(code, 4);
    assert.match(stderr, /^warning: the manifest in force cannot be read/);
    await writeFile(path, kept);
  });

  test('is none for a collector that follows no repository', async () => {
    const { SIGILWATCH_MANIFEST_REPOSITORY: _, ...others } = env;
    assert.equal((await collectorCli([...wish, '--confirm', 'rogue'], others)).code, 4);
  });
});

test('silences and freezes are told, ended and released', async () => {
  assert.equal((await cli('silence', 'add', '--for', '2h', '--reason', 'x')).code, 2);
  assert.equal((await cli('silence', 'add', '--container', 'web', '--for', 'soon', '--reason', 'x')).code, 2);
  const long = await cli('silence', 'add', '--container', 'w'.repeat(5_000), '--for', '2h', '--reason', 'x');
  assert.deepEqual([long.code, /^validation\.body: .*at container/.test(long.stderr)], [2, true]);
  const { id } = await json('silence', 'add', '--container', 'web', '--for', '2h', '--reason', 'an upgrade');
  const freeze = { commit: 'e'.repeat(40), drift: 'IMAGE_DRIFT' as const, nodes: ['lyra'], reason: 'all at once' };
  await under.ledger.record({ kind: 'enforcement.frozen', body: freeze });
  const shown = await json('enforcement', 'show');
  assert.deepEqual([shown.mode, shown.commit, shown.frozen.length, shown.silences.length], ['active', commit, 1, 1]);
  assert.match((await cli('enforcement', 'show')).stdout, /FROZEN since .*all at once/);
  assert.equal((await cli('enforcement', 'release', 'e'.repeat(40), '--reason', 'was meant')).code, 0);
  assert.equal((await cli('enforcement', 'release', 'e'.repeat(40), '--reason', 'was meant')).code, 4);
  assert.equal((await cli('silence', 'list')).code, 0);
  assert.equal((await json('silence', 'end', id.slice(0, 8))).ended, true);
  assert.deepEqual((await json('silence', 'list')).items, []);
});

test('what was ordered and said is rebuilt from the entries, to the row', async () => {
  const { code, stdout } = await cli('ledger', 'replay', '--check');
  assert.equal(code, 0, stdout);
});
