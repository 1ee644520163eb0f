import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { systemClock } from '../../../collector/clock.ts';
import { migrate, migrationsDir, readMigrations } from '../../../collector/postgres/migrate.ts';
import { connectClient } from '../../../collector/postgres/pool.ts';
import { fromSource } from '../../from-source.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';

const run = promisify(execFile);
let postgres: TestPostgres;
let dir: string;

before(async () => {
  postgres = await startPostgres();
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-migrations-'));
});
after(async () => {
  await postgres.stop();
  await rm(dir, { recursive: true, force: true });
});

const applicationName = 'test';

async function rowsOf(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = await connectClient({ url, applicationName });
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function copyOfMigrations(name: string): Promise<string> {
  const copy = join(dir, name);
  await cp(migrationsDir, copy, { recursive: true });
  return copy;
}

test('migrating twice applies every file once and records checksum and duration', async () => {
  const url = await postgres.emptyDatabase();
  const migrations = await readMigrations(migrationsDir);
  assert.deepEqual(await migrate({ url, applicationName }, migrations, systemClock), migrations);
  assert.deepEqual(await migrate({ url, applicationName }, migrations, systemClock), []);
  const rows = await rowsOf(url, 'select version, checksum, duration_ms from schema_migrations order by version');
  assert.deepEqual(
    rows.map(({ version, checksum }) => ({ version, checksum })),
    migrations.map(({ version, checksum }) => ({ version, checksum })),
  );
  assert.ok(rows.every((row) => typeof row.duration_ms === 'number'));
});

test('an edited file is refused with its name and both checksums', async () => {
  const url = await postgres.migratedDatabase();
  const edited = await copyOfMigrations('edited');
  const [first] = await readMigrations(edited);
  assert.ok(first);
  await writeFile(join(edited, first.file), `${first.sql}\n-- harmless\n`);
  const migrations = await readMigrations(edited);
  await assert.rejects(migrate({ url, applicationName }, migrations, systemClock), (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error);
    assert.equal(error.code, 'database.migration');
    assert.match(error.message, new RegExp(first.file));
    assert.match(error.message, new RegExp(first.checksum));
    assert.match(error.message, new RegExp(migrations[0]?.checksum ?? 'none'));
    return true;
  });
});

test('a database that a newer program migrated is refused', async () => {
  const url = await postgres.migratedDatabase();
  const known = await readMigrations(migrationsDir);
  await assert.rejects(migrate({ url, applicationName }, known.slice(0, -1), systemClock), {
    code: 'database.migration',
    message: /newer collector/,
  });
});

test('a failing file leaves nothing of itself and everything before it', async () => {
  const url = await postgres.emptyDatabase();
  const broken = await copyOfMigrations('broken');
  const known = await readMigrations(broken);
  const file = `${String(known.length + 1).padStart(4, '0')}_broken.sql`;
  await writeFile(join(broken, file), 'create table half (id int); select * from nowhere;');
  await assert.rejects(migrate({ url, applicationName }, await readMigrations(broken), systemClock), {
    code: 'database.migration',
    message: new RegExp(`${file} failed and was rolled back.*nowhere`),
  });
  assert.deepEqual(await rowsOf(url, `select to_regclass('half') as half`), [{ half: null }]);
  assert.deepEqual(await rowsOf(url, 'select count(*) as applied from schema_migrations'), [{ applied: known.length }]);
});

