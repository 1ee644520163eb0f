import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { after, before, test } from 'node:test';
import canonicalize from 'canonicalize';
import { contracts } from '../../../collector/api/contracts.ts';
import { permissions } from '../../../collector/auth/permissions.ts';
import { openCheckpoint } from '../../../common/checkpoint.ts';
import { entryHash } from '../../../common/entry.ts';
import { leafHash } from '../../../common/merkle.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { decodeBundle } from '../../../common/tiles.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import {
  driftOpened,
  driftResolved,
  enrolDirectly,
  say,
  startTestCollector,
  type TestCollector,
} from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
const drifts = 25;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  const lyra = await enrolDirectly(under.ledger, 'lyra');
  const node1 = await enrolDirectly(under.ledger, 'node1');
  const names = Array.from({ length: drifts }, (_, i) => `c${String(i).padStart(2, '0')}`);
  await say(
    under.ledger,
    'lyra',
    lyra,
    names.map((name) => driftOpened(name, 'UNAUTHORIZED_CONTAINER')),
  );
  await say(under.ledger, 'lyra', lyra, [driftResolved('c03', 'UNAUTHORIZED_CONTAINER')]);
  await say(under.ledger, 'node1', node1, [driftOpened('web', 'MISSING_CONTAINER')]);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

type Item = Record<string, unknown>;

async function items(path: string): Promise<Item[]> {
  const { status, json } = await under.get(path);
  assert.equal(status, 200, JSON.stringify(json));
  assert.ok(Array.isArray(json.items));
  return json.items;
}

/** Follows the cursors to the end. */
async function allPages(path: string): Promise<Item[]> {
  const all: Item[] = [];
  for (let cursor: unknown = null; ; ) {
    const { json } = await under.get(cursor === null ? path : `${path}&cursor=${cursor}`);
    assert.ok(Array.isArray(json.items));
    all.push(...json.items);
    cursor = json.next_cursor;
    if (cursor === null) return all;
  }
}

test('only /health is open; everything else wants a valid token', async () => {
  assert.equal((await fetch(`${under.collector.url}/health`)).status, 200);
  const closed = ['/ready', '/metrics', '/log/checkpoint', '/log/tile/0/000', '/api/v1/nodes', '/api/v1/entries'];
  for (const path of closed) {
    const without = await fetch(`${under.collector.url}${path}`);
    assert.equal(without.status, 401, path);
    assert.match(without.headers.get('WWW-Authenticate') ?? '', /Bearer/);
    const wrong = await fetch(`${under.collector.url}${path}`, { headers: { Authorization: 'Bearer swk_wrong' } });
    assert.equal(wrong.status, 401, path);
    assert.equal(JSON.parse(await wrong.text()).error_code, 'auth.token');
  }
});

test('every contract is served, behind its gate', async () => {
  for (const { operation, method, path, aliases, permission } of contracts) {
    const open = permissions[permission].roles.includes('anonymous');
    for (const place of [path, ...aliases]) {
      const filled = place.replace(/:[a-z]+(\{.+?\})?/g, 'none');
      const { status } = await fetch(`${under.collector.url}${filled}`, { method: method.toUpperCase() });
      assert.ok(open ? status !== 401 && status !== 404 : status === 401, `${operation} ${place}: ${status}`);
    }
  }
});

test('a token is kept as its hash only', async () => {
  const { rows } = await under.db.query('select token_hash from api_tokens');
  assert.deepEqual(rows, [{ token_hash: hash('sha256', under.token, 'buffer') }]);
});

test('the pages of a list are all of it, once, in order, whatever their size', async () => {
  const whole = await items('/api/v1/drifts?limit=1000');
  assert.equal(whole.length, drifts + 1);
  for (const limit of [1, 7, 26, 27]) assert.deepEqual(await allPages(`/api/v1/drifts?limit=${limit}`), whole);
  const entries = await items('/api/v1/entries?limit=1000');
  assert.deepEqual(
    entries.map(({ index }) => index),
    entries.map((_, i) => entries.length - 1 - i),
  );
  assert.deepEqual(await allPages('/api/v1/entries?limit=5'), entries);
  const placed = entries.map((entry) => ({ entry, at: String(entry.at), index: Number(entry.index) }));
  placed.sort((a, b) => (a.at === b.at ? b.index - a.index : a.at < b.at ? 1 : -1));
  const byTime = placed.map(({ entry }) => entry);
  assert.deepEqual(await allPages('/api/v1/entries?limit=5&from=1970-01-02T00:00:00Z'), byTime);
  assert.deepEqual(
    (await allPages('/api/v1/nodes?limit=1')).map(({ node }) => node),
    ['lyra', 'node1'],
  );
});

test('filters narrow a list', async () => {
  assert.equal((await items('/api/v1/drifts?node=node1')).length, 1);
  assert.equal((await items('/api/v1/drifts?kind=MISSING_CONTAINER')).length, 1);
  assert.equal((await items('/api/v1/drifts?state=open')).length, drifts);
  assert.deepEqual(
    (await items('/api/v1/drifts?state=resolved')).map(({ container }) => container),
    ['c03'],
  );
  assert.equal((await items('/api/v1/entries?author=collector&kind=node.enrolled')).length, 2);
  assert.equal((await items('/api/v1/entries?from=2999-01-01T00:00:00Z')).length, 0);
  assert.equal((await items('/api/v1/drifts?to=2000-01-01T00:00:00Z')).length, 0);
  assert.equal((await items(`/api/v1/drifts?to=2999-01-01T00:00:00.${'1'.repeat(200)}%2B12:00`)).length, drifts + 1);
  assert.deepEqual(await items('/api/v1/containers?node=lyra'), []);
  assert.deepEqual(await items('/api/v1/findings?state=open'), []);
});

