import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { missingGuards } from '../../../collector/postgres/guards.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import {
  currentUser,
  grantToWriter,
  ledgerTables,
  rewritingPowers,
  tableAccess,
} from '../../../collector/postgres/roles.ts';
import { testAuthor } from '../../authors.ts';
import { ledgerStoreContract } from '../../contract/ledger-store.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { startAndStop } from './warned-starts.ts';

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

ledgerStoreContract("PostgreSQL, as the collector's own role", async () => {
  const { url } = await postgres.writerDatabase();
  return { store: postgresLedgerStore(postgres.pool(url)), other: postgresLedgerStore(postgres.pool(url)) };
});

/** PostgreSQL's `insufficient_privilege`, which the triggers say too. */
const refused = '42501';

const columnOf: Readonly<Record<string, string>> = {
  entry_runs: 'seq',
  run_bodies: 'leaves',
  tiles: 'hashes',
  batches: 'root',
  ledger_head: 'origin',
};

/** What somebody who got hold of the collector's connection would try, to change what a table of the ledger says. */
function attacksOn(table: string, owner: string): readonly string[] {
  const trigger = table === 'ledger_head' ? 'forward_only' : 'append_only';
  return [
    `update ${table} set ${columnOf[table] ?? ''} = default`,
    `delete from ${table}`,
    `truncate ${table}`,
    `truncate ${table} cascade`,
    `drop table ${table}`,
    `drop table ${table} cascade`,
    `alter table ${table} rename to other`,
    `alter table ${table} disable trigger all`,
    `alter table ${table} disable trigger ${trigger}`,
    `alter table ${table} add column more text`,
    `alter table ${table} set unlogged`,
    `alter table ${table} owner to current_user`,
    `alter table ${table} enable row level security`,
    `alter table ${table} set schema pg_temp`,
    `drop trigger ${trigger} on ${table}`,
    `create trigger t before insert on ${table} for each row execute function refuse_change()`,
    `create rule r as on insert to ${table} do instead nothing`,
    `create policy p on ${table} using (false)`,
    `create index on ${table} ((1))`,
    `select * from ${table === 'ledger_head' ? 'tiles' : table} for key share`,
    `begin; lock table ${table} in share mode`,
    `alter table ${table} replica identity full`,
    `comment on table ${table} is 'x'`,
    `create view v as select * from ${table}; alter view v rename to ${table}`,
    `grant update, delete, truncate on ${table} to current_user; delete from ${table}`,
    `begin; lock table ${table} in access exclusive mode`,
    `set role ${owner}; delete from ${table}`,
    `set session authorization ${owner}; delete from ${table}`,
    `set session_replication_role = replica; delete from ${table}`,
  ];
}

const otherAttacks = [
  'alter function refuse_change() rename to other',
  `create or replace function refuse_change() returns trigger language plpgsql as 'begin return old; end'`,
  'drop function refuse_change() cascade',
  'drop function refuse_rewind() cascade',
  'drop function refuse_gap() cascade',
  `create or replace function refuse_gap() returns trigger language plpgsql as 'begin return null; end'`,
  'alter table entry_runs disable trigger follow',
  'drop trigger follow on entry_runs',
  'drop view entries cascade',
  'alter view entries rename to other',
  'alter view entry_bodies set schema pg_temp',
  `create or replace view entry_bodies (index, bytes, signature) as select 0::bigint, ''::bytea, ''::bytea`,
  'create rule r as on update to entries do instead nothing',
  'create trigger t instead of delete on entries for each row execute function refuse_change()',
  'drop function entries_between(bigint, bigint)',
  `alter function chain_between(text, bigint, bigint) rename to other`,
  `create function bodies_between(integer, integer) returns bigint language sql as 'select 0'`,
  `select new_body_partition('mine')`,
  'alter function ensure_body_partition(bigint) security invoker',
  'drop function ensure_body_partition(bigint)',
  'alter table run_bodies detach partition run_bodies_000000',
  'create table mine (index bigint, ends int[], leaves bytea)',
  'create table mine partition of run_bodies for values from (9000000) to (9000001)',
  'create function lpad(text, integer, unknown) returns text language sql as $$ select null $$',
  'create schema mine',
  'drop schema public cascade',
  'truncate run_bodies_000000',
  'delete from run_bodies_000000',
  'update run_bodies_000000 set leaves = null',
  'insert into run_bodies_000000 select * from run_bodies',
  'drop table run_bodies_000000',
  'alter table run_bodies_000000 disable trigger all',
  'update ledger_head set size = size - 1',
  'update ledger_head set size = size, root = root',
  `update ledger_head set size = size + 1, origin = 'other'`,
  'update ledger_head set only_row = true',
  'delete from schema_migrations',
  `insert into schema_migrations values (999, 'x', now(), 0)`,
  'alter role current_user superuser',
  'alter role current_user createrole',
  'create role other superuser',
  `copy entry_runs to program 'cat'`,
  `copy entry_runs from '/etc/passwd'`,
  `select pg_read_file('/etc/passwd')`,
  'alter system set fsync = off',
  `alter database current set session_replication_role = replica`,
];

