import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { systemClock } from '../../../collector/clock.ts';
import { collectorKeyPath, readCollectorKey } from '../../../collector/data/keys.ts';
import { writeNewFile } from '../../../collector/data/new-file.ts';
import { openDatabase } from '../../../collector/database.ts';
import { mirrorBatch } from '../../../collector/ledger/export/mirror.ts';
import { openMirrorBranch } from '../../../collector/ledger/export/mirror-git.ts';
import { postgresExportSource } from '../../../collector/postgres/export-store.ts';
import { createErasing } from '../../../collector/wiring/erasing.ts';
import { createRetention } from '../../../collector/wiring/retention.ts';
import { genesis, headAfter, type SignedEntry, sealEntry } from '../../../common/entry.ts';
import { noQuorum } from '../../../common/policy.ts';
import { createTeardown } from '../../../common/teardown.ts';
import { cleared } from '../../authors.ts';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { enrolDirectly, settingsFor, startTestCollector, type TestCollector } from './collectors.ts';
import { bodiesBefore, layPartitions } from './erasable.ts';

/** Ends of the partitions; two full entry bundles are before the first one. */
const ends = [600, 700, 800];

let postgres: TestPostgres;
let root: string;
let under: TestCollector;
let database: { url: string; ownerUrl: string };
let env: Record<string, string>;
/** What lyra said, in the ledger from index `first` on. */
const told: SignedEntry[] = [];
let first: number;

before(async () => {
  postgres = await startPostgres();
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-erased-'));
  database = await postgres.writerDatabase();
  await layPartitions(database.ownerUrl, ends);
  under = await startTestCollector(database.url, { DATABASE_OWNER_URL: database.ownerUrl });
  const { dataDir } = under.settings;
  env = { SIGILWATCH_DATA_DIR: dataDir, DATABASE_URL: database.url, DATABASE_OWNER_URL: database.ownerUrl };
  const { privateKey } = await enrolDirectly(under.ledger, 'lyra');
  let head = genesis;
  for (let i = 0; i < 1_100; i++) {
    const entry = sealEntry(cleared(`c${i}`), { author: 'lyra', head, now: Date.now(), privateKey });
    head = headAfter(entry);
    told.push(entry);
  }
  const places = await under.ledger.append(told.slice(0, 1_000));
  await under.ledger.append(told.slice(1_000));
  first = places[0]?.index ?? assert.fail('nothing was appended');
});
after(async () => {
  await under?.stop();
  await postgres.stop();
  await rm(root, { recursive: true, force: true });
});

function cli(args: readonly string[], more: Record<string, string> = {}) {
  return collectorCli(args, { ...env, ...more });
}

