import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type CopiedRows, copyOut, turnsOf } from '../../../collector/postgres/copy-out.ts';
import { type Db, type Queryable, withClient } from '../../../collector/postgres/pool.ts';
import { damageOf } from '../../../collector/postgres/stored-ledger.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';

let postgres: TestPostgres;
let db: Db;
before(async () => {
  postgres = await startPostgres();
  db = postgres.pool(await postgres.emptyDatabase());
});
after(() => postgres.stop());

const rowBytes = 64 * 1024;
const rows = (count: number, column = `repeat(chr(65 + n % 26), ${rowBytes})`) =>
  `select textsend(${column}) from generate_series(0, ${count - 1}) as n`;

function begin(on: Queryable, select: string): CopiedRows<string> {
  return copyOut({ db: on, turns: turnsOf(on) }, select, (column) => column.toString('latin1'));
}

async function all(copied: CopiedRows<string>): Promise<string[]> {
  const taken: string[] = [];
  for await (const row of copied) taken.push(row);
  return taken;
}

test('rows come whole and in order, however slowly they are taken', async () => {
  const copied = begin(db, rows(400));
  let n = 0;
  for await (const row of copied) {
    assert.equal(row, String.fromCharCode(65 + (n % 26)).repeat(rowBytes));
    n += 1;
    if (n % 50 === 0) await new Promise(setImmediate);
  }
  assert.equal(n, 400);
});

test('rows without a value are left out, and so is everything where there are none', async () => {
  const odd = `case when n % 2 = 1 then 'x' || n end`;
  assert.deepEqual(await all(begin(db, rows(6, odd))), ['x1', 'x3', 'x5']);
  assert.deepEqual(await all(begin(db, rows(0))), []);
});

test('a statement that cannot begin, or fails on its way, is told to whoever takes the rows, and the connection goes on', async () => {
  await withClient(db, async (client) => {
    await assert.rejects(all(begin(client, 'select nothing from nowhere')), { code: '42P01' });
    await assert.rejects(all(begin(client, rows(300, '(1 / (250 - n))::text'))), { code: '22012' });
    assert.deepEqual(await all(begin(client, rows(1, `'next'`))), ['next']);
  });
});

test('tables that are not ours are told as such, other failures as what they are', async () => {
  const failure = async (select: string) => damageOf(await all(begin(db, select)).catch((thrown: unknown) => thrown));
  assert.equal((await failure('select nothing from nowhere'))?.code, 'ledger.tampered');
  assert.equal(await failure(rows(1, '(1 / n)::text')), undefined);
});

test('who closes early waits for nothing but the connection, which goes on', async () => {
  await withClient(db, async (client) => {
    const copied = begin(client, rows(2_000));
    for await (const row of copied) {
      assert.equal(row.length, rowBytes);
      break;
    }
    await copied.close();
    assert.deepEqual(await all(begin(client, rows(1, `'next'`))), ['next']);
  });
});

test('a connection that is cut off ends it', async () => {
  await withClient(db, async (client) => {
    const [own] = (await client.query<{ pid: number }>('select pg_backend_pid() as pid')).rows;
    assert.ok(own);
    const copied = begin(client, rows(2_000));
    const rest = copied[Symbol.asyncIterator]();
    assert.equal((await rest.next()).value?.length, rowBytes);
    await db.query('select pg_terminate_backend($1)', [own.pid]);
    await assert.rejects(all(copied), { code: 'database.unreachable' });
  });
});
