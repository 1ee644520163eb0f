import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Hono } from 'hono';
import { z } from 'zod';
import { nodeList } from '../../../collector/api/fleet-contract.ts';
import { metrics } from '../../../collector/api/service-contract.ts';
import { anonymous, withPermission } from '../../../collector/auth/caller.ts';
import type { HttpEnv } from '../../../collector/http/env.ts';
import { addLogRoutes, takesGzip } from '../../../collector/http/log-routes.ts';
import { withMetrics } from '../../../collector/http/middleware.ts';
import { BundleReader } from '../../../collector/ledger/bundle-reader.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { limits } from '../../../common/limits.ts';
import { emptyRange, leafHash } from '../../../common/merkle.ts';
import { decodeBundle, formatTilePath, hashTiles } from '../../../common/tiles.ts';
import { testAuthor } from '../../authors.ts';
import { erasedStatement } from '../../exports.ts';
import { FakeLedgerStore } from '../../fakes/ledger-store.ts';
import { collectorKeys, startLedger, stoppedClock, testOrigin } from '../../ledgers.ts';
import { served, servedTo } from '../../serving.ts';

function servedLog(ledger: Ledger, isPublic = true) {
  const checkpoint = async () => (await ledger.checkpoint()).note;
  const app = served((serve) => addLogRoutes(serve, { ledger, checkpoint, isPublic }));
  return (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    app.request(`/log/${path}`, { headers, method });
}

async function bytesOf(response: Response | Promise<Response>): Promise<Buffer> {
  return Buffer.from(await (await response).arrayBuffer());
}

/** A log of `size` entries, the first of which the ledger makes itself. */
async function logOf(size: number, store = new FakeLedgerStore()): Promise<Ledger> {
  const ledger = await startLedger(store);
  for (let left = size - 1; left > 0; left -= 1_000)
    await ledger.append(testAuthor(`n${left}`).more(Math.min(left, 1_000)));
  return ledger;
}

describe('the log over HTTP', () => {
  test('has every tile of its size, and of every smaller size, with the bytes of a full one or of its beginning', async () => {
    const size = 700;
    const get = servedLog(await logOf(size));
    for (const tile of hashTiles(size)) {
      const whole = await bytesOf(get(formatTilePath(tile)));
      assert.equal(whole.length, tile.width * 32);
      for (const width of [1, 2, 17, 100, 255].filter((narrower) => narrower < tile.width)) {
        assert.deepEqual(await bytesOf(get(formatTilePath({ ...tile, width }))), whole.subarray(0, width * 32));
      }
      if (tile.level > 0) continue;
      const bundle = decodeBundle(await bytesOf(get(formatTilePath({ ...tile, kind: 'entries' }))));
      assert.deepEqual(Buffer.concat(bundle.map((leaf) => leafHash(leaf))), whole);
      for (const width of [255, 3, 1, 2].filter((narrower) => narrower < tile.width)) {
        const part = await bytesOf(get(formatTilePath({ kind: 'entries', index: tile.index, width })));
        assert.deepEqual(decodeBundle(part), bundle.slice(0, width));
      }
    }
  });

  test('answers 404 beyond its end and 400 for what is no tile, and neither may be kept by a cache', async () => {
    const get = servedLog(await logOf(300));
    const beyond = ['0/001', '0/001.p/45', '0/002', '1/000', '1/000.p/2', '2/000.p/1', '63/000.p/1', '0/x001/000'];
    const beyondBundles = ['entries/001', 'entries/001.p/45', 'entries/002.p/1'];
    for (const path of [...beyond, ...beyondBundles]) await assertRefused(get(`tile/${path}`), 404, path);
    const malformed = [
      '0/0',
      '0/1',
      '0/000.p/0',
      '0/000.p/256',
      '0/000.p/01',
      '0/000.p/',
      '00/000',
      '64/000',
      '-1/000',
    ];
    const more = ['0/000/', 'entries/', '0/x000/001', '0/0000', '0/000.p/1.5', 'e/000', '0', '0/x001'];
    for (const path of [...malformed, ...more]) await assertRefused(get(`tile/${path}`), 400, path);
  });

  test('has one address for each tile, so that nobody can make a cache ask for the same one again and again', async () => {
    const get = servedLog(await logOf(300));
    assert.equal((await get('tile/0/000')).status, 200);
    const others = ['0/%30%30%30', '%30/000', '0/000?', '0/000?1', '0/000?/log/tile/0/000', 'entries/001.p/%34'];
    for (const path of others) await assertRefused(get(`tile/${path}`), 400, path);
  });

  test('is a checkpoint and nothing else while it is empty', async () => {
    const store = new FakeLedgerStore();
    await store.create({ origin: testOrigin, range: emptyRange });
    const ledger = new Ledger({ store, origin: testOrigin, keys: collectorKeys, clock: stoppedClock });
    const get = servedLog(ledger);
    const [origin, size, root] = (await (await get('checkpoint')).text()).split('\n');
    // SHA-256 of nothing at all (RFC 6962 section 2.1).
    assert.deepEqual([origin, size, root], [testOrigin, '0', '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=']);
    for (const path of ['0/000', '0/000.p/1', 'entries/000', 'entries/000.p/1', '1/000.p/1']) {
      await assertRefused(get(`tile/${path}`), 404, path);
    }
  });

  test('says how long each of its files holds, and to whom a cache may give it', async () => {
    const ledger = await logOf(300);
    for (const isPublic of [true, false]) {
      const get = servedLog(ledger, isPublic);
      const scope = isPublic ? 'public' : 'private';
      for (const path of [
        'tile/0/000',
        'tile/0/001.p/3',
        'tile/1/000.p/1',
        'tile/entries/000',
        'tile/entries/001.p/44',
      ]) {
        const { headers } = await get(path);
        assert.equal(headers.get('Cache-Control'), `${scope}, max-age=31536000, immutable`, path);
        assert.equal(headers.get('Content-Type'), 'application/octet-stream', path);
      }
      const { headers } = await get('checkpoint');
      assert.equal(headers.get('Cache-Control'), 'no-cache');
      assert.equal(headers.get('Content-Type'), 'text/plain; charset=utf-8');
    }
  });

  test('compresses bundles for whoever takes that, and nothing else', async () => {
    const get = servedLog(await logOf(300));
    const plain = await get('tile/entries/000');
    const small = await get('tile/entries/000', { 'Accept-Encoding': 'gzip, identity' });
    assert.deepEqual(
      [plain, small].map(({ headers }) => headers.get('Vary')),
      ['Accept-Encoding', 'Accept-Encoding'],
    );
    assert.equal(small.headers.get('Content-Encoding'), 'gzip');
    const [plainBytes, smallBytes] = [await bytesOf(plain), await bytesOf(small)];
    assert.deepEqual(gunzipSync(smallBytes), plainBytes);
    assert.ok(smallBytes.length < plainBytes.length / 2);
    assert.equal(small.headers.get('Content-Length'), String(smallBytes.length));
    for (const path of ['tile/0/000', 'checkpoint']) {
      assert.equal((await get(path, { 'Accept-Encoding': 'gzip' })).headers.get('Content-Encoding'), null);
    }
  });

  test('gives a crowd that asks for compressed bundles the right ones, compressed or not', async () => {
    const get = servedLog(await logOf(300));
    const plain = await bytesOf(get('tile/entries/000'));
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => get(`tile/entries/000.p/${i + 1}`, { 'Accept-Encoding': 'gzip' })),
    );
    const compressed = answers.filter(({ headers }) => headers.get('Content-Encoding') === 'gzip');
    assert.ok(compressed.length > 0);
    for (const [i, given] of answers.entries()) {
      const bytes = await bytesOf(given);
      const bundle = compressed.includes(given) ? gunzipSync(bytes) : bytes;
      assert.equal(decodeBundle(bundle).length, i + 1);
      assert.deepEqual(bundle, plain.subarray(0, bundle.length));
    }
  });

  test('gives out no entry that is not as it was logged, and says erased only of what the log has signed for', async () => {
    const store = new FakeLedgerStore();
    const ledger = await logOf(700, store);
    await ledger.record(erasedStatement({ from: 0, to: 256, keptBodies: 0 }));
    const get = servedLog(ledger);
    const answerOf = z.looseObject({
      error_code: z.string(),
      details: z.looseObject({ index: z.number().optional() }),
    });
    const refused = async (path: string, status: number, code: string, index?: number) => {
      const answer = await get(`tile/entries/${path}`);
      assert.equal(answer.headers.get('Cache-Control'), 'no-store');
      const { error_code, details } = answerOf.parse(await answer.json());
      assert.deepEqual([answer.status, error_code, details.index], [status, code, index], path);
    };
    store.bodiless.add(7);
    store.bodiless.add(300);
    await refused('000', 410, 'resource.gone');
    await refused('001', 500, 'ledger.tampered', 300);
    await refused('001.p/45', 500, 'ledger.tampered', 300);
    assert.equal((await get('tile/entries/001.p/44')).status, 200);
    const [entry, other] = [store.entries[600], store.entries[601]];
    assert.ok(entry && other);
    for (const changed of [
      { ...entry, bytes: Buffer.from(entry.bytes.toString().replace('n', 'm')) },
      { ...entry, signature: Buffer.alloc(64) },
      { ...other, index: 600 },
    ]) {
      store.entries[600] = changed;
      await refused('002.p/100', 500, 'ledger.tampered', 600);
    }
    store.entries[600] = entry;
    assert.equal((await get('tile/entries/002.p/100')).status, 200);
  });

  test('answers HEAD as GET, without the bytes', async () => {
    const get = servedLog(await logOf(300));
    for (const path of ['checkpoint', 'tile/0/000', 'tile/entries/001.p/44', 'tile/entries/009']) {
      const [full, head] = [await get(path), await get(path, {}, 'HEAD')];
      assert.equal(head.status, full.status);
      assert.deepEqual([...head.headers], [...full.headers]);
      assert.equal((await bytesOf(head)).length, 0);
    }
  });
});

