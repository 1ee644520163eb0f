import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { storeScanner } from '../../../agent/store-scanner.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { agentCommand } from '../../agent/program.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { checksOf, clock, nthRow, type SigilTable, secret, sigilTable, TableWatch } from './sigil-table.ts';

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

/** Changes row `index`: `set` of an update, with the record as text `$1`. */
async function spoil(table: SigilTable, index: number, set: string, record?: unknown): Promise<void> {
  const { auth_hash } = nthRow(index);
  const values =
    record === undefined ? [auth_hash] : [auth_hash, typeof record === 'string' ? record : JSON.stringify(record)];
  await table.sql(`update "App".sigils set symbol = 'X${index}', ${set} where auth_hash = $1`, values);
}

function recordOf(index: number): Record<string, unknown> {
  const { record, checksum, signature } = nthRow(index);
  return { ...JSON.parse(record), symbol: `X${index}`, checksum, signature };
}

async function refusal(work: Promise<unknown>): Promise<AppError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof AppError, 'it was not refused');
  return error;
}

for (const recordType of ['json', 'jsonb', 'text', 'bytea']) {
  test(`a sound table of ${recordType} records has no findings`, async () => {
    const table = await sigilTable(postgres, { recordType });
    await table.put(0, 40);
    const { findings, records, sigils, tables, settled } = await new TableWatch(table.place).scan('full');
    assert.deepEqual(findings, []);
    assert.deepEqual([records, sigils, tables, settled], [40, 40, 1, true]);
  });
}

test('each kind of damage is found, under the key of its row', async () => {
  const table = await sigilTable(postgres, { recordType: 'text' });
  await table.put(0, 20);
  await spoil(table, 0, 'record = $2', 'no json');
  await spoil(table, 1, 'record = $2', [1]);
  await spoil(table, 2, 'record = $2', { ...recordOf(2), id: 7 });
  await spoil(table, 3, 'record = $2', { ...recordOf(3), id: undefined });
  await spoil(table, 4, 'record = $2', { ...recordOf(4), symbol: 'OTHER' });
  await spoil(table, 5, 'record = $2', { ...recordOf(5), tenantId: 'vega' });
  await spoil(table, 6, 'record = $2', { ...recordOf(6), data: { a: 'forged' } });
  await spoil(table, 7, 'record = $2, checksum = null', { ...recordOf(7), checksum: undefined, data: { a: 'forged' } });
  await spoil(table, 8, 'record = null');
  await spoil(table, 9, 'record = $2', JSON.stringify(recordOf(9)).replace('{', '{"id":"twice",'));
  await spoil(table, 10, 'record = $2, signature = null', { ...recordOf(10), signature: undefined });
  const { findings } = await new TableWatch(table.place).scan('full');
  assert.deepEqual(checksOf(findings), [
    'checksum X6',
    'json X0',
    'key_value_agreement X4',
    'required_field X10',
    'required_field X3',
    'required_field X8',
    'schema X1',
    'schema X2',
    'schema X9',
    'signature X6',
    'signature X7',
    'tenant_isolation X5',
  ]);
  const key = findings.find(({ check }) => check === 'json')?.key;
  assert.deepEqual(JSON.parse(key ?? ''), { tenant: 'lyra', symbol: 'X0', auth_hash: nthRow(0).auth_hash });
});

test('a column that does not say what the record says is found', async () => {
  const table = await sigilTable(postgres);
  await table.put(0, 6);
  const record = (index: number) => ({ ...recordOf(index), symbol: `X${index}` });
  await spoil(table, 0, `record = $2, checksum = 'other'`, record(0));
  await spoil(table, 2, 'record = $2, signature = null', record(2));
  const { findings } = await new TableWatch(table.place).scan('full');
  assert.deepEqual(checksOf(findings), ['key_value_agreement X0', 'key_value_agreement X2']);
  assert.deepEqual(findings.map(({ expected }) => expected).sort(), ['null', 'other']);
});

test('a table without tenants is read by any unique key', async () => {
  const table = await sigilTable(postgres, { key: 'unique (auth_hash)' });
  await table.put(0, 10);
  const { tenant: _, ...others } = table.place.columns;
  const watch = new TableWatch({ ...table.place, columns: others });
  assert.deepEqual((await watch.scan('full')).findings, []);
  await spoil(table, 3, 'signature = null');
  const { findings } = await watch.scan('full');
  assert.deepEqual(findings.map(({ check }) => check).sort(), ['key_value_agreement', 'required_field']);
  assert.equal(findings[0]?.key, JSON.stringify({ auth_hash: nthRow(3).auth_hash }));
});

