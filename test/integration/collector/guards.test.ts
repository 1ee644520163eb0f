import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { guardedFunctions, guardedViews, missingGuards } from '../../../collector/postgres/guards.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { startAndStop } from './warned-starts.ts';

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

describe('what guards the ledger inside the database', () => {
  test('stands in a new database, and is missed one by one when its owner takes it down', async () => {
    const owner = postgres.pool((await postgres.writerDatabase()).ownerUrl);
    assert.deepEqual(await missingGuards(owner), []);
    const { rows } = await owner.query<{ text: string }>(
      `select rtrim(pg_get_viewdef('entries'::regclass), ';') as text`,
    );
    const changes: readonly (readonly [string, string])[] = [
      ['alter table entry_runs disable trigger append_only', 'UPDATE and DELETE of entry_runs is not refused'],
      ['alter table entry_runs disable trigger follow', 'a gap between rows of entry_runs is not refused'],
      ['drop trigger append_only_all on tiles', 'TRUNCATE of tiles is not refused'],
      ['drop trigger append_only_all on run_bodies_000000', 'TRUNCATE of run_bodies_000000 is not refused'],
      ['alter table batches enable replica trigger append_only', 'UPDATE and DELETE of batches is not refused'],
      ['drop trigger forward_only on ledger_head', 'UPDATE and DELETE of ledger_head is not refused'],
      [
        `create or replace function refuse_change() returns trigger language plpgsql as 'begin return new; end'`,
        'the function refuse_change was replaced',
      ],
      ['alter table tiles enable row level security', 'tiles shows rows by policy (row-level security)'],
      ['create rule quiet as on insert to batches do instead nothing', 'batches is rewritten by the rule quiet'],
      ['alter table run_bodies drop constraint run_bodies_pkey', 'run_bodies has lost its primary key'],
      ['drop function refuse_rewind', 'the function refuse_rewind was replaced'],
      [
        `create or replace function refuse_gap() returns trigger language plpgsql as 'begin return null; end'`,
        'the function refuse_gap was replaced',
      ],
      [
        'alter function entries_between(bigint, bigint) set search_path = other, public',
        'the function entries_between was replaced',
      ],
      ['alter function refuse_gap() reset search_path', 'the function refuse_gap was replaced'],
      [
        'alter function bodies_between(bigint, bigint) rename to bodies_before',
        'the function bodies_between was replaced',
      ],
      [
        'create function chain_between(text, int, int) returns setof entries language sql as $$ select * from entries $$',
        'the function chain_between was replaced',
      ],
      [`create or replace view entries as ${rows[0]?.text} where e.author <> 'node1'`, 'the view entries was replaced'],
      ['alter view entry_bodies rename to other_bodies', 'the view entry_bodies was replaced'],
      ['drop table cosignatures', 'the table cosignatures is missing'],
    ];
    for (const [at, [change, missing]] of changes.entries()) {
      await owner.query(change);
      const found = await missingGuards(owner);
      assert.ok(found.includes(missing), `${change}: ${found.join()}`);
      assert.ok(found.length > at, `${change}: ${found.join()}`);
    }
    await owner.query('alter table tiles rename to kept; create view tiles as select * from kept');
    assert.ok((await missingGuards(owner)).includes('tiles is no table'));
  });

  test('is looked at in every view and function there is, but those that make room for bodies', async () => {
    const owner = postgres.pool(await postgres.migratedDatabase());
    const { rows } = await owner.query<{ functions: unknown; views: unknown }>(
      `select (select jsonb_object_agg(proname, encode(sha256(convert_to(prosrc, 'UTF8')), 'hex'))
                 from pg_proc where pronamespace = 'public'::regnamespace and proname !~ '_body_partition$') as functions,
              (select jsonb_object_agg(relname, encode(sha256(convert_to(regexp_replace(pg_get_viewdef(oid), '\\s+', ' ', 'g'),
                                                                         'UTF8')), 'hex'))
                 from pg_class where relnamespace = 'public'::regnamespace and relkind = 'v') as views`,
    );
    assert.deepEqual(rows, [{ functions: guardedFunctions, views: guardedViews }]);
  });

  test('is missed at the next start, which says what to do', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-roles-'));
    const env = { DATABASE_URL: url, DATABASE_OWNER_URL: ownerUrl };
    assert.deepEqual(await startAndStop(dataDir, env), []);
    await postgres.pool(ownerUrl).query('alter table entry_runs disable trigger user');
    const warned = await startAndStop(dataDir, env);
    assert.match(JSON.stringify(warned), /database\.guards_missing.*of entry_runs is not refused.*ledger verify/s);
    await rm(dataDir, { recursive: true, force: true });
  });

  test('does not hold while commits are not on disk, and a start says so', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-roles-'));
    // Nobody can be kept from changing what his own sessions begin with.
    await postgres.pool(url).query('alter role current_user set synchronous_commit = off');
    const warned = await startAndStop(dataDir, { DATABASE_URL: url, DATABASE_OWNER_URL: ownerUrl });
    assert.match(JSON.stringify(warned), /database\.not_durable.*synchronous_commit = off/s);
    await rm(dataDir, { recursive: true, force: true });
  });
});
