import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const password = 'correct horse battery';

interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly json: Readonly<Record<string, unknown>>;
}

async function ask(
  method: string,
  path: string,
  { token, body }: { token?: string; body?: unknown } = {},
): Promise<Told> {
  const answer = await fetch(`${under.collector.url}${path}`, {
    method,
    headers: { 'X-Request-ID': 'test-1', ...(token !== undefined && { Authorization: `Bearer ${token}` }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return {
    status: answer.status,
    headers: answer.headers,
    json: z.record(z.string(), z.unknown()).parse(await answer.json()),
  };
}

async function enter(name: string, text = password): Promise<{ readonly access: string; readonly refresh: string }> {
  const { status, json } = await ask('POST', '/api/v1/sessions', { body: { name, password: text } });
  assert.equal(status, 201, JSON.stringify(json));
  return { access: String(json.access_token), refresh: String(json.refresh_token) };
}

test('the code of the first start makes one administrator, who signs in and makes others', async () => {
  const code = under.collector.setupCode ?? '';
  const body = { code, name: 'ada', password };
  const { status, json } = await ask('POST', '/api/v1/setup', { body });
  assert.deepEqual([status, json.name, json.role, json.locked_at], [201, 'ada', 'admin', null]);
  assert.equal((await ask('POST', '/api/v1/setup', { body })).status, 409);
  const { access } = await enter('ada');
  const me = await ask('GET', '/api/v1/whoami', { token: access });
  assert.deepEqual([me.json.actor, me.json.role, me.json.user, me.json.token], ['user:ada', 'admin', 'ada', null]);
  const olga = { name: 'olga', role: 'observer', password };
  assert.equal((await ask('POST', '/api/v1/users', { token: access, body: olga })).status, 201);
  assert.equal((await ask('POST', '/api/v1/users', { token: access, body: olga })).status, 409);
  const users = await ask('GET', '/api/v1/users?limit=1', { token: access });
  assert.equal(typeof users.json.next_cursor, 'string');
  const next = await ask('GET', `/api/v1/users?limit=1&cursor=${users.json.next_cursor}`, { token: access });
  assert.match(JSON.stringify(next.json), /^{"items":\[{"name":"olga","role":"observer",[^[]*\],"next_cursor":null}$/);
  assert.equal(/argon2|password_hash/.test(JSON.stringify([users.json, next.json])), false);
});

test('who is signed in passes where the role may, and nowhere else', async () => {
  const { access } = await enter('olga');
  assert.equal((await ask('GET', '/api/v1/nodes', { token: access })).status, 200);
  assert.equal((await ask('GET', '/api/v1/users', { token: access })).status, 403);
  assert.equal((await ask('PATCH', '/api/v1/users/olga', { token: access, body: { role: 'admin' } })).status, 403);
  assert.equal((await ask('GET', '/api/v1/nodes')).status, 401);
  assert.equal(
    (await ask('GET', '/api/v1/nodes', { token: `${access.slice(0, -4)}AAAA` })).json.error_code,
    'auth.token',
  );
});

test('an API token is made, used, listed without its secret and revoked', async () => {
  const { access } = await enter('ada');
  const body = { name: 'ci', permissions: ['fleet.read'], for_seconds: 3_600 };
  const made = await ask('POST', '/api/v1/tokens', { token: access, body });
  assert.equal(made.status, 201);
  const secret = String(made.json.secret);
  assert.equal((await ask('GET', '/api/v1/nodes', { token: secret })).status, 200);
  assert.equal((await ask('GET', '/api/v1/orders', { token: secret })).status, 403);
  const me = await ask('GET', '/api/v1/whoami', { token: secret });
  assert.deepEqual(
    [me.json.actor, me.json.token, me.json.permissions],
    ['token:ada/ci', made.json.id, ['self.read', 'fleet.read']],
  );
  const listed = JSON.stringify((await ask('GET', '/api/v1/tokens', { token: access })).json);
  assert.equal(listed.includes(secret), false);
  assert.equal(listed.includes(String(made.json.id)), true);
  assert.equal((await ask('DELETE', `/api/v1/tokens/${made.json.id}`, { token: access })).status, 200);
  assert.equal((await ask('GET', '/api/v1/nodes', { token: secret })).status, 401);
  const more = await ask('POST', '/api/v1/tokens', { token: access, body: { ...body, permissions: ['everything'] } });
  assert.deepEqual([more.status, more.json.error_code], [422, 'validation.body']);
});

test('a session is refreshed, listed and ended; a used refresh token ends it', async () => {
  const [one, two] = [await enter('olga'), await enter('olga')];
  const again = await ask('POST', '/api/v1/sessions/refresh', { body: { refresh_token: one.refresh } });
  assert.equal(again.status, 200);
  const sessions = await ask('GET', '/api/v1/sessions', { token: two.access });
  assert.equal(JSON.stringify(sessions.json).match(/"current":true/g)?.length, 1);
  const ended = await ask('DELETE', '/api/v1/sessions/current', { token: two.access });
  assert.deepEqual([ended.status, ended.json.ended], [200, true]);
  assert.equal((await ask('GET', '/api/v1/whoami', { token: two.access })).status, 401);
  assert.equal((await ask('POST', '/api/v1/sessions/refresh', { body: { refresh_token: one.refresh } })).status, 401);
  assert.equal((await ask('GET', '/api/v1/whoami', { token: String(again.json.access_token) })).status, 401);
});

test('a password is changed, and the next sign-in wants the new one', async () => {
  const { access } = await enter('olga');
  const change = { current_password: password, new_password: 'another good one' };
  const short = await ask('POST', '/api/v1/whoami/password', {
    token: access,
    body: { ...change, new_password: 'short' },
  });
  assert.equal(short.status, 422);
  assert.equal((await ask('POST', '/api/v1/whoami/password', { token: access, body: change })).status, 200);
  const old = await ask('POST', '/api/v1/sessions', { body: { name: 'olga', password } });
  assert.deepEqual([old.status, old.json.error_code], [401, 'auth.credentials']);
  await enter('olga', 'another good one');
});

test('after ten wrong passwords the answer is 429 and says when to come back; what happened is on record with the request', async () => {
  const guess = () => ask('POST', '/api/v1/sessions', { body: { name: 'Ada', password: 'wrong' } });
  const answers = await Promise.all(Array.from({ length: 30 }, guess));
  const limited = answers.filter(({ status }) => status === 429);
  assert.equal(limited.length, 20);
  assert.equal(answers.filter(({ status }) => status === 401).length, 10);
  const seconds = Number(limited[0]?.headers.get('Retry-After'));
  assert.ok(seconds > 600 && seconds <= 900, String(seconds));
  const { details } = limited[0]?.json ?? {};
  assert.deepEqual(Object.keys(details ?? {}), ['retry_after_seconds']);
  const { json } = await under.get('/api/v1/entries?kind=auth.event&limit=1000');
  const said = JSON.stringify(json);
  for (const event of [
    'setup.done',
    'user.created',
    'api_token.created',
    'session.refresh_reused',
    'password.changed',
  ]) {
    assert.equal(said.includes(event), true, event);
  }
  assert.match(said, /"actor":"user:ada"[^}]*"event":"user.created"[^}]*"requestId":"test-1"/);
  for (const secret of [password, 'another good one', 'swr_', 'swk_', 'sws_', '$argon2'])
    assert.equal(said.includes(secret), false);
});
