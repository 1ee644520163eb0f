import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { contracts } from '../../../collector/api/contracts.ts';
import type { Statement } from '../../../common/kinds.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { askAsOperator, askRaw, injections } from './attack-world.ts';
import { driftOpened, enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
/** One of them is in another row each; `web` is what most injections try to reach. */
const names = ['web', ...injections];

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  const keys = await enrolDirectly(under.ledger, 'lyra');
  const drifts = names.map((name): Statement => driftOpened(name, 'UNAUTHORIZED_CONTAINER'));
  await say(under.ledger, 'lyra', keys, drifts);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const ask = (target: string, asked: Parameters<typeof askAsOperator>[2] = {}) => askAsOperator(under, target, asked);

async function countsOfTables(): Promise<unknown> {
  const { rows } = await under.db.query(
    'select (select count(*) from entries) as entries, (select count(*) from drifts) as drifts, (select count(*) from api_tokens) as tokens',
  );
  return rows;
}

describe('SQL in requests', () => {
  test('a filter finds the rows with exactly that text, and no others', async () => {
    const before = await countsOfTables();
    for (const name of names) {
      const { status, body } = await ask(`/api/v1/drifts?container=${encodeURIComponent(name)}`);
      assert.equal(status, 200, body);
      const found: unknown[] = JSON.parse(body).items.map(({ container }: { container: string }) => container);
      assert.deepEqual(found, [name]);
    }
    assert.deepEqual(await countsOfTables(), before);
  });

  test('in every parameter of every route that reads, it is refused or finds nothing, and nothing fails', async () => {
    const before = await countsOfTables();
    const reads = contracts.filter(({ method, operation }) => method === 'get' && operation !== 'events.follow');
    for (const { path, params, query, operation } of reads) {
      for (const text of injections) {
        const escaped = encodeURIComponent(text);
        const plain = path.replace(/:[a-z_]+(\{.+?\})?/g, '0');
        const targets = [
          ...Object.keys(query.shape).map((name) => `${plain}?${name}=${escaped}`),
          ...(Object.keys(params.shape).length > 0 ? [path.replace(/:[a-z_]+(\{.+?\})?/g, escaped)] : []),
        ];
        for (const target of targets) {
          const { status, body } = await ask(target);
          assert.ok([200, 400, 404].includes(status), `${operation} ${target}: ${status} ${body}`);
          assert.doesNotMatch(body, /syntax error|SQLSTATE|unterminated/, target);
        }
      }
    }
    assert.deepEqual(await countsOfTables(), before);
  });
});

describe('texts that PostgreSQL has no form for', () => {
  const withParameter = contracts.filter(({ params }) => Object.keys(params.shape).length > 0);
  for (const text of ['%00', 'a%00b', '%20%00', '%ff', '%ed%a0%80', '%c0%af']) {
    test(`${text} in a path is refused, or names nothing`, async () => {
      for (const { operation, method, path } of withParameter) {
        const target = path.replace(/:[a-z_]+(\{.+?\})?/g, text);
        const body = method === 'get' ? undefined : '{}';
        const answer = await ask(target, {
          method: method.toUpperCase(),
          body,
          headers: { 'Content-Type': 'application/json' },
        });
        assert.ok([400, 404, 422].includes(answer.status), `${operation}: ${answer.status} ${answer.body}`);
      }
    });
  }
});

describe('headers', () => {
  test('an X-Request-ID that could break a header or a log is replaced', async () => {
    const offered = [
      'a b',
      'a\tb',
      '<script>',
      '"',
      'ä',
      'a;b',
      `${'x'.repeat(65)}`,
      '$\u007bjndi}',
      '{"a":1}',
      '%0d%0aX-Injected:1',
    ];
    for (const id of offered) {
      const { headers } = await ask('/api/v1/nodes', {
        headers: { 'X-Request-ID': Buffer.from(id).toString('latin1') },
      });
      assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/, id);
      assert.equal(headers['x-injected'], undefined);
    }
    assert.equal((await ask('/health', { headers: { 'X-Request-ID': 'mine-1' } })).headers['x-request-id'], 'mine-1');
  });

  test('line ends in a query, a path or a body come back in no header', async () => {
    const broken = '%0d%0aX-Injected:%201%0d%0a%0d%0a<script>';
    for (const target of [
      `/api/v1/drifts?container=${broken}`,
      `/api/v1/${broken}`,
      `/api/v1/orders/${broken}`,
      `/api/v1/drifts?${broken}=1`,
    ]) {
      const { headers } = await ask(target);
      assert.equal(headers['x-injected'], undefined, target);
      assert.match(String(headers['content-type']), /^application\/json/, target);
      assert.equal(headers['x-content-type-options'], 'nosniff', target);
    }
  });

  test('a method in a header or a query changes nothing', async () => {
    for (const name of ['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override', '_method']) {
      const headers = { [name]: 'POST' };
      const { status, body } = await ask('/api/v1/orders', { headers });
      assert.deepEqual([status, body], [200, '{"items":[],"next_cursor":null}']);
    }
    assert.equal((await ask('/api/v1/orders?_method=POST')).status, 400);
    const { status } = await ask('/api/v1/nodes/lyra/revoke', { headers: { 'X-HTTP-Method-Override': 'POST' } });
    assert.equal(status, 404);
  });

  test('names of other hosts, paths and addresses in headers open nothing', async () => {
    const posing = {
      'X-Original-URL': '/health',
      'X-Rewrite-URL': '/health',
      'X-Forwarded-For': '127.0.0.1',
      'X-Forwarded-Host': 'localhost',
      'X-Forwarded-Prefix': '/health',
      Forwarded: 'for=127.0.0.1;host=localhost',
      Cookie: `Authorization=Bearer ${under.token}; session=operator`,
    };
    assert.equal((await askRaw(under.collector.url, '/api/v1/nodes', { headers: posing })).status, 401);
  });
});