async function cliJson(args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await cli(['--json', ...args]);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

async function getRaw(path: string): Promise<{ status: number; body: Buffer }> {
  const headers = { Authorization: `Bearer ${under.token}` };
  const answer = await fetch(`${under.collector.url}${path}`, { headers });
  return { status: answer.status, body: Buffer.from(await answer.arrayBuffer()) };
}

describe('ledger erase', () => {
  test('says what is wrong with what was asked for', async () => {
    for (const [args, message] of [
      [[], /say what is to go/],
      [['--before', 'yesterday'], /is not a time/],
      [['--older-than', '1y'], /is not an age/],
      [['--to', '-1'], /is not an index/],
    ] as const) {
      const { code, stderr } = await cli(['ledger', 'erase', ...args, '--yes']);
      assert.equal(code, 2);
      assert.match(stderr, message);
    }
  });

  test('shows what would go, and does nothing before it is told to', async () => {
    const plan = await cliJson(['ledger', 'erase', '--to', '790', '--dry-run']);
    const { from, to, entries, partitions, dry_run, erased } = plan;
    assert.deepEqual(
      { from, to, entries, partitions, dry_run, erased },
      { from: 0, to: 700, entries: 700, partitions: 2, dry_run: true, erased: false },
    );
    assert.ok(Number(plan.bytes) > 0);
    const asked = await cli(['ledger', 'erase', '--to', '790']);
    assert.equal(asked.code, 2);
    assert.match(asked.stderr, /nothing was erased: say --yes/);
    assert.match((await cli(['ledger', 'erase', '--older-than', '1d', '--yes'])).stdout, /nothing to erase/);
    assert.equal((await bodiesBefore(under.db, 700)).length, 700);
  });

  test("says that it needs the owner of the tables when it has only the collector's user", async () => {
    const { code, stderr } = await cli(['ledger', 'erase', '--to', '790', '--yes'], {
      DATABASE_OWNER_URL: database.url,
    });
    assert.equal(code, 2);
    assert.match(stderr, /database\.ownerUrl/);
  });

  test('leaves a file alone that has the name of the export and is another one', async () => {
    const folder = await mkdtemp(join(root, 'taken-'));
    await writeFile(join(folder, 'entries-000000000000-000000000599.jsonl'), '{}\n');
    const { code, stderr } = await cli(['ledger', 'erase', '--to', '650', '--export', folder, '--yes']);
    assert.equal(code, 4);
    assert.match(stderr, /move it away\. Nothing was erased/);
    assert.equal((await bodiesBefore(under.db, 600)).length, 600);
  });

  test('exports, says so in the ledger, and drops, beside a running collector', async () => {
    const done = await cliJson(['ledger', 'erase', '--to', '650', '--export', join(root, 'exports'), '--yes']);
    const file = 'entries-000000000000-000000000599.jsonl';
    const text = await readFile(join(root, 'exports', file));
    const sha256 = createHash('sha256').update(text).digest('hex');
    assert.deepEqual(done.exported, { file, sha256, entries: 600 });
    const said = await under.get(`/api/v1/entries?kind=ledger.erased&limit=1`);
    const [entry] = said.json.items as { index: number; entry: { body: Record<string, unknown> } }[];
    assert.equal(entry?.index, done.index);
    assert.deepEqual([entry?.entry.body.to, entry?.entry.body.exported], [600, done.exported]);
    const bodies = await bodiesBefore(under.db, 600);
    assert.ok(bodies.includes(0) && bodies.length < 5);
    assert.equal((await cli(['ledger', 'verify'])).code, 0);
    assert.equal((await cli(['ledger', 'replay', '--check'])).code, 0);
  });
});

describe('once bodies are erased', () => {
  test('bundles with them are gone for good, hash tiles and later bundles are served', async () => {
    for (const path of ['000', '001', '002', '000.p/20']) {
      const { status, body } = await getRaw(`/log/tile/entries/${path}`);
      assert.equal(status, 410, path);
      assert.equal(JSON.parse(body.toString()).error_code, 'resource.gone');
    }
    for (const path of ['entries/003', '0/000', '0/001', '0/002', '1/000.p/4']) {
      assert.equal((await getRaw(`/log/tile/${path}`)).status, 200, path);
    }
  });

  test('the API lists the entries without what they said, and tells the fleet from the boundary on', async () => {
    const { status, json } = await under.get('/api/v1/entries?author=lyra&limit=1000');
    assert.equal(status, 200);
    const items = json.items as { index: number; entry: unknown; signature: unknown; leaf_hash: string }[];
    for (const { index, entry, signature, leaf_hash } of items) {
      assert.deepEqual([entry === null, signature === null], [index < 600, index < 600]);
      assert.equal(Buffer.from(leaf_hash, 'base64').length, 32);
    }
    assert.equal((await under.get('/api/v1/fleet?size=599')).status, 410);
    assert.equal((await under.get('/api/v1/fleet?size=600')).status, 200);
    assert.equal((await under.get('/api/v1/fleet')).status, 200);
  });

  test('a proof is still made, and says that it has no entry', async () => {
    const file = join(root, 'erased.tlog-proof');
    const { code, stderr, stdout } = await cli(['--json', 'ledger', 'proof', '300', '-o', file]);
    assert.equal(code, 0);
    assert.match(stderr, /was erased/);
    assert.equal(JSON.parse(stdout).has_entry, false);
    assert.doesNotMatch(await readFile(file, 'utf8'), /^extra /m);
    const whole = join(root, 'kept.tlog-proof');
    assert.equal((await cliJson(['ledger', 'proof', '650', '-o', whole])).has_entry, true);
  });

  test('exports of before and after both verify; only that of before has the entries', async () => {
    const policy = join(root, 'policy.txt');
    await writeFile(policy, `log ${under.ledger.vkey}\nquorum ${noQuorum}\n`);
    const late = join(root, 'late.jsonl');
    assert.equal((await cli(['ledger', 'export', '-o', late])).code, 0);
    const before = join(root, 'exports', 'entries-000000000000-000000000599.jsonl');
    for (const [file, withBodies] of [
      [before, true],
      [late, false],
    ] as const) {
      const { code, stdout } = await cli(['--json', 'verify', file, '--policy', policy]);
      assert.equal(code, 0, stdout);
      assert.equal(JSON.parse(stdout).entries.without_body === 0, withBodies);
    }
  });

  test('a lost database is put back from the exports of before, and not from those without the entries', async () => {
    const lost = { DATABASE_URL: await postgres.migratedDatabase(), DATABASE_OWNER_URL: '' };
    const late = join(root, 'late.jsonl');
    const refused = await cli(['ledger', 'recover', late], lost);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /exported without its body.*find an older export/);
    const { code, stderr } = await cli(['ledger', 'recover', join(root, 'exports'), late], lost);
    assert.equal(code, 0, stderr);
    assert.equal((await cli(['ledger', 'verify'], lost)).code, 0);
    assert.equal((await cli(['ledger', 'replay', '--check'], lost)).code, 0);
    const { stdout } = await cli(['ledger', 'erase', '--to', '600', '--yes'], lost);
    assert.match(stdout, /nothing to erase/, 'its bodies lie in other partitions now');
  });

  test('what an agent sends once more keeps its place, and another entry in its place is evidence', async () => {
    const again = await under.ledger.append(told.slice(10, 20));
    assert.deepEqual(
      again.map(({ index }) => index),
      Array.from({ length: 10 }, (_, i) => first + 10 + i),
    );
    const { privateKey } = await forgerOf();
    const head = headAfter(told[9] ?? assert.fail());
    const other = sealEntry(cleared('other'), { author: 'lyra', head, now: Date.now(), privateKey });
    await assert.rejects(under.ledger.append([other]), { code: 'ledger.equivocation' });
  });

  test('a chain head can be proved to agents while its body is there', async () => {
    const [gone, there] = [told[10], told.at(-1)];
    assert.ok(gone && there);
    assert.equal(await under.ledger.entryOf('lyra', gone.entry.seq), undefined);
    assert.equal(await under.ledger.entryOf('lyra', there.entry.seq + 1_000), undefined);
    const found = await under.ledger.entryOf('lyra', there.entry.seq);
    assert.deepEqual([found?.bytes, found?.signature], [there.bytes, there.signature]);
  });

  test('the git mirror goes on, with hashes for what is gone', async () => {
    const repository = join(root, 'mirror');
    const batch = await mirrorBatch({
      branch: await openMirrorBranch({ repository, branch: 'main' }),
      source: postgresExportSource(under.db),
      prover: under.ledger,
      checkpointBeyond: () => under.ledger.checkpoint(),
      confront: (note) => under.ledger.confront(note),
      policy: async () => undefined,
      writeFile: writeNewFile,
    });
    assert.ok(batch?.from === 0 && batch.to > 600);
    const policy = join(root, 'policy.txt');
    const [path = ''] = batch.files;
    const file = join(root, 'mirrored.jsonl');
    await writeFile(file, await gitShow(repository, path));
    assert.equal((await cli(['verify', file, '--policy', policy])).code, 0);
  });
});

