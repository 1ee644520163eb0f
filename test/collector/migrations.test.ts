import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contracts, migrationsDir, readMigrations } from '../../collector/postgres/migrate.ts';

/** The last one that was written before a collector of the version before was promised to run on. */
const lastBeforeThePromise = 25;

/** What takes away or narrows something that the version before may use. Comments are not looked at. */
const narrowing =
  /\b(drop\s+(table|view|materialized|column|function|procedure|type|schema|domain)|rename\s+(to|column|constraint)|alter\s+column\s+\w+\s+(type|set\s+data|set\s+not\s+null)|revoke\s)/i;

const withoutComments = (sql: string): string => sql.replace(/--.*$/gm, '').replace(/\/\*[\s\S]*?\*\//g, '');

test('a migration that takes something away says so in its first line, and no other claims to', async () => {
  const migrations = await readMigrations(migrationsDir);
  for (const migration of migrations.filter(({ version }) => version > lastBeforeThePromise)) {
    const narrows = narrowing.test(withoutComments(migration.sql));
    const wanted = narrows ? 'takes something away: begin it with "-- contracts: WHY"' : 'takes nothing away';
    assert.equal(contracts(migration), narrows, `${migration.file} ${wanted} (docs/upgrades.md)`);
  }
});

test('what takes something away is told from what adds something', () => {
  const cases: readonly (readonly [boolean, string])[] = [
    [true, 'drop table operator_tokens;'],
    [true, 'alter table breakers drop column snapshot, drop column writer;'],
    [true, 'ALTER TABLE a\n  RENAME TO b;'],
    [true, 'alter table a alter column b set not null'],
    [false, '-- drop table a;\ncreate table b (id int not null);'],
    [false, 'alter table a add column b integer;'],
    [false, 'drop index entries_by_kind; create index entries_by_time on entries (at);'],
  ];
  for (const [narrows, sql] of cases) assert.equal(narrowing.test(withoutComments(sql)), narrows, sql);
});

test('only the first line of a migration says that it contracts, and it has to say why', () => {
  assert.equal(contracts({ sql: '-- contracts: tokens are kept elsewhere since 0.2\ndrop table a;' }), true);
  assert.equal(contracts({ sql: '-- contracts:\ndrop table a;' }), false);
  assert.equal(contracts({ sql: 'create table a ();\n-- contracts: no' }), false);
});
