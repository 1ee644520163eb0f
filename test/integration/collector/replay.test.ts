import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import {
  checkProjections,
  matches,
  type ReplayReport,
  repairProjections,
  type TableComparison,
} from '../../../collector/ledger/replay.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { type Db, withTransaction } from '../../../collector/postgres/pool.ts';
import { postgresReplays, projections } from '../../../collector/postgres/replay-store.ts';
import { AppError } from '../../../common/errors.ts';
import { seedOf } from '../../e2e/random.ts';
import { collectorKeys, startLedger } from '../../ledgers.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { startPostgres, type TestPostgres, testPool } from '../../postgres.ts';
import { anyHistory, type Narrator, narrator } from './histories.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
/** Which rows are tampered with. */
const seed = seedOf('tampered projections');

let postgres: TestPostgres;
let url: string;
let pool: Db;
let ledger: Ledger;
let narrated: Narrator;

before(async () => {
  postgres = await startPostgres();
  url = await postgres.migratedDatabase();
  pool = testPool(url);
  ledger = await startLedger(postgresLedgerStore(pool));
  narrated = narrator(ledger);
});
after(async () => {
  await pool.end();
  await postgres.stop();
});

const needs = { collectorKey: collectorKeys.publicKey };

function check(): Promise<ReplayReport> {
  return checkProjections(postgresReplays({ url, applicationName: 'test' }), needs);
}

function repair(): Promise<ReplayReport> {
  return repairProjections(postgresReplays({ url, applicationName: 'test' }), needs);
}

function assertClean(report: ReplayReport): void {
  assert.ok(matches(report.tables), JSON.stringify(report.tables.filter(({ differing }) => differing > 0)));
}

/** As a superuser would: no trigger stands in the way. */
async function asAdmin(sql: string, values: unknown[] = []): Promise<number> {
  return withTransaction(pool, async (tx) => {
    await tx.query('set local session_replication_role = replica');
    return (await tx.query(sql, values)).rowCount ?? 0;
  });
}

test('every table is part of the ledger, a way in, or a projection that replay rebuilds', async () => {
  const { rows } = await pool.query<{ name: string }>(
    `select relname as name from pg_class
      where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition`,
  );
  const others = rows.map(({ name }) => name).filter((name) => !projections.some(({ table }) => table === name));
  const known = [
    ...['ledger_head', 'entry_runs', 'run_bodies', 'tiles', 'batches', 'projection_bases'],
    ...['join_tokens', 'schema_migrations'],
    ...['users', 'sessions', 'api_tokens', 'setup_codes', 'sign_in_attempts', 'idempotency_keys'],
    // What witnesses signed stands by its signatures.
    ...['checkpoints', 'cosignatures', 'witness_gaps', 'witnesses_wanted'],
    // What became of telling people; the entries say what there was to tell.
    ...['alert_cursor', 'alerts', 'alert_channels', 'alert_notifications', 'alert_told', 'alert_silences'],
    // The mechanics of jobs; their outcomes are entries.
    ...['enforcement_facts', 'enforcement_attempts', 'enforcement_pins', 'breakers'],
    // What checks came to, as documents that entries vouch for, and when the last one was.
    ...['integrity_state', 'integrity_reports'],
    // What was reserved, which runs out by itself, and by which setting.
    ...['budget_requests', 'budgets_in_force'],
    // Which collectors run, as they say every few seconds.
    'collectors_present',
    // Which artifact is to be looked at when.
    ...['artifact_sweeps', 'artifact_sweep_state'],
  ];
  assert.deepEqual(
    others.filter((name) => !known.includes(name)),
    [],
  );
});

describe('whatever was said', () => {
  test('the projections rebuilt from the entries are the stored ones, to the row', async () => {
    await fc.assert(
      fc.asyncProperty(anyHistory({ maxLength: long ? 60 : 40 }), async (history) => {
        await narrated.tell(history);
        const report = await check();
        assert.equal(report.size, (await ledger.checkpoint()).size);
        assertClean(report);
      }),
      { numRuns: long ? 300 : 8, endOnFailure: true },
    );
  });

  test('a collector that appends while replay runs is not taken for a difference', async () => {
    const [history = []] = fc.sample(anyHistory({ minLength: 40, maxLength: 40 }), { numRuns: 1, seed: 7 });
    const [, report] = await Promise.all([narrated.tell(history), check()]);
    assertClean(report);
  });
});

interface Column {
  readonly table: string;
  readonly name: string;
  readonly type: string;
}

