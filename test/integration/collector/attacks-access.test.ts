import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { contracts } from '../../../collector/api/contracts.ts';
import { type Permission, permissions, type Role, roles } from '../../../collector/auth/permissions.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { askAsOperator, askRaw, type RawAnswer } from './attack-world.ts';
import { enrolDirectly, enrolmentOf, postEnrolment, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
const password = 'correct horse battery';
/** Access tokens by role. */
const tokens = new Map<Role, string>();

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  await enrolDirectly(under.ledger, 'lyra');
  for (const role of roles) {
    if (role === 'anonymous') continue;
    await make(role, role);
    tokens.set(role, await signIn(role));
  }
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const json = { 'Content-Type': 'application/json' };

async function change(method: string, path: string, body: unknown, token = under.token): Promise<RawAnswer> {
  const headers = { ...json, Authorization: `Bearer ${token}` };
  return askRaw(under.collector.url, path, { method, headers, body: JSON.stringify(body) });
}

async function make(name: string, role: Role): Promise<void> {
  const { status, body } = await change('POST', '/api/v1/users', { name, role, password });
  assert.equal(status, 201, body);
}

async function signIn(name: string): Promise<string> {
  const { status, body } = await change('POST', '/api/v1/sessions', { name, password });
  assert.equal(status, 201, body);
  return JSON.parse(body).access_token;
}

async function apiToken(owner: string, permissionsOf: readonly Permission[]): Promise<string> {
  const made = await change('POST', '/api/v1/tokens', { name: 'ci', permissions: permissionsOf }, await signIn(owner));
  assert.equal(made.status, 201, made.body);
  return JSON.parse(made.body).secret;
}

/** The status, without waiting for an answer that has no end. */
async function statusOf(
  method: string,
  path: string,
  token: string | undefined,
): Promise<{ status: number; body: string }> {
  const leaving = new AbortController();
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const answer = await fetch(under.collector.url + path, { method, headers, signal: leaving.signal });
  const isStream = answer.headers.get('Content-Type')?.startsWith('text/event-stream') ?? false;
  const body = isStream ? '' : await answer.text();
  leaving.abort();
  return { status: answer.status, body };
}

test('each role reaches on a real collector what the table gives it, and nothing else', async () => {
  // What a session would end is asked last.
  const asked = [...contracts].sort((a, b) => Number(a.method === 'delete') - Number(b.method === 'delete'));
  for (const role of roles) {
    for (const { operation, method, path, aliases, permission } of asked) {
      for (const place of [path, ...aliases]) {
        const target = place.replace(/:[a-z_]+(\{.+?\})?/g, '0');
        const { status, body } = await statusOf(method.toUpperCase(), target, tokens.get(role));
        const what = `${role} ${operation} ${target}: ${status} ${body}`;
        if (permissions[permission].roles.includes(role)) {
          // Some routes are for people only, or look at more than the role; the gate itself has let it through.
          assert.ok(status !== 401 && !(status === 403 && body.includes(`needs the permission ${permission}`)), what);
        } else assert.equal(status, role === 'anonymous' ? 401 : 403, what);
      }
    }
  }
});

test('a token of somebody who was demoted does no more than they may now', async () => {
  await make('dora', 'operator');
  const secret = await apiToken('dora', ['fleet.read', 'nodes.manage']);
  const session = await signIn('dora');
  const join = () => statusOf('POST', '/api/v1/nodes/node9/token', secret);
  assert.equal((await join()).status, 201);
  assert.equal((await change('PATCH', '/api/v1/users/dora', { role: 'observer' })).status, 200);
  assert.equal((await join()).status, 403);
  assert.equal((await statusOf('POST', '/api/v1/nodes/node9/token', session)).status, 403, 'nor does their session');
  assert.equal((await statusOf('GET', '/api/v1/nodes', secret)).status, 200);
});

test('a token and a session of somebody who was locked open nothing', async () => {
  await make('lena', 'admin');
  const secret = await apiToken('lena', ['fleet.read', 'users.manage']);
  const session = await signIn('lena');
  assert.equal((await change('PATCH', '/api/v1/users/lena', { locked: true })).status, 200);
  for (const token of [secret, session]) {
    assert.equal((await statusOf('GET', '/api/v1/nodes', token)).status, 401);
    const unlock = await change('PATCH', '/api/v1/users/lena', { locked: false }, token);
    assert.equal(unlock.status, 401, 'nor unlock themselves');
  }
});

test('nobody makes a token for more than they may, nor a token with a token', async () => {
  const observer = tokens.get('observer') ?? '';
  const wish = (permission: Permission, token: string) =>
    change('POST', '/api/v1/tokens', { name: permission, permissions: [permission] }, token);
  for (const permission of ['users.manage', 'nodes.manage', 'orders.issue'] as const) {
    assert.equal((await wish(permission, observer)).status, 403, permission);
  }
  await make('toni', 'admin');
  const secret = await apiToken('toni', ['tokens.own', 'fleet.read']);
  assert.equal((await wish('fleet.read', secret)).status, 403);
});

test('nobody raises their own role, by any member of any body', async () => {
  const observer = tokens.get('observer') ?? '';
  for (const body of [{ role: 'admin' }, { role: 'admin', name: 'observer' }, { __proto__: { role: 'admin' } }]) {
    assert.equal((await change('PATCH', '/api/v1/users/observer', body, observer)).status, 403);
  }
  const words = { current_password: password, new_password: `${password} 2`, role: 'admin' };
  assert.equal((await change('POST', '/api/v1/whoami/password', words, observer)).status, 422);
  const polluted = await askRaw(under.collector.url, '/api/v1/sessions', {
    method: 'POST',
    headers: json,
    body: `{"name":"observer","password":"${password}","__proto__":{"role":"admin"}}`,
  });
  assert.ok(polluted.status === 422 || JSON.parse(polluted.body).role === 'observer', polluted.body);
});

test("what is somebody else's is not there for others", async () => {
  const own = JSON.parse((await change('POST', '/api/v1/sessions', { name: 'operator', password })).body);
  const stolen = await statusOf('DELETE', `/api/v1/sessions/${own.session.id}`, tokens.get('observer'));
  assert.equal(stolen.status, 404);
  assert.equal((await statusOf('GET', '/api/v1/whoami', own.access_token)).status, 200, 'it stands');
  const list = await statusOf('GET', '/api/v1/sessions?limit=1000', tokens.get('observer'));
  assert.doesNotMatch(list.body, new RegExp(own.session.id));
});

test("one node's join token enrols no other node, and is not used up by the attempt", async () => {
  const made = await askAsOperator(under, '/api/v1/nodes/node1/token', { method: 'POST' });
  const { token } = JSON.parse(made.body);
  const stolen = await postEnrolment(under.collector.url, enrolmentOf('node2', token, generateKeyPair()));
  assert.deepEqual([stolen.status, stolen.json.error_code], [401, 'auth.token']);
  const taken = await postEnrolment(under.collector.url, enrolmentOf('lyra', token, generateKeyPair()));
  assert.equal(taken.status, 401, 'nor one that is there already');
  const rightful = await postEnrolment(under.collector.url, enrolmentOf('node1', token, generateKeyPair()));
  assert.equal(rightful.status, 200, JSON.stringify(rightful.json));
});

test('a token for one thing opens no other: join tokens, refresh tokens and cookies are not for the API', async () => {
  const made = await askAsOperator(under, '/api/v1/nodes/node3/token', { method: 'POST' });
  const session = JSON.parse((await change('POST', '/api/v1/sessions', { name: 'admin', password })).body);
  for (const token of [
    JSON.parse(made.body).token,
    session.refresh_token,
    session.session.id,
    under.token.slice(0, -1),
  ]) {
    assert.equal((await statusOf('GET', '/api/v1/nodes', token)).status, 401, token);
  }
  const refreshed = await change('POST', '/api/v1/sessions/refresh', { refresh_token: session.access_token });
  assert.equal(refreshed.status, 401);
  for (const scheme of ['Basic', 'Digest', 'Token', '']) {
    const headers = { Authorization: `${scheme} ${under.token}`.trim() };
    assert.equal((await askRaw(under.collector.url, '/api/v1/nodes', { headers })).status, 401, scheme);
  }
  assert.equal((await askRaw(under.collector.url, `/api/v1/nodes?access_token=${session.access_token}`)).status, 401);
});
