import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { settingsFor, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let closed: TestCollector;
let open: TestCollector;
const console = 'https://console.example.org';

before(async () => {
  postgres = await startPostgres();
  closed = await startTestCollector(await postgres.emptyDatabase());
  const origins = { SIGILWATCH_HTTP_CORS_ORIGINS: console };
  open = await startTestCollector(await postgres.emptyDatabase(), origins);
});
after(async () => {
  await open.stop();
  await closed.stop();
  await postgres.stop();
});

const preflight = (to: TestCollector, origin: string) =>
  fetch(`${to.collector.url}/api/v1/orders`, {
    method: 'OPTIONS',
    headers: {
      Origin: origin,
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'authorization,idempotency-key',
    },
  });

const ask = (to: TestCollector, path: string, headers: Record<string, string> = {}) =>
  fetch(`${to.collector.url}${path}`, { headers: { Authorization: `Bearer ${to.token}`, ...headers } });

test('every answer says what browsers and caches may do with it', async () => {
  for (const path of ['/health', '/api/v1/nodes', '/nowhere', '/log/checkpoint', '/api/v1/nodes?wrong=1']) {
    const { headers } = await ask(closed, path);
    assert.equal(headers.get('X-Content-Type-Options'), 'nosniff', path);
    assert.equal(headers.get('Cross-Origin-Resource-Policy'), 'same-origin', path);
    assert.equal(headers.get('Referrer-Policy'), 'no-referrer', path);
    assert.equal(headers.get('Strict-Transport-Security'), null, path);
    assert.equal(headers.get('Access-Control-Allow-Origin'), null, path);
    if (path.startsWith('/api/')) assert.equal(headers.get('Cache-Control'), 'no-store', path);
  }
  assert.match((await ask(closed, '/log/tile/0/000.p/1')).headers.get('Cache-Control') ?? '', /immutable/);
});

test('a page of an origin that is named may ask before it has a token, and read what it gets', async () => {
  const asked = await preflight(open, console);
  assert.equal(asked.status, 204);
  assert.equal(asked.headers.get('Access-Control-Allow-Origin'), console);
  assert.match(asked.headers.get('Access-Control-Allow-Headers') ?? '', /Authorization.*Idempotency-Key/);
  assert.match(asked.headers.get('Access-Control-Allow-Methods') ?? '', /POST/);
  const answer = await ask(open, '/api/v1/nodes', { Origin: console });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('Access-Control-Allow-Origin'), console);
  assert.equal(answer.headers.get('Access-Control-Allow-Credentials'), null);
  assert.match(answer.headers.get('Vary') ?? '', /Origin/);
  assert.match(answer.headers.get('Access-Control-Expose-Headers') ?? '', /RateLimit-Remaining/);
  const refused = await fetch(`${open.collector.url}/api/v1/nodes`, { headers: { Origin: console } });
  assert.deepEqual([refused.status, refused.headers.get('Access-Control-Allow-Origin')], [401, console]);
});

test('a page from anywhere else may not, nor one from anywhere where no origin is named', async () => {
  const near = [
    'https://console.example.org.evil.example',
    'http://console.example.org',
    'null',
    'https://evil.example',
  ];
  for (const origin of near) {
    const { headers } = await preflight(open, origin);
    assert.equal(headers.get('Access-Control-Allow-Origin'), null, origin);
    const answer = await ask(open, '/api/v1/nodes', { Origin: origin });
    assert.equal(answer.headers.get('Access-Control-Allow-Origin'), null, origin);
    assert.match(answer.headers.get('Vary') ?? '', /Origin/);
  }
  assert.equal((await preflight(closed, console)).status, 404);
});

test('origins are named exactly', () => {
  for (const wrong of [
    '*',
    'https://*.example.org',
    'console.example.org',
    'https://a.example/',
    'https://a.example:443',
  ]) {
    assert.throws(() => settingsFor('/nowhere', 'postgres://x/y', { SIGILWATCH_HTTP_CORS_ORIGINS: wrong }), {
      code: 'validation.config',
    });
  }
});
