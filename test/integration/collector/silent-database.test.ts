import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { hasSession } from '../../../collector/postgres/asked-after.ts';
import { connectClient, createPool, type Db, withTransaction } from '../../../collector/postgres/pool.ts';
import { limits } from '../../../common/limits.ts';
import { type ChaosProxy, chaosProxy } from '../../fakes/chaos-proxy.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';

let postgres: TestPostgres;
let direct: URL;
let proxy: ChaosProxy;
const pools: Db[] = [];

before(async () => {
  postgres = await startPostgres();
  direct = new URL(await postgres.emptyDatabase());
  proxy = await chaosProxy(
    () => Number(direct.port),
    () => ({}),
  );
});

after(async () => {
  for (const pool of pools) await pool.end();
  await proxy.close();
  await postgres.stop();
});

/** Through a network that can be made to swallow everything. */
function poolOn(servers: readonly string[], silentMs: number): Db {
  const { username, password, pathname } = direct;
  const url = `postgres://${username}:${password}@${servers.join(',')}${pathname}`;
  const pool = createPool({ url, applicationName: 'test', maxConnections: 2, onIdleError: () => {}, silentMs });
  pools.push(pool);
  return pool;
}

test('a server that falls silent in the middle is given up, and the next transaction finds another', async () => {
  const pool = poolOn([`127.0.0.1:${proxy.port}`, `127.0.0.1:${direct.port}`], 4_000);
  const portOf = async () => {
    const { rows } = await pool.query<{ port: number }>('select inet_client_port() as port');
    return rows[0]?.port;
  };
  // Both are the same server: the first of the list is taken.
  await portOf();
  assert.ok(proxy.connections > 0);
  const inSilence = withTransaction(pool, async (tx) => {
    await tx.query('create temporary table noted (n int)');
    proxy.hold(true);
    await tx.query('insert into noted values (1)');
  });
  await assert.rejects(inSilence, { code: 'database.unreachable', retryable: true });
  assert.equal(typeof (await portOf()), 'number', 'the other one answers');
  proxy.hold(false);
});

test('a commit whose answer is swallowed counts as not answered, and may be made again', async () => {
  const pool = poolOn([`127.0.0.1:${proxy.port}`], 4_000);
  const silent = withTransaction(pool, async (tx) => {
    await tx.query('create table if not exists said (n int)');
    proxy.hold(true);
  });
  await assert.rejects(silent, { code: 'database.unreachable', retryable: true });
  proxy.hold(false);
  await withTransaction(pool, (tx) => tx.query('create table if not exists said (n int)'));
});

test('a long statement on a connection of its own is waited for, and a server that vanished meanwhile is not', async () => {
  const { username, password, pathname } = direct;
  const url = `postgres://${username}:${password}@127.0.0.1:${proxy.port}${pathname}`;
  const client = await connectClient({ url, applicationName: 'test', silentMs: 2_000 });
  const asked = proxy.connections;
  const { rows } = await client.query('select pg_sleep(5)::text as slept');
  assert.equal(rows.length, 1);
  assert.ok(proxy.connections > asked, 'nobody asked after it');
  proxy.hold(true);
  await assert.rejects(client.query('select 1'), /the database server has gone/);
  proxy.hold(false);
  await client.end();
});

test('a server that has this session no more, as after a failover, is one that is gone; one that refuses to say is not', async () => {
  const { username, password, host, pathname } = direct;
  const probe = (user: string, connectionTimeoutMillis = 60_000) =>
    new pg.Client({ connectionString: `postgres://${user}@${host}${pathname}`, connectionTimeoutMillis });
  const known = `${username}:${password}`;
  const client = await connectClient({ url: direct.href, applicationName: 'test' });
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  const pid = rows[0]?.pid ?? assert.fail();
  assert.equal(await hasSession(probe(known), pid), true);
  await client.end();
  await until('the session has ended', async () => !(await hasSession(probe(known), pid)));
  assert.equal(await hasSession(probe('nobody:knows'), pid), true);
});

test('no statement may take so long that its server would be given up', () => {
  assert.ok(limits.databaseSilentMs > limits.databaseStatementTimeoutMs);
  assert.ok(limits.databaseSilentMs > limits.databaseIdleMs);
});