/** Some other value for every type that a projection has. */
const otherValue: Readonly<Record<string, (column: string) => string>> = {
  text: (column) => `coalesce(${column}, '') || 'x'`,
  bigint: (column) => `-1 - coalesce(${column}, 0)`,
  'double precision': (column) => `case ${column} when 0.25 then 0.75 else 0.25 end`,
  bytea: (column) => `${column} || '\\x00'`,
  'timestamp with time zone': (column) => `coalesce(${column}, now()) + interval '1 microsecond'`,
  // The same number in other words: what is shown changes, what it means does not.
  jsonb: (column) => `case ${column} when '[1]' then '[1.0]'::jsonb else '[1]'::jsonb end`,
};

async function columnsOf(table: string): Promise<readonly Column[]> {
  const { rows } = await pool.query<Column>(
    `select $1::text as table, attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
      where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum`,
    [table],
  );
  return rows;
}

/** Changes each of the columns in a row of its own, at random. @returns what must be found. */
async function tamper(columns: readonly Column[], key: readonly string[]): Promise<readonly string[]> {
  const [{ table } = { table: '' }] = columns;
  const id = key.map((column) => `"${column}"::text`).join(` || '|' || `);
  const { rows } = await pool.query<{ ctid: string; id: string }>(
    `select ctid::text, ${id} as id from ${table} order by md5(ctid::text || $1) limit $2`,
    [String(seed), columns.length],
  );
  assert.equal(rows.length, columns.length, `${table} has too few rows for this test`);
  const found: string[] = [];
  for (const [at, { name, type }] of columns.entries()) {
    const other = otherValue[type];
    assert.ok(other, `no other value for ${type}: ${table}.${name}`);
    const row = rows[at];
    await asAdmin(`update ${table} set "${name}" = ${other(`"${name}"`)} where ctid = $1::tid`, [row?.ctid]);
    found.push(...(key.includes(name) ? ['extra', 'missing'] : [`changed ${row?.id} ${name}`]));
  }
  return found.sort();
}

function shown({ rows }: TableComparison): readonly string[] {
  const text = rows.map(({ problem, key, columns }) =>
    problem === 'changed'
      ? `changed ${Object.values(key).join('|')} ${columns.map(({ column }) => column).join()}`
      : problem,
  );
  return text.sort();
}

function cutUp<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}

describe('a projection that somebody changed', () => {
  before(async () => {
    const told = fc.sample(anyHistory({ minLength: 200, maxLength: 200 }), { numRuns: 1, seed: 11 });
    for (const history of told) await narrated.tell(history);
    assertClean(await check());
  });

  for (const { table, key } of projections) {
    test(`is found, row and column, and repaired: ${table}`, async () => {
      const { rows } = await pool.query<{ count: number }>(`select count(*) from ${table}`);
      const columns = await columnsOf(table);
      for (const some of cutUp(columns, Math.min(rows[0]?.count ?? 1, 19))) {
        const expected = await tamper(some, key);
        const { tables } = await check();
        const found = tables.filter(({ differing }) => differing > 0);
        assert.deepEqual(
          found.map((it) => [it.table, it.differing, shown(it)]),
          [[table, expected.length, expected]],
        );
        assert.deepEqual((await repair()).tables, tables);
        assertClean(await check());
      }
    });

    test(`is found when rows are gone or were added, and repaired: ${table}`, async () => {
      const gone = await asAdmin(`delete from ${table}`);
      assert.ok(gone > 0);
      const { tables } = await check();
      const it = tables.find((one) => one.table === table);
      assert.deepEqual([it?.stored, it?.rebuilt, it?.differing], [0, gone, gone]);
      assert.ok(it?.rows.every(({ problem, index }) => problem === 'missing' && (table === 'nodes' || index !== null)));
      await repair();
      assertClean(await check());
    });
  }
});

test('an entry whose body was changed or taken away ends the replay and is named', async () => {
  await changeOneByOne(pool);
  for (const sql of [
    `update entry_bodies set bytes = bytes || ' '::bytea where index = 3`,
    `delete from entry_bodies where index = 3`,
    `delete from entries where index = 3`,
  ]) {
    await asAdmin('create table kept_entry as select * from entries where index = 3');
    await asAdmin('create table kept_body as select * from entry_bodies where index = 3');
    await asAdmin(sql);
    await assert.rejects(check(), (error) => {
      assert.ok(error instanceof AppError);
      assert.equal(error.code, 'ledger.tampered');
      assert.equal(error.details.index, 3);
      return true;
    });
    await asAdmin('delete from entry_bodies where index = 3');
    await asAdmin('delete from entries where index = 3');
    await asAdmin('insert into entries select * from kept_entry');
    await asAdmin('insert into entry_bodies select * from kept_body');
    await asAdmin('drop table kept_entry, kept_body');
  }
  assertClean(await check());
});