test('an entry is shown as it was signed: its hash follows from what is shown', async () => {
  for (const { entry, entry_hash } of await items('/api/v1/entries?author=node1')) {
    assert.equal(entry_hash, entryHash(Buffer.from(canonicalize(entry) ?? '')));
  }
});

test('a query that is not understood is refused and the parameter named', async () => {
  const bad = {
    '/api/v1/drifts?nodee=lyra': /unknown parameter "nodee"; did you mean "node"/,
    '/api/v1/drifts?node=a&node=b': /"node" is given more than once/,
    '/api/v1/drifts?limit=0': /"limit"/,
    '/api/v1/drifts?limit=1001': /"limit"/,
    '/api/v1/drifts?limit=ten': /"limit"/,
    '/api/v1/drifts?kind=WRONG': /"kind"/,
    '/api/v1/drifts?state=closed': /"state"/,
    '/api/v1/drifts?from=yesterday': /"from".*RFC 3339/,
    '/api/v1/drifts?cursor=zzz': /"cursor"/,
    '/api/v1/drifts?container=%00': /"container"/,
    '/api/v1/drifts?from=9999-12-31T23:59:59-23:59': /"from".*1970 to 9999/,
    '/api/v1/drifts?to=1970-01-01T00:00:00%2B23:59': /"to".*1970 to 9999/,
    '/api/v1/drifts?constructor=1': /unknown parameter "constructor"/,
    '/api/v1/stats?verbose=1': /unknown parameter "verbose"/,
  };
  for (const [path, message] of Object.entries(bad)) {
    const { status, json } = await under.get(path);
    assert.equal(status, 400, path);
    assert.equal(json.error_code, 'validation.request');
    assert.match(String(json.message), message);
  }
  const { json } = await under.get('/api/v1/nodes?limit=1');
  assert.equal((await under.get(`/api/v1/drifts?cursor=${json.next_cursor}`)).status, 400);
});

test('every answer carries a request id: the one that was sent if it is harmless', async () => {
  const ask = (id: string) =>
    fetch(`${under.collector.url}/nowhere`, {
      headers: { 'X-Request-ID': id, Authorization: `Bearer ${under.token}` },
    });
  const kept = await ask('abc-123');
  assert.equal(kept.headers.get('X-Request-ID'), 'abc-123');
  assert.deepEqual(await kept.json(), {
    error_code: 'resource.not_found',
    message: 'there is no GET /nowhere',
    details: {},
    request_id: 'abc-123',
  });
  const replaced = await ask('a b"c');
  assert.match(replaced.headers.get('X-Request-ID') ?? '', /^[0-9a-f-]{36}$/);
});

test('checkpoint, tiles and bundles are served with the headers their nature allows', async () => {
  const ask = (path: string) =>
    fetch(`${under.collector.url}/log/${path}`, { headers: { Authorization: `Bearer ${under.token}` } });
  const checkpoint = await ask('checkpoint');
  const { size } = openCheckpoint(await checkpoint.text(), parseVerifierKey(under.ledger.vkey)).checkpoint;
  assert.match(checkpoint.headers.get('Content-Type') ?? '', /^text\/plain/);
  const tile = await ask(`tile/0/000.p/${size}`);
  const bundle = await ask(`tile/entries/000.p/${size}`);
  for (const answer of [tile, bundle]) {
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('Content-Type'), 'application/octet-stream');
    assert.match(answer.headers.get('Cache-Control') ?? '', /immutable/);
  }
  const leaves = decodeBundle(Buffer.from(await bundle.arrayBuffer())).map((leaf) => leafHash(leaf));
  assert.deepEqual(Buffer.from(await tile.arrayBuffer()), Buffer.concat(leaves));
  for (const beyond of [`tile/0/000.p/${size + 1}`, 'tile/0/000', 'tile/0/001', 'tile/entries/000', 'tile/3/000.p/1']) {
    assert.equal((await ask(beyond)).status, 404, beyond);
  }
  for (const malformed of ['tile/0/0', 'tile/x', 'tile/0/000.p/0'])
    assert.equal((await ask(malformed)).status, 400, malformed);
});

test('readiness, statistics and metrics tell the same story', async () => {
  const ready = await under.get('/ready');
  assert.equal(ready.status, 200);
  assert.deepEqual(ready.json, { status: 'ready', checks: { database: 'ok', ledger: 'ok' }, budgets: 'ok' });
  const { json: stats } = await under.get('/api/v1/stats');
  assert.deepEqual(stats.nodes, { active: 2, revoked: 0 });
  assert.deepEqual(stats.open_drifts, { MISSING_CONTAINER: 1, UNAUTHORIZED_CONTAINER: drifts - 1 });
  const metrics = await fetch(`${under.collector.url}/metrics`, {
    headers: { Authorization: `Bearer ${under.token}` },
  });
  const text = await metrics.text();
  assert.match(text, /sigilwatch_collector_open_drifts\{kind="UNAUTHORIZED_CONTAINER"\} 24/);
  assert.match(text, /sigilwatch_collector_nodes\{state="active"\} 2/);
  assert.match(text, /http_requests_total\{method="GET",route="\/api\/v1\/drifts",status="200"\}/);
  assert.doesNotMatch(text, /nowhere/);
});