test('10,000 rows are read page by page, each once', async () => {
  const table = await sigilTable(postgres);
  await table.put(0, 10_000);
  let pages = 0;
  const result = await new TableWatch(table.place).scan('full', () => {
    pages += 1;
  });
  assert.deepEqual([result.records, result.findings], [10_000, []]);
  assert.ok(pages >= 10_000 / limits.tablePageRows, `${pages} pages`);
});

test('a record that is too long is told and not fetched, and long ones come a few at a time', async () => {
  const table = await sigilTable(postgres, { recordType: 'text' });
  await table.put(0, 8);
  await table.sql(`update "App".sigils set record = rpad(record, 700000)`);
  await spoil(table, 3, `record = repeat(' ', ${limits.maxTableRecordBytes + 1})`);
  let pages = 0;
  const { findings, records } = await new TableWatch(table.place).scan('full', () => {
    pages += 1;
  });
  assert.deepEqual(checksOf(findings), ['schema X3']);
  assert.equal(findings[0]?.actual, `${limits.maxTableRecordBytes + 1} bytes`);
  assert.equal(records, 8);
  assert.ok(pages >= 4, `${pages} pages`);
});

test('a column that is too long is told', async () => {
  const table = await sigilTable(postgres);
  await table.put(0, 4);
  await spoil(table, 1, `checksum = repeat('a', 5000)`);
  assert.deepEqual(checksOf((await new TableWatch(table.place).scan('full')).findings), ['schema X1']);
});

describe('each minute', () => {
  test('what changed since is checked, and what was mended or removed is told', async () => {
    const table = await sigilTable(postgres);
    await table.sql(`alter table "App".sigils alter updated_at set default now() - interval '1 day'`);
    await table.put(0, 100);
    const watch = new TableWatch(table.place);
    await watch.scan('full');
    assert.equal((await watch.scan('incremental')).records, 100, 'within the overlap');
    await table.sql(`alter table "App".sigils alter updated_at set default now()`);
    await table.put(100, 102);
    await watch.scan('incremental');
    assert.equal((await watch.scan('incremental')).records, 2);
    await spoil(table, 0, `checksum = 'x', updated_at = now()`);
    await spoil(table, 1, `checksum = 'x', updated_at = now()`);
    assert.equal((await watch.scan('incremental')).findings.length, 3);
    // What was mended or removed says nothing of when.
    await table.sql(`delete from "App".sigils where symbol = 'X1'`);
    await table.sql(`update "App".sigils set symbol = 'S0', checksum = $1 where symbol = 'X0'`, [nthRow(0).checksum]);
    await watch.scan('incremental');
    assert.deepEqual(watch.open, []);
  });

  test('a row of the future does not hide those of the present', async () => {
    const table = await sigilTable(postgres);
    await table.put(0, 3);
    await table.sql(`update "App".sigils set updated_at = 'infinity' where auth_hash = $1`, [nthRow(0).auth_hash]);
    const watch = new TableWatch(table.place);
    await watch.scan('full');
    await table.put(3, 4);
    await spoil(table, 3, `checksum = 'x'`);
    assert.ok((await watch.scan('incremental')).findings.length > 0);
  });

  test('without updatedAt the table is only reached', async () => {
    const table = await sigilTable(postgres);
    await table.put(0, 3);
    const { updatedAt: _, ...others } = table.place.columns;
    const watch = new TableWatch({ ...table.place, columns: others });
    await watch.scan('full');
    assert.equal((await watch.scan('incremental')).records, 0);
    await table.sql('drop table "App".sigils');
    assert.equal((await refusal(watch.scan('incremental'))).code, 'store.missing');
  });
});