describe('spellings of a path', () => {
  const closed = '/api/v1/nodes';
  const spellings = [
    ...[
      '//api/v1/nodes',
      '/api//v1/nodes',
      '/./api/v1/nodes',
      '/api/v1/x/../nodes',
      '/health/../api/v1/nodes',
      '/health/%2e%2e/api/v1/nodes',
    ],
    ...[
      '/health;/../api/v1/nodes',
      '/health%2f..%2fapi/v1/nodes',
      '/api/v1/nodes/',
      '/api/v1/nodes;a=1',
      '/api/v1/nodes%00',
      '/api/v1/nodes.json',
    ],
    ...[
      '/API/V1/NODES',
      '/api/v1/%6eodes',
      '/%61pi/v1/nodes',
      '/api%2fv1%2fnodes',
      '/api\\v1\\nodes',
      '/api/v1/nodes%20',
      '/api/v1/nodes?',
      '/api/v1/nodes#',
    ],
    ...[
      '/api/v1/docs/../nodes',
      '/log/tile/../../api/v1/nodes',
      '/api/v1/openapi.json/../nodes',
      'http://localhost/api/v1/nodes',
      '/health?/api/v1/nodes',
    ],
  ];

  test('none of them gets a visitor past the gate', async () => {
    for (const spelling of spellings) {
      const { status, body } = await askRaw(under.collector.url, spelling);
      assert.ok([400, 401, 404].includes(status) || body === '{"status":"ok"}', `${spelling}: ${status} ${body}`);
      assert.doesNotMatch(body, /fingerprint|"items"/, spelling);
    }
  });

  test('one that is served is served by the route that it means', async () => {
    const { body: told } = await ask(closed);
    for (const spelling of spellings.filter((text) => !text.startsWith('/health?'))) {
      const { status, body } = await ask(spelling);
      assert.ok(status === 200 ? body === told : [400, 404].includes(status), `${spelling}: ${status} ${body}`);
    }
  });
});

describe('other ways to ask', () => {
  test('HEAD tells no more than GET, and OPTIONS and the like nothing', async () => {
    for (const { method, path, permission } of contracts) {
      const target = path.replace(/:[a-z_]+(\{.+?\})?/g, '0');
      if (method === 'get' && !['service.health', 'service.documents'].includes(permission)) {
        const { status, body } = await askRaw(under.collector.url, target, { method: 'HEAD' });
        assert.deepEqual([status, body], [401, ''], `HEAD ${target}`);
      }
      for (const other of ['OPTIONS', 'TRACE', 'PUT', 'PROPFIND', 'QUERY']) {
        const { status, headers, body } = await ask(target, {
          method: other,
          headers: { Origin: 'http://evil.example' },
        });
        assert.equal(status, 404, `${other} ${target}`);
        assert.equal(headers['access-control-allow-origin'], undefined);
        assert.doesNotMatch(body, new RegExp(under.token));
      }
    }
  });

  test('ranges and conditions do not cut an answer in pieces, or keep it back', async () => {
    const whole = await ask('/api/v1/drifts?limit=5');
    const conditions = [
      { Range: 'bytes=0-1' },
      { Range: `bytes=${Array.from({ length: 500 }, (_, i) => `${i}-`).join(',')}` },
      { 'If-None-Match': '*' },
      { 'If-Modified-Since': 'Fri, 31 Dec 9999 23:59:59 GMT' },
      { 'If-Range': '"x"', Range: 'bytes=5-' },
    ];
    for (const headers of conditions) {
      const { status, body } = await ask('/api/v1/drifts?limit=5', { headers });
      assert.deepEqual([status, body], [200, whole.body], JSON.stringify(headers));
    }
  });

  test('a body that is compressed is not unpacked', async () => {
    const bomb = gzipSync(Buffer.alloc(50 * 1024 * 1024));
    for (const coding of ['gzip', 'deflate', 'br']) {
      const headers = { 'Content-Encoding': coding, 'Content-Type': 'application/json' };
      const { status, body } = await ask('/api/v1/orders', { method: 'POST', headers, body: bomb });
      assert.equal(status, 400, body);
      const small = await ask('/api/v1/orders', { method: 'POST', headers, body: gzipSync('{}') });
      assert.equal(JSON.parse(small.body).error_code, 'validation.request');
    }
  });

  test('a cursor of another list, or one made up, is refused and named', async () => {
    const first = JSON.parse((await ask('/api/v1/drifts?limit=1')).body);
    const of = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const cursors = [
      first.next_cursor,
      of(['entries', "1' or 1=1"]),
      of(['entries', -1]),
      of(['entries', 1e300]),
      of(['entries', [1]]),
      of(['entries', { $gt: 0 }]),
      of(['entries']),
      of({ __proto__: null, 0: 'entries', 1: 1, length: 2 }),
      '__proto__',
      'AAAA',
    ];
    for (const cursor of cursors) {
      const { status, body } = await ask(`/api/v1/entries?cursor=${cursor}`);
      assert.equal(status, 400, body);
      assert.equal(JSON.parse(body).details.parameter, 'cursor');
    }
  });

  test('a cursor used with other filters shows nothing that those filters do not let through', async () => {
    const { next_cursor } = JSON.parse((await ask('/api/v1/drifts?limit=1')).body);
    const other = JSON.parse((await ask(`/api/v1/drifts?container=web&cursor=${next_cursor}`)).body);
    for (const { container } of other.items) assert.equal(container, 'web');
    const { body } = await ask(`/api/v1/drifts?node=nobody&cursor=${next_cursor}`);
    assert.deepEqual(JSON.parse(body).items, []);
  });
});