async function gitShow(repository: string, path: string): Promise<string> {
  const options = { cwd: repository, maxBuffer: 2 ** 27 };
  return (await promisify(execFile)('git', ['show', `main:${path}`], options)).stdout;
}

/** Another key signs here: who may is not what is asked. */
async function forgerOf() {
  return readCollectorKey(collectorKeyPath(under.settings.dataDir));
}

async function withDatabase<T>(work: (open: Awaited<ReturnType<typeof openDatabase>>) => Promise<T>): Promise<T> {
  const teardown = createTeardown(quietLogger);
  try {
    return await work(await openDatabase({ settings: under.settings, logger: quietLogger, teardown }));
  } finally {
    await teardown.run();
  }
}

describe('retention', () => {
  const later = (days: number) => ({ ...systemClock, now: () => Date.now() + days * 86_400_000 });

  test('of two collectors at once erases each entry once, and the other one comes later', async () => {
    const settings = settingsFor(under.settings.dataDir, database.url, {
      DATABASE_OWNER_URL: database.ownerUrl,
      SIGILWATCH_LEDGER_RETENTION_DAYS: '30',
      SIGILWATCH_LEDGER_RETENTION_EXPORT: join(root, 'retained'),
    });
    await withDatabase(async (open) => {
      const keys = await readCollectorKey(collectorKeyPath(settings.dataDir));
      const erasing = () =>
        createErasing(settings, { database: { ...open, ownerUrl: database.ownerUrl }, keys, ledger: under.ledger });
      const needs = (days: number) => {
        return { erasing: erasing(), clock: later(days), logger: quietLogger, random: () => 0 };
      };
      const retention = (days: number) => createRetention(settings, { ...needs(days), whyNot: async () => undefined });
      const signal = new AbortController().signal;
      const misled = createRetention(settings, { ...needs(400), whyNot: async () => 'the clocks disagree' });
      await assert.rejects(misled.pass(signal), /nothing is erased: the clocks disagree/);
      await retention(29).pass(signal);
      assert.equal(await erasing().boundary(), 600, 'nothing is old enough');
      const both = [retention(31), retention(31)];
      const results = await Promise.allSettled(both.map((one) => one.pass(signal)));
      assert.ok(results.some(({ status }) => status === 'fulfilled'));
      for (const result of results) if (result.status === 'rejected') assert.equal(result.reason.code, 'state.busy');
      assert.equal(await erasing().boundary(), 800);
      const { rows } = await under.db.query(`select index from entries where kind = 'ledger.erased'`);
      assert.equal(rows.length, 2);
      assert.deepEqual(await readdir(join(root, 'retained')), ['entries-000000000600-000000000799.jsonl']);
    });
    assert.equal((await cli(['ledger', 'verify'])).code, 0);
    assert.equal((await cli(['ledger', 'replay', '--check'])).code, 0);
  });

  test('runs in a collector, which shows how far it is in its metrics', async () => {
    await until('the first look is done', async () => {
      const text = (await getRaw('/metrics')).body.toString();
      return /ledger_erased_entries 800\n/.test(text) && /retention_last_success_timestamp_seconds \d/.test(text);
    });
  });
});
