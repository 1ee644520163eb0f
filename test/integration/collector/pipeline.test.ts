import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { runTogether, type Step } from '../../../collector/postgres/pipeline.ts';
import { connectClient } from '../../../collector/postgres/pool.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';

let postgres: TestPostgres;
let client: Awaited<ReturnType<typeof connectClient>>;

before(async () => {
  postgres = await startPostgres();
  client = await connectClient({ url: await postgres.emptyDatabase(), applicationName: 'test' });
  await client.query('create table kept (id int primary key)');
});
after(async () => {
  await client.end();
  await postgres.stop();
});

const put = (id: number): Step => ({ text: 'insert into kept (id) values ($1)', values: [id] });
const divide = (by: number): Step => ({ text: 'select 1 / $1::int', values: [by] });
const remove = (id: number): Step => ({ text: 'delete from kept where id = $1', values: [id] });

async function statements(): Promise<number> {
  const { rows } = await client.query<{ count: string }>('select count(*) from pg_prepared_statements');
  return Number(rows[0]?.count);
}

async function kept(): Promise<number[]> {
  const { rows } = await client.query<{ id: number }>('select id from kept order by id');
  return rows.map(({ id }) => id);
}

test('what was sent together is there together or not at all, also when the same statement comes twice', async () => {
  await runTogether(client, [put(1), put(2), divide(1), put(3)]);
  assert.deepEqual(await kept(), [1, 2, 3]);
  await assert.rejects(runTogether(client, [put(4), divide(0), put(5)]), { code: '22012' });
  await assert.rejects(runTogether(client, [put(4), put(3), put(5)]), { code: '23505' });
  assert.deepEqual(await kept(), [1, 2, 3]);
});

test('however often it fails, and wherever, the server is left with one statement of each kind', async () => {
  for (let round = 0; round < 20; round++) {
    await assert.rejects(runTogether(client, [divide(0), remove(1), put(9)]), { code: '22012' });
    await assert.rejects(runTogether(client, [divide(1), { text: 'select nothing there' }, remove(2)]), {
      code: '42703',
    });
  }
  assert.deepEqual(await kept(), [1, 2, 3]);
  await runTogether(client, [remove(1), divide(1), put(9)]);
  assert.deepEqual(await kept(), [2, 3, 9]);
  assert.equal(await statements(), 3);
});

test('a server that was made to forget them is told them again', async () => {
  await client.query('deallocate all');
  await assert.rejects(runTogether(client, [divide(1)]), { code: '26000' });
  await runTogether(client, [divide(1), put(11)]);
  await runTogether(client, [divide(1), remove(11)]);
});

test('statements of others in between are nobody else’s', async () => {
  await client.query('select $1::int', [1]);
  await client.query({ name: 'own', text: 'select $1::text', values: ['x'] });
  await runTogether(client, [put(10), { text: 'select 2' }]);
  await client.query('select $1::int', [2]);
  await runTogether(client, [{ text: 'select 2' }, remove(10)]);
  assert.deepEqual(await kept(), [2, 3, 9]);
});