describe('what cannot be watched is refused', () => {
  test('a role that could write, by whatever right', async () => {
    const table = await sigilTable(postgres);
    const other = new URL(await postgres.stranger(table.ownerUrl)).username;
    const grants: [grant: string, revoke: string, says: RegExp][] = [
      [
        `grant insert on "App".sigils to ${table.role}`,
        `revoke insert on "App".sigils from ${table.role}`,
        /revoke insert/,
      ],
      [
        `grant update (record) on "App".sigils to ${table.role}`,
        `revoke update (record) on "App".sigils from ${table.role}`,
        /revoke update/,
      ],
      [`grant truncate on "App".sigils to public`, `revoke truncate on "App".sigils from public`, /or from public/],
      [
        `grant pg_write_all_data to ${table.role}`,
        `revoke pg_write_all_data from ${table.role}`,
        /delete, insert, update/,
      ],
      [
        `grant delete on "App".sigils to ${other}; grant ${other} to ${table.role}; alter role ${table.role} noinherit`,
        `revoke delete on "App".sigils from ${other}; alter role ${table.role} inherit`,
        new RegExp(`member of ${other}`),
      ],
      [
        `alter table "App".sigils owner to ${other}`,
        `alter table "App".sigils owner to current_user`,
        /owns the table/,
      ],
    ];
    for (const [grant, revoke, says] of grants) {
      await table.sql(grant);
      const error = await refusal(new TableWatch(table.place).scan('incremental'));
      assert.equal(error.code, 'validation.config');
      assert.match(error.message, says);
      await table.sql(revoke);
      if (grant.includes('owner')) await table.sql(`revoke all on "App".sigils from ${other}`);
    }
    await new TableWatch(table.place).scan('full');
    const superuser = await refusal(new TableWatch({ ...table.place, url: table.ownerUrl }).scan('full'));
    assert.match(superuser.message, /superuser/);
  });

  test('a table without a key, without the columns, or that is none', async () => {
    const table = await sigilTable(postgres, { key: 'check (true)' });
    const scan = (place: object) => refusal(new TableWatch({ ...table.place, ...place }).scan('full'));
    assert.equal((await scan({})).code, 'store.not_a_store');
    assert.match((await scan({})).message, /neither a primary key nor a unique index/);
    await table.sql('create unique index on "App".sigils (auth_hash)');
    assert.match((await scan({ columns: { ...table.place.columns, symbol: 'sym' } })).message, /no column sym/);
    assert.match((await scan({ columns: { ...table.place.columns, updatedAt: 'symbol' } })).message, /a timestamp/);
    assert.equal((await scan({ table: `App.x"; drop table "App".sigils; --` })).code, 'store.missing');
    await table.sql('create view "App".seen as select * from "App".sigils');
    assert.match((await scan({ table: 'App.seen' })).message, /is not a table/);
  });

  test('rows that a policy hides', async () => {
    const table = await sigilTable(postgres);
    await table.put(0, 3);
    await table.sql(
      'alter table "App".sigils enable row level security; create policy hidden on "App".sigils using (false)',
    );
    const error = await refusal(new TableWatch(table.place).scan('full'));
    assert.equal(error.code, 'store.unreadable');
    assert.match(error.message, /row-level security/);
  });

  test('a database that is not there, or lets nobody in, without telling the password', async () => {
    const table = await sigilTable(postgres);
    const urls = [
      Object.assign(new URL(table.place.url ?? ''), { port: '1' }),
      Object.assign(new URL(table.place.url ?? ''), { password: 'not-the-w0rd' }),
    ];
    for (const { href } of urls) {
      const error = await refusal(new TableWatch({ ...table.place, url: href }).scan('full'));
      assert.equal(error.code, 'store.unreadable');
      assert.doesNotMatch(error.message, /not-the-w0rd|:word/);
    }
  });
});

test('a connection that is lost in the middle makes the store unreadable, and the next scan reads it', async () => {
  const table = await sigilTable(postgres);
  await table.put(0, 2_000);
  const watch = new TableWatch(table.place);
  let killed: Promise<unknown> | undefined;
  const scan = watch.scan('full', () => {
    killed ??= table.sql('select pg_terminate_backend(pid) from pg_stat_activity where usename = $1', [table.role]);
  });
  assert.equal((await refusal(scan)).code, 'store.unreadable');
  await killed;
  assert.equal((await watch.scan('full')).records, 2_000);
});

