import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startCollector } from '../../../collector/app.ts';
import { collectorKeyPath, loadCollectorKey } from '../../../collector/data/keys.ts';
import { checkpointPath } from '../../../collector/ledger/fs-checkpoint-file.ts';
import { evidencePath } from '../../../collector/ledger/fs-evidence-folder.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { signCheckpoint } from '../../../common/checkpoint.ts';
import { noteSigner, signatureTypes } from '../../../common/note.ts';
import { type TestAuthor, testAuthor } from '../../authors.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { settingsFor, startTestCollector } from './collectors.ts';
import { extentOf, withLedgerOn } from './opened-ledger.ts';

const trials = process.env.SIGILWATCH_TEST_LONG === '1' ? 100 : 8;
const seed = 20_260_315;
const tampered = { code: 'ledger.tampered' };

let postgres: TestPostgres;
let root: string;
before(async () => {
  postgres = await startPostgres();
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-restored-'));
});
after(async () => {
  await postgres.stop();
  await rm(root, { recursive: true, force: true });
});

/** A data directory with the same key, and nothing remembered. */
async function forgetfulDataDir(dataDir: string, name: string): Promise<string> {
  const other = join(root, name);
  await mkdir(other, { mode: 0o700 });
  await copyFile(collectorKeyPath(dataDir), collectorKeyPath(other));
  return other;
}

async function grow(ledger: Ledger, author: TestAuthor, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 200) await ledger.append(author.more(Math.min(200, left)));
}

function* randoms(from: number): Generator<number, never> {
  for (let state = from; ; ) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    yield (state >>> 8) / 2 ** 24;
  }
}

interface Trial {
  readonly name: string;
  readonly dataDir: string;
  readonly backup: string;
  /** The newest checkpoint that an agent holds. */
  readonly held: string;
  /** Entries by which the backup goes its own way; 0 when it was only put back. */
  readonly grows: number;
}

/** The file is there: nothing is opened at all. */
async function refusedByFile({ dataDir, backup }: Trial): Promise<void> {
  const before = await extentOf(backup);
  await assert.rejects(
    withLedgerOn(dataDir, backup, async () => {}),
    tampered,
  );
  assert.deepEqual(await extentOf(backup), before);
}

/** The file is gone: the first agent that comes with what it holds stops it, and it does not start any more. */
async function refusedByAgent({ name, dataDir, backup, held }: Trial): Promise<void> {
  const forgetful = await forgetfulDataDir(dataDir, `${name}-forgetful`);
  await withLedgerOn(forgetful, backup, async (ledger) => {
    await ledger.checkpoint();
    await assert.rejects(ledger.confront(held), tampered);
    const before = await extentOf(backup);
    await assert.rejects(ledger.checkpoint(), tampered);
    await assert.rejects(ledger.append(testAuthor('node9').more(1)), tampered);
    await assert.rejects(
      ledger.record({ kind: 'node.revoked', body: { node: 'x', fingerprint: '', reason: '' } }),
      tampered,
    );
    assert.deepEqual(await extentOf(backup), before);
  });
  const [kept = ''] = await readdir(evidencePath(forgetful));
  assert.ok(JSON.parse(await readFile(join(evidencePath(forgetful), kept), 'utf8')).notes.includes(held));
  await rm(checkpointPath(forgetful), { force: true });
  await refusedByFile({ name, dataDir: forgetful, backup, held, grows: 0 });
}

test(`${trials} of ${trials} restored backups and forked databases are refused (seed ${seed})`, async () => {
  const random = randoms(seed);
  const upTo = (most: number) => 1 + Math.floor(random.next().value * most);
  const dataDir = join(root, 'main');
  await mkdir(dataDir, { mode: 0o700 });
  const main = await postgres.migratedDatabase();
  const author = testAuthor('node1');
  await withLedgerOn(dataDir, main, (ledger) => grow(ledger, author, upTo(300)));
  const refused = { byFile: 0, byAgent: 0 };
  for (let i = 0; i < trials; i++) {
    const backup = await postgres.copyOf(main);
    const held = await withLedgerOn(dataDir, main, async (ledger) => {
      await grow(ledger, author, upTo(random.next().value < 0.5 ? 3 : 300));
      return (await ledger.checkpoint()).note;
    });
    const grows = i % 4 < 2 ? 0 : upTo(random.next().value < 0.5 ? 3 : 600);
    const trial: Trial = { name: `trial-${i}`, dataDir, backup, held, grows };
    if (grows > 0) {
      const elsewhere = await forgetfulDataDir(dataDir, `${trial.name}-elsewhere`);
      await withLedgerOn(elsewhere, backup, (ledger) => grow(ledger, testAuthor(`fork${i}`), grows));
    }
    if (i % 2 === 0) await refusedByFile(trial);
    else await refusedByAgent(trial);
    refused[i % 2 === 0 ? 'byFile' : 'byAgent'] += 1;
  }
  assert.deepEqual(refused, { byFile: Math.ceil(trials / 2), byAgent: Math.floor(trials / 2) });
  // The database that was left behind is none the worse for it.
  await withLedgerOn(dataDir, main, (ledger) => grow(ledger, author, 3));
});

