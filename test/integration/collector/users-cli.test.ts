import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { collectorCli, type Said } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let databaseUrl: string;

before(async () => {
  postgres = await startPostgres();
  databaseUrl = await postgres.emptyDatabase();
  under = await startTestCollector(databaseUrl);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const password = 'correct horse battery';

/** On the machine of the collector. */
function here(...argv: readonly string[]): Promise<Said> {
  return collectorCli(argv, { SIGILWATCH_DATA_DIR: under.settings.dataDir, DATABASE_URL: databaseUrl });
}

/** From elsewhere, with a token. */
function there(token: string, ...argv: readonly string[]): Promise<Said> {
  return collectorCli(argv, { SIGILWATCH_SERVER: under.collector.url, SIGILWATCH_TOKEN: token });
}

test('on the machine of the collector users and tokens are made without an account, and work from elsewhere', async () => {
  const file = join(under.settings.dataDir, 'password');
  await writeFile(file, `${password}\n`);
  const added = await here('users', 'add', 'Ada', '--role', 'admin', '--password-file', file);
  assert.deepEqual(added, { code: 0, stdout: 'the user ada (admin) may sign in\n', stderr: '' });
  const made = await here('tokens', 'create', 'main', '--role', 'admin', '--for', '2h');
  assert.equal(made.code, 0, made.stderr);
  const [secret = ''] = made.stdout.split('\n');
  assert.match(secret, /^swk_/);
  const me = await there(secret, 'whoami');
  assert.match(me.stdout, /^token:main \(admin\)\nmay: .*users\.manage/);
  const users = await there(secret, 'users', 'list');
  assert.match(users.stdout, /^ada\tadmin\tactive\t20/);
  const more = await there(secret, 'tokens', 'create', 'more', '--can', 'fleet.read');
  assert.deepEqual([more.code, more.stdout], [4, '']);
  assert.match(more.stderr, /^auth\.forbidden/);
  await rm(file);
});

test('a token that may little does little, and ends when it is revoked', async () => {
  const { stdout } = await here('--json', 'tokens', 'create', 'ci', '--can', 'fleet.read', 'orders.read');
  const { secret, id, owner, permissions } = JSON.parse(stdout);
  assert.deepEqual([owner, permissions], [null, ['fleet.read', 'orders.read']]);
  assert.equal((await there(secret, 'nodes', 'list')).code, 0);
  assert.equal((await there(secret, 'users', 'list')).code, 4);
  assert.match((await here('tokens', 'list')).stdout, new RegExp(`^${id}\\tci\\t\\(this machine\\)\\tgood\\t`, 'm'));
  assert.equal((await here('tokens', 'revoke', id)).code, 0);
  assert.match((await here('tokens', 'list')).stdout, new RegExp(`^${id}\\tci\\t\\(this machine\\)\\trevoked\\t`, 'm'));
  assert.equal((await here('tokens', 'revoke', id)).code !== 0, true);
});

test('a user is locked and unlocked; the last administrator is not', async () => {
  const last = await here('users', 'change', 'ada', '--lock');
  assert.notEqual(last.code, 0);
  assert.match(last.stderr, /^state\.conflict: ada is the last administrator/);
  const file = join(under.settings.dataDir, 'password');
  await writeFile(file, password);
  await here('users', 'add', 'bob', '--role', 'admin', '--password-file', file);
  assert.match((await here('users', 'change', 'ada', '--lock')).stdout, /^ada, admin, locked since /);
  assert.match(
    (await here('users', 'change', 'ada', '--unlock', '--role', 'observer')).stdout,
    /^ada, observer, active/,
  );
});

test('a wish that says too little or too much is refused, and nothing of a password file is shown', async () => {
  const file = join(under.settings.dataDir, 'password');
  await writeFile(file, 'too short');
  const wishes = [
    ['tokens', 'create', 'x'],
    ['tokens', 'create', 'x', '--can', 'fleet.read', '--role', 'admin'],
    ['tokens', 'create', 'x', '--can', 'everything'],
    ['tokens', 'create', 'x', '--role', 'admin', '--for', '400d'],
    ['users', 'change', 'bob'],
    ['users', 'change', 'bob', '--lock', '--unlock'],
    ['users', 'add', 'carl', '--role', 'anonymous', '--password-file', file],
    ['users', 'add', 'carl', '--role', 'observer', '--password-file', '/nowhere'],
    ['users', 'add', 'carl', '--role', 'observer', '--password-file', file],
  ];
  for (const wish of wishes) {
    const { code, stdout, stderr } = await here(...wish);
    assert.ok(code === 2 && stdout === '', `${wish.join(' ')}: ${code} ${stderr}`);
    assert.equal(stderr.includes('too short'), false);
  }
});