test('a scan that is told to stop ends with the reason', async () => {
  const table = await sigilTable(postgres);
  await table.put(0, 2_000);
  const stop = new AbortController();
  const reason = new Error('stopping');
  const scanner = storeScanner({ name: 'rows', place: { postgres: table.place }, secrets: [secret], clock });
  const request = { mode: 'full', state: null, openFindings: [], signal: stop.signal } as const;
  await assert.rejects(scanner.scan({ ...request, onProgress: () => stop.abort(reason) }), reason);
  await assert.rejects(scanner.scan(request), reason);
});

test('partitions are read as one table', async () => {
  const table = await sigilTable(postgres);
  await table.put(0, 30);
  await table.sql(`alter table "App".sigils rename to plain`);
  await table.sql(`create table "App".sigils (like "App".plain, primary key (tenant, symbol, auth_hash)) partition by hash (auth_hash);
    create table "App".s0 partition of "App".sigils for values with (modulus 2, remainder 0);
    create table "App".s1 partition of "App".sigils for values with (modulus 2, remainder 1);
    insert into "App".sigils select * from "App".plain; grant select on "App".sigils to ${table.role}`);
  const { records, tables, findings } = await new TableWatch(table.place).scan('full');
  assert.deepEqual([records, tables, findings], [30, 2, []]);
  await table.sql(`grant delete on "App".s1 to ${table.role}`);
  assert.match((await refusal(new TableWatch(table.place).scan('full'))).message, /revoke delete/);
});

test('the command line scans a table, and doctor says what is wrong with one', async (t) => {
  const table = await sigilTable(postgres);
  await table.put(0, 5);
  await spoil(table, 1, 'signature = null');
  const dir = await mkdtemp(join(tmpdir(), 'sigilwatch-tables-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const urlFile = join(dir, 'url');
  await writeFile(urlFile, `${table.place.url}\n`);
  const { url: _, ...place } = { ...table.place, urlFile };
  const config = join(dir, 'agent.yaml');
  const stores = { rows: { postgres: place } };
  await writeFile(config, JSON.stringify({ dataDir: join(dir, 'data'), sigils: { stores, secrets: [secret] } }));
  const run = await agentCommand(['--config', config, 'integrity', 'run', '--node', 'lyra']);
  assert.equal(run.code, 1, run.stderr);
  assert.match(run.stdout, /store rows: 5 records \(5 sigils\)/);
  const healthy = await agentCommand(['--config', config, 'doctor']);
  assert.match(
    healthy.stdout,
    /✓ sigil store rows .*App\.sigils at .* rows by tenant, symbol, auth_hash; amcheck cannot be run/,
  );
  await table.sql(`grant update on "App".sigils to ${table.role}`);
  const harmful = await agentCommand(['--config', config, 'doctor']);
  assert.match(harmful.stdout, /✗ sigil store rows .*revoke update on App\.sigils/);
  const refused = await agentCommand(['--config', config, 'integrity', 'run', '--node', 'lyra']);
  assert.equal(refused.code, 2, refused.stdout);
});

describe('amcheck', () => {
  const grants = (role: string) => `create extension amcheck;
    grant execute on function bt_index_check(regclass, boolean) to ${role};
    grant execute on function verify_heapam to ${role}`;

  test('finds nothing in a sound table', async () => {
    const table = await sigilTable(postgres);
    await table.put(0, 500);
    await table.sql(grants(table.role));
    assert.deepEqual((await new TableWatch(table.place).scan('full')).findings, []);
  });

  test('finds an index that lacks rows, until it is made anew', async () => {
    const table = await sigilTable(postgres);
    await table.sql(grants(table.role));
    await table.sql(
      `create function "App".sorted(text) returns text immutable language plpgsql as 'begin return $1; end'`,
    );
    await table.sql('create index broken on "App".sigils ("App".sorted(symbol))');
    await table.put(0, 500);
    await table.sql(
      `create or replace function "App".sorted(text) returns text immutable language plpgsql as 'begin return md5($1); end'`,
    );
    const watch = new TableWatch(table.place);
    const { findings } = await watch.scan('full');
    assert.deepEqual(
      findings.map(({ check, file }) => [check, file]),
      [['index_corrupt', '"App".broken']],
    );
    assert.match(findings[0]?.detail ?? '', /^amcheck: .*lacks matching index tuple/);
    assert.deepEqual((await watch.scan('incremental')).cleared, []);
    await table.sql('reindex index "App".broken');
    await watch.scan('full');
    assert.deepEqual(watch.open, []);
  });
});