describe('a whole collector', () => {
  test('does not listen on a database that was put back', async () => {
    const main = await postgres.emptyDatabase();
    const under = await startTestCollector(main);
    const { dataDir } = under.settings;
    const kept = join(root, 'kept');
    await mkdir(kept);
    await under.ledger.append(testAuthor('node1').more(5));
    await under.ledger.checkpoint();
    await copyFile(collectorKeyPath(dataDir), collectorKeyPath(kept));
    await copyFile(checkpointPath(dataDir), checkpointPath(kept));
    await under.stop();
    const fresh = await postgres.migratedDatabase();
    const before = await extentOf(fresh);
    await assert.rejects(startCollector(settingsFor(kept, fresh), { logger: quietLogger }), (error: Error) => {
      assert.match(error.message, /checkpoint of \d+ entries/);
      assert.match(error.message, /docs\/recovery\.md/);
      return 'code' in error && error.code === 'ledger.tampered';
    });
    assert.deepEqual(await extentOf(fresh), before);
    const again = await startCollector(settingsFor(kept, main), { logger: quietLogger });
    await again.stop();
  });

  test('beside another one needs its key, and leaves no other key in the way', async () => {
    const main = await postgres.emptyDatabase();
    const first = await startTestCollector(main);
    const second = join(root, 'second');
    await mkdir(second, { mode: 0o700 });
    const start = () => startCollector(settingsFor(second, main), { logger: quietLogger });
    const message = /second\/collector\.key.*copy of the first one's collector\.key/;
    await assert.rejects(start(), { code: 'state.conflict', message });
    assert.ok(!(await readdir(second)).includes(basename(collectorKeyPath(second))));
    await copyFile(collectorKeyPath(first.settings.dataDir), collectorKeyPath(second));
    const beside = await start();
    assert.equal(beside.keyFingerprint, first.collector.keyFingerprint);
    await beside.stop();
    await first.stop();
  });

  test('says that it is contradicted, and is not ready', async () => {
    const under = await startTestCollector(await postgres.emptyDatabase());
    for (const path of ['/ready', '/api/v1/fleet', '/api/v1/witnesses', '/api/v1/stats']) {
      const { status, json } = await under.get(path);
      assert.deepEqual([status, json.contradicted], [200, undefined], path);
    }
    const { size } = await under.ledger.checkpoint();
    const { dataDir, ledger } = under.settings;
    const signer = noteSigner(ledger.origin, signatureTypes.ed25519, await loadCollectorKey(collectorKeyPath(dataDir)));
    const ahead = { origin: ledger.origin, size: size + 10, root: Buffer.alloc(32, 7), extensions: [] };
    // In one step, as every writer does: one that finds an empty file puts back what it knows.
    await writeFile(join(dataDir, 'ahead'), signCheckpoint(ahead, signer));
    await rename(join(dataDir, 'ahead'), checkpointPath(dataDir));
    const { status, json } = await under.get('/ready');
    assert.equal(status, 503);
    assert.deepEqual(json.checks, { database: 'ok', ledger: 'ledger.tampered' });
    assert.match(String(json.contradiction), /10 are missing/);
    for (const path of ['fleet', 'witnesses', 'stats']) {
      const told = await under.get(`/api/v1/${path}`);
      assert.equal(told.status, 200, path);
      assert.match(String(told.json.contradicted), /10 are missing/, path);
    }
    assert.equal((await under.get('/log/checkpoint')).json.error_code, 'ledger.tampered');
    const metrics = await fetch(`${under.collector.url}/metrics`, {
      headers: { Authorization: `Bearer ${under.token}` },
    });
    assert.match(await metrics.text(), /^sigilwatch_collector_ledger_contradicted 1$/m);
    assert.equal((await readdir(evidencePath(dataDir))).length, 1);
    await under.stop();
  });
});