describe("the collector's own role", () => {
  test('cannot change, delete, drop, or switch off what guards any table of the ledger', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    const [writer, owner] = [postgres.pool(url), postgres.pool(ownerUrl)];
    const ledger = await startLedger(postgresLedgerStore(writer));
    await ledger.append(testAuthor('node1').more(300));
    const before = await contents(owner);
    const ownerName = await currentUser(owner);
    const database = new URL(url).pathname.slice(1);
    const attacks = [...ledgerTables.flatMap((table) => attacksOn(table, ownerName)), ...otherAttacks];
    for (const attack of [...attacks, `drop database ${database}`]) {
      const sql = attack.replace('database current', `database ${database}`);
      await assert.rejects(tryAlone(writer, sql), { code: refused }, sql);
    }
    assert.deepEqual(await contents(owner), before);
    await ledger.append(testAuthor('node2').more(2));
  });

  test('can put rows where the next ones belong, which stops the ledger, is said, and is undone by the owner', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    const [writer, owner] = [postgres.pool(url), postgres.pool(ownerUrl)];
    const ledger = await startLedger(postgresLedgerStore(writer));
    const author = testAuthor('node1');
    await ledger.append(author.more(3));
    const head = await ledger.checkpoint();
    const hash = `decode(repeat('00', 32), 'hex')`;
    const rows: Readonly<Record<string, string>> = {
      entry_runs: `insert into entry_runs values ($1, 1, 'x', 1, 'report', array[now()], ${hash}, ${hash})`,
      run_bodies: `insert into run_bodies values ($1, '{66}', decode(repeat('00', 66), 'hex'))`,
      batches: `insert into batches values ($1 + 1, ${hash}, 0, decode(repeat('00', 64), 'hex'))`,
    };
    const next = author.more(1);
    for (const [table, insert] of Object.entries(rows)) {
      await writer.query(insert, [head.size]);
      await assert.rejects(ledger.append(next), {
        code: 'ledger.tampered',
        message: /no collector wrote them.*verify/s,
      });
      await owner.query(`alter table ${table} disable trigger append_only`);
      await owner.query(`delete from ${table} where ${table === 'batches' ? 'size > $1' : 'index >= $1'}`, [head.size]);
      await owner.query(`alter table ${table} enable trigger append_only`);
    }
    await ledger.append(next);
    assert.deepEqual(await missingGuards(owner), []);
  });

  test('appends into the next partition of bodies, and cannot touch the new one either', async () => {
    const { url } = await postgres.writerDatabase();
    const writer = postgres.pool(url);
    await writer.query('select ensure_body_partition(1000000)');
    await writer.query(`insert into run_bodies values (1000000, '{66}', decode(repeat('00', 66), 'hex'))`);
    for (const sql of [
      'truncate run_bodies_000001',
      'delete from run_bodies_000001',
      'drop table run_bodies_000001',
      'alter table run_bodies_000001 disable trigger all',
    ]) {
      await assert.rejects(tryAlone(writer, sql), { code: refused }, sql);
    }
  });

  test('makes no partitions for indexes that are far from coming', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    const far = 'select ensure_body_partition(3000000)';
    await assert.rejects(postgres.pool(url).query(far), /too far from the end of the ledger/);
    await postgres.pool(ownerUrl).query(far);
  });

  test('is not misled into functions that another user put in the way', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    const strangerUrl = await postgres.stranger(ownerUrl);
    const writer = postgres.pool(url);
    const shadow = `create function pg_temp.to_regclass(text) returns regclass language sql as $$ select 'entry_runs'::regclass $$`;
    await writer.query(
      `${shadow}; set search_path = pg_temp, public; select public.ensure_body_partition(1000000); reset search_path`,
    );
    await writer.query(`insert into run_bodies values (1000000, '{66}', decode(repeat('00', 66), 'hex'))`);
    await assert.rejects(postgres.pool(strangerUrl).query('select ensure_body_partition(2000000)'), { code: refused });
  });

  test("reads entries also where functions are not everybody's by default", async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    await postgres.pool(ownerUrl).query('revoke execute on all functions in schema public from public');
    await grantToWriter({ url: ownerUrl, applicationName: 'test' }, new URL(url).username);
    const { rows } = await postgres
      .pool(url)
      .query('select count(*) as n from entries join entries_between(0, 9) using (index)');
    assert.deepEqual(rows, [{ n: 0 }]);
  });

  test('has a list that names every table there is', async () => {
    const owner = postgres.pool(await postgres.migratedDatabase());
    const { rows } = await owner.query<{ name: string }>(
      `select relname as name from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f') and not relispartition`,
    );
    assert.deepEqual(
      rows.map(({ name }) => name).filter((name) => !Object.hasOwn(tableAccess, name)),
      [],
      'tables that collector/postgres/roles.ts does not mention',
    );
    assert.deepEqual(
      Object.keys(tableAccess).filter((name) => !rows.some((row) => row.name === name)),
      [],
    );
  });

  test('has exactly the rights of the list, whatever it had before, and granting again changes nothing', async () => {
    const ownerUrl = await postgres.migratedDatabase();
    const url = await postgres.stranger(ownerUrl);
    const [owner, name] = [postgres.pool(ownerUrl), new URL(url).username];
    await owner.query(`create table unlisted (x int); grant all on all tables in schema public to ${name}, public;
      grant update (leaf_hashes) on entry_runs to ${name}; grant create on schema public to ${name}`);
    assert.equal(await grantToWriter({ url: ownerUrl, applicationName: 'test' }, name), true);
    const writer = postgres.pool(url);
    assert.deepEqual(await rewritingPowers(writer), []);
    await assert.rejects(writer.query('select from unlisted'), { code: refused });
    await assert.rejects(writer.query(`update entry_runs set leaf_hashes = ''`), { code: refused });
    await writer.query('update author_heads set seq = seq; delete from coverage; select from schema_migrations');
    assert.equal(await grantToWriter({ url: ownerUrl, applicationName: 'test' }, name), false);
  });

  test('has no power to rewrite by way of another role either, or a start would say so', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    const [writer, owner, name] = [postgres.pool(url), postgres.pool(ownerUrl), new URL(url).username];
    const other = new URL(await postgres.stranger(ownerUrl)).username;
    const ways: readonly (readonly [string, string, RegExp])[] = [
      [
        `grant ${other} to ${name}; grant delete on tiles to ${other}`,
        `revoke all on tiles from ${other}`,
        /may delete tiles/,
      ],
      [`grant update (hashes) on tiles to ${other}`, `revoke all on tiles from ${other}`, /may update hashes of tiles/],
      [
        `grant update (origin) on ledger_head to ${other}`,
        `revoke all on ledger_head from ${other}`,
        /update origin of/,
      ],
      [
        `alter function refuse_change() owner to ${other}`,
        'alter function refuse_change() owner to current_user',
        /owns the function refuse_change/,
      ],
      [`alter role ${other} superuser`, `alter role ${other} nosuperuser`, /may become \w+, a superuser/],
    ];
    assert.deepEqual(await rewritingPowers(writer), []);
    for (const [give, take, power] of ways) {
      await owner.query(give);
      assert.match((await rewritingPowers(writer)).join(), power, give);
      await owner.query(take);
      assert.deepEqual(await rewritingPowers(writer), [], take);
    }
  });

  test('that several collectors arrange at once is arranged', async () => {
    const ownerUrl = await postgres.migratedDatabase();
    const name = new URL(await postgres.stranger(ownerUrl)).username;
    const owner = { url: ownerUrl, applicationName: 'test' };
    const changed = await Promise.all(Array.from({ length: 5 }, () => grantToWriter(owner, name)));
    assert.equal(changed.filter(Boolean).length, 1);
  });

  test('gives up what it owned when it was the only user', async () => {
    const ownerUrl = await postgres.emptyDatabase();
    const url = await postgres.stranger(ownerUrl);
    const name = new URL(url).username;
    await postgres.pool(ownerUrl).query(`grant create on schema public to ${name}`);
    // The line of jobs has a schema of its own.
    await postgres.pool(ownerUrl).query(`grant create on database ${new URL(ownerUrl).pathname.slice(1)} to ${name}`);
    const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-roles-'));
    const warned = await startAndStop(dataDir, { DATABASE_URL: url });
    assert.deepEqual(
      warned.map(({ event }) => event),
      ['database.role_may_rewrite'],
    );
    assert.match(JSON.stringify(warned), /owns entry_runs.*DATABASE_OWNER_URL/s);
    assert.doesNotMatch(JSON.stringify(warned), /word/);
    const settled = await startAndStop(dataDir, { DATABASE_URL: url, DATABASE_OWNER_URL: ownerUrl });
    assert.deepEqual(settled, []);
    assert.deepEqual(await rewritingPowers(postgres.pool(url)), []);
    // From now on the owner's password is not needed by a collector that has nothing to migrate.
    assert.deepEqual(await startAndStop(dataDir, { DATABASE_URL: url }), []);
    await rm(dataDir, { recursive: true, force: true });
  });

  test('is told how to get its rights when it has none', async () => {
    const url = await postgres.stranger(await postgres.migratedDatabase());
    const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-roles-'));
    await assert.rejects(startAndStop(dataDir, { DATABASE_URL: url }), {
      code: 'database.migration',
      message: /DATABASE_OWNER_URL/,
    });
    await assert.rejects(startAndStop(dataDir, { DATABASE_OWNER_URL: url }), {
      code: 'validation.config',
      message: /DATABASE_URL/,
    });
    await rm(dataDir, { recursive: true, force: true });
  });

  test("is set apart where the schema was not the owner's, as before PostgreSQL 15, once that is mended", async () => {
    const adminUrl = await postgres.emptyDatabase();
    const [url, ownerUrl] = [await postgres.stranger(adminUrl), await postgres.stranger(adminUrl)];
    const [admin, owner] = [postgres.pool(adminUrl), new URL(ownerUrl).username];
    const database = new URL(adminUrl).pathname.slice(1);
    const adminName = await currentUser(admin);
    await admin.query(`alter database ${database} owner to ${owner}; alter schema public owner to "${adminName}"`);
    const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-roles-'));
    const env = { DATABASE_URL: url, DATABASE_OWNER_URL: ownerUrl };
    await assert.rejects(startAndStop(dataDir, env), {
      code: 'database.migration',
      message: /database\.ownerUrl.*alter schema public owner to/,
    });
    await admin.query('grant create on schema public to public');
    assert.match(JSON.stringify(await startAndStop(dataDir, env)), /may make functions and tables in the schema/);
    await admin.query(`alter schema public owner to ${owner}`);
    assert.deepEqual(await startAndStop(dataDir, env), []);
    assert.deepEqual(await rewritingPowers(postgres.pool(url)), []);
    await admin.query(
      `alter database ${database} owner to "${adminName}"; reassign owned by ${owner} to "${adminName}"`,
    );
    await rm(dataDir, { recursive: true, force: true });
  });

  test('of a superuser is no protection, and a start says so', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-roles-'));
    const warned = await startAndStop(dataDir, { DATABASE_URL: await postgres.emptyDatabase() });
    assert.match(JSON.stringify(warned), /database\.role_may_rewrite.*is a superuser/);
    await rm(dataDir, { recursive: true, force: true });
  });
});

/** On a connection that nobody uses afterwards: some attacks change its state. */
async function tryAlone(pool: Db, sql: string): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query(sql);
  } finally {
    client.release(true);
  }
}

async function contents(owner: Db) {
  const tables = await Promise.all(
    ledgerTables.map((table) =>
      owner.query(`select md5(string_agg(t::text, '' order by t::text)) as all from ${table} t`),
    ),
  );
  const guards = await owner.query(
    `select tgrelid::regclass::text as on, tgname, tgenabled from pg_trigger where not tgisinternal order by 1, 2`,
  );
  return [...tables, guards].map(({ rows }) => rows);
}
