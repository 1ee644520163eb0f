import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type EmbeddedPostgres, openEmbedded } from '../../../collector/postgres/embedded.ts';
import { looseSettings } from '../../../collector/postgres/guards.ts';
import { connectClient } from '../../../collector/postgres/pool.ts';
import { runningPostmaster } from '../../../collector/postgres/postmaster.ts';
import { fromSource } from '../../from-source.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';

let root: string;
const open: EmbeddedPostgres[] = [];

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-embedded-'));
  await chmod(root, 0o755);
});
after(async () => {
  for (const server of open) await server.release();
  await rm(root, { recursive: true, force: true });
});

async function use(dataDir: string): Promise<EmbeddedPostgres> {
  return openEmbedded({ dataDir, newPassword: () => 'a-password', logger: quietLogger });
}

function pgData(dataDir: string): string {
  return join(dataDir, 'postgres', 'data');
}

async function remember(url: string): Promise<void> {
  const client = await connectClient({ url, applicationName: 'test' });
  await client.query('create table if not exists memory (word text)');
  await client.query(`insert into memory values ('kept')`);
  await client.end();
}

async function recall(url: string): Promise<number> {
  const client = await connectClient({ url, applicationName: 'test' });
  const { rowCount } = await client.query('select from memory');
  await client.end();
  return rowCount ?? 0;
}

async function settingsThatLose(url: string): Promise<readonly string[]> {
  const client = await connectClient({ url, applicationName: 'test' });
  const settings = await looseSettings(client);
  await client.end();
  return settings;
}

