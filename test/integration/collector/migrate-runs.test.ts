import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../../collector/clock.ts';
import { missingGuards } from '../../../collector/postgres/guards.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { migrate, migrationsDir, readMigrations } from '../../../collector/postgres/migrate.ts';
import { connectClient, type Db, withTransaction } from '../../../collector/postgres/pool.ts';
import type { TestAuthor } from '../../authors.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { assertInOrder, eraseTo, erasureNeeds, layPartitions } from './erasable.ts';
import { anyHistory, asEnrolled, narrator, withRuns } from './histories.ts';

/*
 * A ledger from before entries shared rows (`0027_entry_runs.sql`): its database goes on with this version, and tells the same.
 */

/** Migrations that such a database has. */
const before0027 = 26;
/** Where partitions of bodies end; what is before the first was erased. */
const [erased, middle] = [90, 170];

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

/** A ledger in this version's rows, of which some was erased, and who speaks in it. */
async function ledgerOfNow(): Promise<{ db: Db; authors: Map<string, TestAuthor> }> {
  const { url, ownerUrl } = await postgres.writerDatabase();
  await layPartitions(ownerUrl, [erased, middle]);
  const db = postgres.pool(url);
  const ledger = await startLedger(postgresLedgerStore(db));
  const authors = new Map<string, TestAuthor>();
  const [history = []] = fc.sample(anyHistory({ minLength: 260, maxLength: 260 }), { numRuns: 1, seed: 27 });
  await narrator(ledger, authors).tell(withRuns(asEnrolled(history)));
  assert.equal((await eraseTo(erasureNeeds({ db, ledger, ownerUrl }), erased)).boundary, erased);
  return { db, authors };
}

/** The same ledger in a database of the version before, as that wrote it: a row for each entry, and one for each body that is kept. */
async function asBefore(now: Db): Promise<{ url: string; db: Db }> {
  const url = await postgres.emptyDatabase();
  const migrations = (await readMigrations(migrationsDir)).slice(0, before0027);
  await migrate({ url, applicationName: 'test' }, migrations, systemClock);
  const db = postgres.pool(url);
  await db.query(`drop table entry_bodies_000000;
    create table entry_bodies_to_${String(erased).padStart(12, '0')} partition of entry_bodies for values from (0) to (${erased});
    create table entry_bodies_000000 partition of entry_bodies for values from (${erased}) to (${middle});
    create table entry_bodies_000001 partition of entry_bodies for values from (${middle}) to (65536)`);
  const { rows } = await db.query<{ name: string }>(
    `select relname as name from pg_class
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition and relname <> 'schema_migrations'`,
  );
  for (const { name } of rows) await copyRows(now, db, name);
  return { url, db };
}

/** Rows that a migration has made are left as they are. */
async function copyRows(from: Db, to: Db, table: string): Promise<void> {
  const { rows } = await from.query<{ all: unknown }>(`select jsonb_agg(to_jsonb(t)) as all from ${table} t`);
  await to.query(
    `insert into ${table} overriding system value select * from jsonb_populate_recordset(null::${table}, $1)
       on conflict do nothing`,
    [JSON.stringify(rows[0]?.all ?? [])],
  );
}

/** All entries and bodies, to the byte and the microsecond. */
async function contents(db: Db): Promise<unknown> {
  const { rows } = await db.query(
    `select e.index, author, seq, kind, at::text, entry_hash, leaf_hash, bytes, signature
       from entries e left join entry_bodies b using (index) order by index`,
  );
  return rows;
}

