import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let home: string;
let file: string;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  home = await mkdtemp(join(tmpdir(), 'sigilwatch-home-'));
  file = join(home, '.config/sigilwatch/login.json');
  await writeFile(join(home, 'password'), 'a long enough password\n');
});
after(async () => {
  await under.stop();
  await postgres.stop();
  await rm(home, { recursive: true, force: true });
});

const cli = (...argv: string[]) => collectorCli(argv, { HOME: home });
const login = (...more: string[]) =>
  cli('login', '--server', under.collector.url, '--user', 'ada', '--password-file', join(home, 'password'), ...more);

/** As if the time of the access token were over. */
async function age(): Promise<void> {
  const saved = JSON.parse(await readFile(file, 'utf8'));
  await writeFile(file, JSON.stringify({ ...saved, access_expires_at: '2020-01-01T00:00:00Z' }));
}

test('the setup code makes the first administrator, who is signed in from then on', async () => {
  const code = under.collector.setupCode;
  assert.ok(code);
  const wrong = await login('--setup', `${code.slice(0, -1)}${code.endsWith('A') ? 'B' : 'A'}`);
  assert.equal(wrong.code, 3, wrong.stderr);
  const made = await login('--setup', code);
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stdout, /signed in to .* as ada \(admin\)/);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.doesNotMatch(await readFile(file, 'utf8'), /a long enough password/);
  const who = await cli('whoami', '--json');
  assert.equal(JSON.parse(who.stdout).actor, 'user:ada');
  assert.equal((await cli('nodes', 'list')).code, 0);
});

test('commands at the same time renew a sign-in once, and none of them ends it', async () => {
  await age();
  const all = await Promise.all(Array.from({ length: 6 }, () => cli('whoami')));
  assert.deepEqual(
    all.map(({ code }) => code),
    [0, 0, 0, 0, 0, 0],
  );
  await age();
  assert.equal((await cli('whoami')).code, 0);
});

test('a lock that a killed command has left behind stops nobody for ever', async () => {
  await age();
  await writeFile(`${file}.lock`, '');
  const waiting = cli('whoami');
  await rm(`${file}.lock`);
  assert.equal((await waiting).code, 0);
});

test('a named data directory means that one, whoever is signed in elsewhere', async () => {
  const { code, stderr } = await cli('nodes', 'list', '--data-dir', join(home, 'nothing'));
  assert.equal(code, 2);
  assert.match(stderr, /there is no collector in the data directory/);
});

test('a sign-in that others may read is not used', async () => {
  const saved = await readFile(file, 'utf8');
  await rm(file);
  await writeFile(file, saved, { mode: 0o644 });
  const { code, stderr } = await cli('whoami');
  assert.equal(code, 3);
  assert.match(stderr, /chmod 600/);
  await rm(file);
  await writeFile(file, saved, { mode: 0o600 });
});

test('signing out ends the session, here and at the collector', async () => {
  const saved = JSON.parse(await readFile(file, 'utf8'));
  assert.equal((await cli('logout')).code, 0);
  await assert.rejects(stat(file), { code: 'ENOENT' });
  const headers = { Authorization: `Bearer ${saved.access_token}` };
  assert.equal((await fetch(`${under.collector.url}/api/v1/whoami`, { headers })).status, 401);
  const body = JSON.stringify({ refresh_token: saved.refresh_token });
  const again = await fetch(`${under.collector.url}/api/v1/sessions/refresh`, { method: 'POST', body });
  assert.equal(again.status, 401);
  assert.equal((await cli('--server', under.collector.url, 'whoami')).code, 3);
  assert.match((await cli('logout')).stdout, /nobody is signed in/);
});

test('a session that the collector has ended says so, and how to sign in again', async () => {
  assert.equal((await login()).code, 0);
  await age();
  await under.db.query('update sessions set ended_at = now()');
  const { code, stderr } = await cli('whoami');
  assert.equal(code, 3);
  assert.match(stderr, /is over: sigilwatch-collector login --server/);
});