test('a migration that contracts waits for no collector to run, and says which do; any other does not mind them', async () => {
  const url = await postgres.emptyDatabase();
  const dir = await copyOfMigrations('contracting');
  const known = (await readMigrations(dir)).length;
  const numbered = (number: number, name: string): string => `${String(number).padStart(4, '0')}_${name}.sql`;
  const [more, file] = [numbered(known + 1, 'more'), numbered(known + 2, 'away')];
  await migrate({ url, applicationName }, await readMigrations(dir), systemClock);
  const running = await connectClient({ url, applicationName: `${applicationName} 0.0.9 01234567` });
  try {
    await writeFile(join(dir, more), 'create table schema_migrations_seen (id int);');
    await migrate({ url, applicationName }, await readMigrations(dir), systemClock);
    await writeFile(join(dir, file), '-- contracts: nobody asks for it since 0.1\ndrop table schema_migrations_seen;');
    await assert.rejects(migrate({ url, applicationName }, await readMigrations(dir), systemClock), {
      code: 'database.migration',
      message: new RegExp(`${file} takes away .* 1 still runs \\(test 0\\.0\\.9 .*stop them all`),
    });
    assert.deepEqual(await rowsOf(url, 'select count(*) as applied from schema_migrations'), [{ applied: known + 1 }]);
  } finally {
    await running.end();
  }
  const applied = await migrate({ url, applicationName }, await readMigrations(dir), systemClock);
  assert.deepEqual(
    applied.map((one) => one.file),
    [file],
  );
});

test('two programs that start at once apply every file once', async () => {
  const url = await postgres.emptyDatabase();
  const program = fileURLToPath(new URL('./migrate-once.ts', import.meta.url));
  const outputs = await Promise.all([1, 2, 3].map(() => run(process.execPath, [...fromSource(program), url])));
  const counts = outputs.map(({ stdout }) => Number(stdout)).sort();
  const { length } = await readMigrations(migrationsDir);
  assert.deepEqual(counts, [0, 0, length]);
});

test('file names without a number, and gaps between them, are refused', async () => {
  const named = await copyOfMigrations('named');
  await writeFile(join(named, 'extra.sql'), '');
  await assert.rejects(readMigrations(named), { code: 'database.migration', message: /extra\.sql/ });
  const gap = await copyOfMigrations('gap');
  await writeFile(join(gap, '0099_later.sql'), '');
  await assert.rejects(readMigrations(gap), { code: 'database.migration', message: /0099_later\.sql/ });
});

test('a server that is not there is named with host and fix, and the password is not', async () => {
  const url = 'postgres://someone:hunter2@127.0.0.1:1/nowhere';
  await assert.rejects(migrate({ url, applicationName }, [], systemClock), (error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error);
    assert.equal(error.code, 'database.unreachable');
    assert.match(error.message, /127\.0\.0\.1:1\/nowhere.*DATABASE_URL/);
    assert.doesNotMatch(error.message, /hunter2/);
    return true;
  });
});

test('entries, bodies, tiles, batches and the tree head refuse to be changed, removed or emptied', async () => {
  const url = await postgres.migratedDatabase();
  const client = await connectClient({ url, applicationName });
  const zeros = (bytes: number) => Buffer.alloc(bytes);
  await client.query(`insert into ledger_head (origin, size, root, edge) values ('o', 1, $1, $1)`, [zeros(32)]);
  await client.query(
    `insert into entry_runs (index, width, author, seq, kind, times, entry_hashes, leaf_hashes)
     values (0, 1, 'a', 1, 'report', array[now()], $1, $1)`,
    [zeros(32)],
  );
  await client.query(`insert into run_bodies (index, ends, leaves) values (0, '{66}', $1)`, [zeros(66)]);
  await client.query('insert into tiles (level, n, hashes) values (0, 0, $1)', [zeros(8192)]);
  await client.query('insert into batches (size, root, received_ms, signature) values (1, $1, 0, $2)', [
    zeros(32),
    zeros(64),
  ]);
  const attempts = [
    `update entry_runs set author = 'b'`,
    'delete from entry_runs',
    'truncate entry_runs',
    `update run_bodies set leaves = ''`,
    'delete from run_bodies',
    'truncate run_bodies',
    'truncate run_bodies_000000',
    'update tiles set n = 1',
    'delete from tiles',
    'truncate tiles',
    'update batches set received_ms = 1',
    'delete from batches',
    'truncate batches',
    'update ledger_head set size = 0',
    'delete from ledger_head',
  ];
  for (const attempt of attempts) await assert.rejects(client.query(attempt), { code: '42501' }, attempt);
  await client.end();
});