test('a ledger from before entries shared rows holds the same entries afterwards, is in order and goes on', async () => {
  const now = await ledgerOfNow();
  const { url, db } = await asBefore(now.db);
  const told = await contents(db);
  assert.deepEqual(told, await contents(now.db), 'as it was written');
  await migrate({ url, applicationName: 'test' }, await readMigrations(migrationsDir), systemClock);
  assert.deepEqual(await contents(db), told);
  const { rows: partitions } = await db.query(
    'select name, from_index, to_index from body_partitions order by from_index',
  );
  assert.deepEqual(partitions, [
    { name: 'run_bodies_to_000000000090', from_index: 0, to_index: erased },
    { name: 'run_bodies_000000', from_index: erased, to_index: middle },
    { name: 'run_bodies_000001', from_index: middle, to_index: 65_536 },
  ]);
  assert.deepEqual(await missingGuards(db), []);
  const gone = await assertInOrder(db, url);
  assert.ok(gone > erased / 2 && gone < erased);
  const [history = []] = fc.sample(anyHistory({ minLength: 60, maxLength: 60 }), { numRuns: 1, seed: 28 });
  await narrator(await startLedger(postgresLedgerStore(db)), now.authors).tell(withRuns(asEnrolled(history)));
  const { rows: runs } = await db.query('select 1 from entry_runs where width > 1');
  assert.ok(runs.length > 0);
  assert.equal(await assertInOrder(db, url), gone);
});

test('partitions of a million, which the oldest ledgers have, end where no run goes on unless the ledger is beyond', async () => {
  const migrations = await readMigrations(migrationsDir);
  const bounds = [
    [500, 1_048_576],
    [1_000_000, 1_048_576],
    [1_000_001, 1_000_000],
  ] as const;
  for (const [size, end] of bounds) {
    const url = await postgres.emptyDatabase();
    await migrate({ url, applicationName: 'test' }, migrations.slice(0, before0027), systemClock);
    const db = await connectClient({ url, applicationName: 'test' });
    const body = (index: number) =>
      `insert into entry_bodies values (${index}, '\\x00', decode(repeat('00', 64), 'hex'));`;
    await db.query(`drop table entry_bodies_000000;
      create table entry_bodies_000000 partition of entry_bodies for values from (0) to (1000000);
      create table entry_bodies_000001 partition of entry_bodies for values from (1000000) to (2000000);
      insert into ledger_head (origin, size, root, edge) values ('o', ${size}, sha256(''), '');
      ${body(0)} ${body(size - 1)}`);
    await migrate({ url, applicationName: 'test' }, migrations, systemClock);
    await db.query('select ensure_body_partition(2040000)');
    const { rows } = await db.query('select from_index, to_index from body_partitions order by from_index');
    const ends = [0, end, 2_031_616, 2_097_152];
    assert.deepEqual(
      rows,
      ends.slice(1).map((to, at) => ({ from_index: ends[at], to_index: to })),
    );
    assert.deepEqual((await db.query('select index from entry_bodies order by 1')).rows, [
      { index: 0 },
      { index: size - 1 },
    ]);
    await db.end();
  }
});

test('a partition that was made for the end of one of a million, and has nothing in it yet, is not made again', async () => {
  const migrations = await readMigrations(migrationsDir);
  const url = await postgres.emptyDatabase();
  await migrate({ url, applicationName: 'test' }, migrations.slice(0, before0027), systemClock);
  const db = postgres.pool(url);
  await db.query(`drop table entry_bodies_000000;
    create table entry_bodies_000000 partition of entry_bodies for values from (0) to (1000000);
    insert into ledger_head (origin, size, root, edge) values ('o', 991900, sha256(''), '');
    select ensure_body_partition(1000091)`);
  await migrate({ url, applicationName: 'test' }, migrations, systemClock);
  const { rows } = await db.query('select from_index, to_index from body_partitions order by from_index');
  assert.deepEqual(rows, [{ from_index: 0, to_index: 1_048_576 }]);
});

test('a ledger from before whose rows were made impossible stays as it is, and what is wrong is said', async () => {
  const { url, db } = await asBefore((await ledgerOfNow()).db);
  await withTransaction(db, async (tx) => {
    await tx.query('set local session_replication_role = replica');
    await tx.query('alter table entries drop constraint entries_leaf_hash_check');
    await tx.query(`update entries set leaf_hash = '\\x00' where index = 5`);
  });
  const told = await contents(db);
  await assert.rejects(migrate({ url, applicationName: 'test' }, await readMigrations(migrationsDir), systemClock), {
    code: 'database.migration',
    message: /0027_entry_runs\.sql failed and was rolled back: .*entry_runs/,
  });
  assert.deepEqual(await contents(db), told);
});
