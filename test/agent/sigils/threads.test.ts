import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync, truncateSync, unlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ScanThreads } from '../../../agent/sigils/scan-threads.ts';
import { SigilScanner } from '../../../agent/sigils/scanner.ts';
import { limits } from '../../../common/limits.ts';
import { bundleTests } from '../../bundle.ts';
import {
  checksOf,
  clock,
  filesEnding,
  flip,
  intoTables,
  putRecords,
  secret,
  temporaryFolder,
  withStore,
} from './stores.ts';

let threadFile: URL;
let remove: () => void;

before(async () => {
  const built = await bundleTests(resolve(import.meta.dirname, '../../..'), ['agent/sigils/scan-thread.ts']);
  threadFile = pathToFileURL(built.files[0] ?? assert.fail());
  remove = built.remove;
});
after(() => remove());

const records = 8_000;

/** Of many small tables, since none can be larger than 1 MB, and a log. */
async function storeOfManyTables(path: string): Promise<void> {
  const shape = { compression: false, maxFileSize: 1024 * 1024, writeBufferSize: 64 * 1024 };
  await withStore(
    path,
    async (db) => {
      await putRecords(db, 0, records);
      // A store that is closed while it compacts leaves a table that nothing was written to yet.
      await intoTables(db);
      await putRecords(db, records, records + 10);
    },
    shape,
  );
}

function scan(path: string, threads: number, others: { secrets?: readonly string[]; signal?: AbortSignal } = {}) {
  const { secrets = [secret], signal } = others;
  const scanner = new SigilScanner({ name: 'main', path, secrets, clock, threads, threadFile });
  return scanner.scan({ mode: 'full', state: null, openFindings: [], ...(signal && { signal }) });
}

/** The same but for when, for how long, and in which order. */
async function assertAlike(path: string, secrets: readonly string[] = [secret]) {
  const [one, two] = [await scan(path, 1, { secrets }), await scan(path, 2, { secrets })];
  const told = ({ startedAt: _, durationMs: __, findings, state, ...rest }: typeof one) => ({
    ...rest,
    findings: [...findings].sort((a, b) => (a.id < b.id ? -1 : 1)),
    tables: 'tables' in state ? [...state.tables].sort() : [],
  });
  assert.deepEqual(told(two), told(one));
  return two;
}

describe('two threads', () => {
  it('find nothing in a sound store, and see all of it', async (t) => {
    const path = join(temporaryFolder(t), 'store');
    await storeOfManyTables(path);
    const { findings, sigils, tables } = await assertAlike(path);
    assert.deepEqual([findings, sigils], [[], records + 10]);
    assert.ok(tables > 1, `${tables} tables`);
  });

  it('find what one thread finds: bad blocks, bad records, a short table, a missing one', async (t) => {
    const path = join(temporaryFolder(t), 'store');
    await storeOfManyTables(path);
    const tables = filesEnding(path, '.ldb');
    assert.ok(tables.length >= 3);
    const [flipped = '', short = '', missing = ''] = tables;
    for (let at = 1; at < 5; at++) flip(join(path, flipped), at * 10_000);
    truncateSync(join(path, short), statSync(join(path, short)).size - 100);
    unlinkSync(join(path, missing));
    const { findings } = await assertAlike(path);
    const checks = new Set(checksOf(findings));
    for (const check of ['block_checksum', 'table_format', 'file_missing']) assert.ok(checks.has(check), check);
  });

  it('say no more than fits when every record is bad', async (t) => {
    const path = join(temporaryFolder(t), 'store');
    await storeOfManyTables(path);
    const { findings, moreFindings } = await scan(path, 2, { secrets: ['another secret'] });
    assert.equal(findings.length, limits.maxOpenFindingsPerStore);
    assert.equal(findings.length + moreFindings, records + 10);
  });

  it('leave the store as it is', async (t) => {
    const path = join(temporaryFolder(t), 'store');
    await storeOfManyTables(path);
    const look = () => readdirSync(path).map((name) => [name, statSync(join(path, name)).mtimeMs]);
    const before = look();
    await scan(path, 2);
    assert.deepEqual(look(), before);
  });

  it('end with the signal, and with an error when they cannot work', async (t) => {
    const path = join(temporaryFolder(t), 'store');
    await storeOfManyTables(path);
    const reason = new Error('enough');
    const ended = new AbortController();
    const scanning = scan(path, 2, { signal: ended.signal });
    ended.abort(reason);
    await assert.rejects(scanning, reason);
    const scanner = new SigilScanner({
      ...{ name: 'main', path, secrets: [], clock, threads: 2 },
      threadFile: pathToFileURL(join(path, 'no-such-thread.js')),
    });
    await assert.rejects(scanner.scan({ mode: 'full', state: null, openFindings: [] }), { code: 'internal.error' });
  });

  it('wait for nothing from a thread that ended between two tables', async (t) => {
    const path = join(temporaryFolder(t), 'store');
    const threads = new ScanThreads(2, { path, secrets: [], versions: false }, threadFile);
    await threads.stop();
    const table = { number: 5, level: 0, bytes: null, bounds: null };
    const asked = threads.scan([['000005.ldb', table]], { part: async () => {}, outcome: async () => {} });
    await assert.rejects(asked, { code: 'internal.error' });
  });

  it('go on with a scan that was cut short, as one thread does, with findings of its first part', async (t) => {
    const path = join(temporaryFolder(t), 'store');
    await storeOfManyTables(path);
    const tables = filesEnding(path, '.ldb');
    // The newest are read first.
    flip(join(path, tables.at(-1) ?? ''), 100);
    const whole = await scan(path, 1);
    const position = join(temporaryFolder(t), 'main.run');
    const inventory = { path: `${position}.none`, keeps: false, position, checkpointBytes: 1 };
    const begin = (signal?: AbortSignal) => {
      const scanner = new SigilScanner({ name: 'main', path, secrets: [secret], clock, threads: 2, threadFile });
      const request = { mode: 'full', state: null, openFindings: [], inventory } as const;
      return scanner.scan({ ...request, ...(signal && { signal, onProgress: () => stopWhenWritten() }) });
    };
    const cut = new AbortController();
    const stopWhenWritten = () => {
      if (existsSync(`${position}.progress`)) cut.abort(new Error('cut short'));
    };
    await assert.rejects(begin(cut.signal), /cut short/);
    const { findings, records: stored, blocks, tables: read, inventory: taken } = await begin();
    assert.ok((taken?.resumed?.tables ?? 0) > 0);
    assert.deepEqual([findings, stored, blocks, read], [whole.findings, whole.records, whole.blocks, whole.tables]);
    await taken?.keep();
    assert.ok(!existsSync(`${position}.progress`));
  });
});
