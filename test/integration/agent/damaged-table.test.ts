import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { type EmbeddedPostgres, openEmbedded } from '../../../collector/postgres/embedded.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { testPool } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { checksOf, nthRow, type SigilTable, sigilTable, TableWatch } from './sigil-table.ts';

/** A server of its own, which is stopped while its files are damaged. */
let dataDir: string;
let server: EmbeddedPostgres;
let pools: Db[] = [];

before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-postgres-'));
  await start();
});
after(async () => {
  await stop();
  await rm(dataDir, { recursive: true, force: true });
});

async function start(): Promise<void> {
  const newPassword = () => randomBytes(16).toString('hex');
  server = await openEmbedded({ dataDir, newPassword, logger: quietLogger });
}

async function stop(): Promise<void> {
  for (const pool of pools) await pool.end();
  pools = [];
  await server.release();
}

function pool(url: string): Db {
  const made = testPool(url);
  pools.push(made);
  return made;
}

async function tableOf(rows: number, name: string): Promise<SigilTable> {
  const owner = pool(server.url);
  const table = await sigilTable({
    pool,
    emptyDatabase: async () => {
      await owner.query(`create database ${name}`);
      return Object.assign(new URL(server.url), { pathname: `/${name}` }).href;
    },
    stranger: async (url) => {
      await owner.query(`create role ${name}_reader login password 'word'`);
      return Object.assign(new URL(url), { username: `${name}_reader`, password: 'word' }).href;
    },
  });
  await table.put(0, rows);
  return table;
}

/** Changes one byte of a table or index, and starts the server again. @returns the table as its reader finds it then */
async function flip({ sql, place }: SigilTable, relation: string, at: number, inventory?: string): Promise<TableWatch> {
  const [found] = await sql(
    `select current_setting('data_directory') || '/' || pg_relation_filepath($1::regclass) as path`,
    [relation],
  );
  await stop();
  const file = await open(String(found?.path), 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  await file.write(Buffer.of(byte.readUInt8(0) ^ 0x40), 0, 1, at);
  await file.close();
  await start();
  const url = Object.assign(new URL(place.url ?? ''), { port: new URL(server.url).port }).href;
  return new TableWatch({ ...place, url }, inventory);
}

test('a block that cannot be read is a finding, and the rest of the table is checked', async () => {
  const table = await tableOf(2_000, 'heap');
  await table.sql(`update "App".sigils set symbol = 'X' || symbol where auth_hash = $1`, [nthRow(1_999).auth_hash]);
  const watch = await flip(table, '"App".sigils', 5 * 8192 + 4_000);
  const { findings, records } = await watch.scan('full');
  assert.deepEqual(
    findings.flatMap(({ check, file, offset }) => (file === null ? [] : [[check, file, offset]])),
    [['heap_corrupt', '"App".sigils', 5 * 8192]],
  );
  assert.match(findings.find(({ file }) => file !== null)?.detail ?? '', /invalid page in block 5/);
  assert.deepEqual(checksOf(findings.filter(({ file }) => file === null)), ['key_value_agreement XS4']);
  assert.ok(records > 1_900 && records < 2_000, `${records} rows`);
  assert.deepEqual((await watch.scan('full')).findings, [], 'told once');
});

test('rows that damage hides have not vanished, nor are they forgotten', async () => {
  const table = await tableOf(600, 'hidden');
  const inventory = join(dataDir, '..', `${basename(dataDir)}.kept`, 'rows.inventory');
  await new TableWatch(table.place, inventory).scan('full');
  const watch = await flip(table, '"App".sigils', 5 * 8192 + 4_000, inventory);
  const damaged = await watch.scan('full');
  assert.deepEqual(
    damaged.findings.map(({ check }) => check),
    ['heap_corrupt'],
  );
  assert.ok(damaged.records < 600, `${damaged.records} rows`);
  assert.equal(damaged.inventory?.keys, 600);
  await rm(dirname(inventory), { recursive: true });
});

test('an index that cannot be read does not keep its rows from being checked', async () => {
  const table = await tableOf(2_000, 'tree');
  const watch = await flip(table, '"App".sigils_pkey', 3 * 8192 + 4_000);
  const { findings, records } = await watch.scan('full');
  assert.deepEqual(
    findings.map(({ check, file }) => [check, file]),
    [['index_corrupt', '"App".sigils']],
  );
  assert.equal(records, 2_000);
  const owner = pool(Object.assign(new URL(table.ownerUrl), { port: new URL(server.url).port }).href);
  await owner.query('reindex table "App".sigils');
  await watch.scan('full');
  assert.deepEqual(watch.open, []);
});