test('what a client says of encodings is understood', () => {
  const yes = ['gzip', 'GZIP', 'br, gzip', 'identity, gzip;q=0.1', '*', 'x-gzip', 'gzip ; q=1.0', '*;q=0, gzip'];
  const no = [undefined, '', 'identity', 'br', 'gzip;q=0', 'gzip;q=0.000', '*;q=0', '*, gzip;q=0', 'gzip;q=nonsense'];
  for (const accepted of yes) assert.equal(takesGzip(accepted), true, accepted);
  for (const accepted of no) assert.equal(takesGzip(accepted), false, accepted);
});

test('a log that is open leaves everything else closed', async () => {
  const ledger = await logOf(1);
  const app = servedTo(withPermission(anonymous, 'log.read'), (serve) => {
    addLogRoutes(serve, { ledger, checkpoint: async () => (await ledger.checkpoint()).note, isPublic: true });
    serve.json(nodeList, async () => ({ items: [], next_cursor: null }));
    serve.raw(metrics, async (_, c) => c.text('closed'));
  });
  assert.equal((await app.request('/log/checkpoint')).status, 200);
  const sly = [
    '/log/../api/v1/nodes',
    '/log/%2e%2e/metrics',
    '//log//../metrics',
    '/log/..%2fmetrics',
    '/log\\..\\metrics',
  ];
  for (const path of ['/api/v1/nodes', '/metrics', '/log', '/logs/checkpoint', ...sly]) {
    const answer = await app.request(new Request(`http://host${path}`));
    assert.ok([401, 404].includes(answer.status), `${path}: ${answer.status}`);
    assert.notEqual(await answer.text(), 'closed');
  }
});