/** Another program that uses the server until it is told otherwise. */
async function otherUser(dataDir: string): Promise<ChildProcess> {
  const program = fileURLToPath(new URL('./use-embedded.ts', import.meta.url));
  const child = spawn(process.execPath, [...fromSource(program), dataDir], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

test('the last to leave stops the server, and what was written is there the next time, on the same port', async () => {
  const dataDir = join(root, 'last');
  const first = await use(dataDir);
  const second = await use(dataDir);
  await remember(first.url);
  assert.deepEqual(await settingsThatLose(first.url), []);
  await first.release();
  assert.equal(await recall(second.url), 1);
  await second.release();
  assert.equal(await runningPostmaster(pgData(dataDir)), undefined);
  const again = await use(dataDir);
  assert.equal(again.url, first.url);
  assert.equal(await recall(again.url), 1);
  await again.release();
});

test('password and cluster are closed to others, and a wrong password opens nothing', async () => {
  const dataDir = join(root, 'closed');
  const server = await use(dataDir);
  assert.equal((await stat(join(dataDir, 'postgres'))).mode & 0o777, 0o700);
  for (const file of ['password', 'writer-password']) {
    assert.equal((await stat(join(dataDir, 'postgres', file))).mode & 0o777, 0o600);
  }
  for (const url of [server.url, server.writerUrl]) {
    const wrong = Object.assign(new URL(url), { password: 'guess' });
    await assert.rejects(connectClient({ url: wrong.href, applicationName: 'test' }), { code: 'database.unreachable' });
  }
  await server.release();
});

test('the role that the collector works as owns nothing; a cluster that lacks it, or its password file, gets it', async () => {
  const dataDir = join(root, 'writer');
  let made = 0;
  const open = () => openEmbedded({ dataDir, newPassword: () => `password-${made++}`, logger: quietLogger });
  const first = await open();
  await remember(first.url);
  assert.deepEqual(await attributesOf(first.writerUrl), { rolsuper: false, rolcreaterole: false, rolcreatedb: false });
  await assert.rejects(recall(first.writerUrl), { code: '42501' });
  const owner = await connectClient({ url: first.url, applicationName: 'test' });
  await owner.query('alter role sigilwatch_writer superuser');
  await rm(join(dataDir, 'postgres', 'writer-password'));
  const second = await open();
  assert.notEqual(second.writerUrl, first.writerUrl);
  assert.deepEqual(await attributesOf(second.writerUrl), { rolsuper: false, rolcreaterole: false, rolcreatedb: false });
  await owner.query('drop role sigilwatch_writer');
  await owner.end();
  const third = await open();
  assert.equal(third.writerUrl, second.writerUrl);
  await attributesOf(third.writerUrl);
  assert.doesNotMatch(await readFile(join(dataDir, 'postgres', 'server.log'), 'utf8'), /password-/);
  for (const server of [first, second, third]) await server.release();
});

async function attributesOf(url: string): Promise<unknown> {
  const client = await connectClient({ url, applicationName: 'test' });
  const { rows } = await client.query(
    'select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = current_user',
  );
  await client.end();
  return rows[0];
}

test('a server left by a program that was killed is joined, and stopped by the last who uses it', async () => {
  const dataDir = join(root, 'killed');
  const killed = await otherUser(dataDir);
  const left = await runningPostmaster(pgData(dataDir));
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  const server = await use(dataDir);
  assert.deepEqual(await runningPostmaster(pgData(dataDir)), left);
  await server.release();
  assert.equal(await runningPostmaster(pgData(dataDir)), undefined);
});

test('a program that leaves does not stop the server under another', async () => {
  const dataDir = join(root, 'shared');
  const other = await otherUser(dataDir);
  const mine = await use(dataDir);
  other.stdin?.end();
  await once(other, 'exit');
  await remember(mine.url);
  await mine.release();
  assert.equal(await runningPostmaster(pgData(dataDir)), undefined);
});

test('programs that make and start the same cluster at once all get to use it', async () => {
  const dataDir = join(root, 'race');
  const servers = await Promise.all([otherUser(dataDir), otherUser(dataDir), otherUser(dataDir)]);
  for (const server of servers) server.stdin?.end();
  await Promise.all(servers.map((server) => once(server, 'exit')));
  assert.equal(await runningPostmaster(pgData(dataDir)), undefined);
  assert.deepEqual(
    (await readdir(dataDir)).filter((name) => name.includes('.new-')),
    [],
  );
});

test('a postmaster.pid whose process is gone or somebody else does not stop the start', async () => {
  const dataDir = join(root, 'stale');
  await (await use(dataDir)).release();
  for (const pid of [process.pid, 4_000_000]) {
    await writeFile(
      join(pgData(dataDir), 'postmaster.pid'),
      `${pid}\n${pgData(dataDir)}\n1\n1\n\n127.0.0.1\n1 1\nready\n`,
    );
    await (await use(dataDir)).release();
  }
});

test('a server that dies while it is in use is started again on the same port', async () => {
  const dataDir = join(root, 'dies');
  const server = await use(dataDir);
  await remember(server.url);
  const postmaster = await runningPostmaster(pgData(dataDir));
  process.kill(postmaster?.pid ?? 0, 'SIGKILL');
  await until(
    'the server is back',
    () =>
      recall(server.url).then(
        (rows) => rows === 1,
        () => false,
      ),
    30_000,
  );
  await server.release();
  assert.equal(await runningPostmaster(pgData(dataDir)), undefined);
});

test('a data directory that the server may not enter is named together with the fix', async (context) => {
  if (process.geteuid?.() !== 0) return context.skip('only root runs the server as somebody else');
  const closed = join(root, 'private');
  await mkdir(closed, { mode: 0o700 });
  await assert.rejects(use(join(closed, 'data')), {
    code: 'validation.config',
    message: /may not enter .*private.*chmod o\+x/s,
  });
});

test('a server that cannot start says why', async () => {
  const dataDir = join(root, 'broken');
  await (await use(dataDir)).release();
  const file = join(pgData(dataDir), 'postgresql.conf');
  await writeFile(file, `${await readFile(file, 'utf8')}\nno_such_setting = 1\n`);
  await assert.rejects(use(dataDir), { code: 'database.unreachable', message: /no_such_setting/ });
});