test('requests are counted by the route they matched, wherever it stands among the middleware', async () => {
  const app = new Hono<HttpEnv>();
  const seen: string[] = [];
  app.use(
    withMetrics(
      { observe: ({ method, route, status }) => void seen.push(`${method} ${route} ${status}`) },
      stoppedClock,
    ),
  );
  app.get('/health', (c) => c.text('ok'));
  app.use((_c, next) => next());
  app.get('/log/tile/*', (c) => c.text('ok'));
  for (const path of ['/health', '/log/tile/0/000', '/nowhere']) await app.request(path);
  await app.request('/health', { method: 'HEAD' });
  assert.deepEqual(seen, ['GET /health 200', 'GET /log/tile/* 200', 'GET unmatched 404', 'HEAD /health 200']);
});

describe('bundles in memory', () => {
  const leaf = (at: number) => Buffer.from(`leaf ${at}`);
  /** A store of `kept` leaves from `from` on, which counts what is read, and a clock to turn. */
  function reader(from = 0, bytes = 0) {
    const world = { reads: 0, nowMs: 0, from };
    const leaves = async (start: number, end: number) => {
      world.reads += 1;
      const indexes = Array.from({ length: end - start }, (_, i) => start + i).filter((index) => index >= world.from);
      return indexes.map((index) => Buffer.concat([leaf(index), Buffer.alloc(bytes)]));
    };
    const clock = { now: () => 0, monotonicMs: () => world.nowMs };
    const hashes = async (index: number, width: number) => {
      const indexes = Array.from({ length: width }, (_, i) => index * 256 + i);
      return Buffer.concat(indexes.map((at) => leafHash(Buffer.concat([leaf(at), Buffer.alloc(bytes)]))));
    };
    const { keys, next } = testAuthor('collector');
    const said = next(erasedStatement({ from: 0, to: 1_000, keptBodies: 0 }));
    const store = { leaves, erasures: async () => [{ ...said, index: 1_000 }] };
    return { world, bundles: new BundleReader({ store, clock, hashes, collectorKey: keys.publicKey }) };
  }
  const textsOf = (bundle: Buffer) => decodeBundle(bundle).map(String);

  test('are read once for a crowd, and narrower ones are their beginnings', async () => {
    const { world, bundles } = reader();
    const answers = await Promise.all(Array.from({ length: 20 }, () => bundles.read(3, 200)));
    assert.equal(world.reads, 1);
    assert.ok(answers.every((answer) => answer.equals(answers[0] ?? Buffer.of())));
    assert.deepEqual(textsOf(await bundles.read(3, 2)), ['leaf 768', 'leaf 769']);
    assert.equal(world.reads, 1);
    assert.equal(textsOf(await bundles.read(3, 256)).length, 256);
    assert.equal(world.reads, 2);
  });

  test('are read anew after some seconds, so that what was erased meanwhile is gone', async () => {
    const { world, bundles } = reader();
    await bundles.read(0, 256);
    world.from = 1_000_000;
    await bundles.read(0, 256);
    world.nowMs = limits.bundleKeptMs + 1;
    await assert.rejects(bundles.read(0, 256), { code: 'resource.gone', message: /entries 0 to 255.*ledger\.erased/s });
    await assert.rejects(bundles.read(0, 1), { code: 'resource.gone' });
  });

  test('take a bounded amount of memory, however many there are', async () => {
    const { world, bundles } = reader(0, 40_000);
    for (let index = 0; index < 8; index++) await bundles.read(index, 256);
    assert.equal(world.reads, 8);
    await bundles.read(7, 256);
    assert.equal(world.reads, 8);
    await bundles.read(0, 256);
    assert.equal(world.reads, 9);
  });

  test('that could not be read are asked for again', async () => {
    let failing = true;
    const leaves = async (start: number, end: number) => {
      if (failing) throw new Error('no answer');
      return Array.from({ length: end - start }, (_, i) => leaf(start + i));
    };
    const hashes = async (_: number, width: number) => {
      return Buffer.concat(Array.from({ length: width }, (_, i) => leafHash(leaf(i))));
    };
    const store = { leaves, erasures: async () => [] };
    const bundles = new BundleReader({ store, clock: stoppedClock, hashes, collectorKey: collectorKeys.publicKey });
    await assert.rejects(bundles.read(0, 1), /no answer/);
    failing = false;
    assert.deepEqual(textsOf(await bundles.read(0, 1)), ['leaf 0']);
  });
});

async function assertRefused(answer: Response | Promise<Response>, status: number, path: string): Promise<void> {
  const { status: actual, headers } = await answer;
  assert.equal(actual, status, path);
  assert.equal(headers.get('Cache-Control'), 'no-store', path);
}
