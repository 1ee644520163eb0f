import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Hono } from 'hono';
import { z } from 'zod';
import { contract } from '../../../collector/api/contract.ts';
import { anonymous, type Caller, local } from '../../../collector/auth/caller.ts';
import type { HttpEnv } from '../../../collector/http/env.ts';
import { errorAnswer } from '../../../collector/http/errors.ts';
import type { IdempotencyStore } from '../../../collector/http/idempotency.ts';
import { type Around, createServing, type Serve } from '../../../collector/http/serving.ts';
import { postgresIdempotency } from '../../../collector/postgres/idempotency-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let db: Db;
let store: IdempotencyStore;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  db = under.db;
  store = postgresIdempotency(db);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

const counting = contract({
  operation: 'counter.add',
  method: 'post',
  path: '/count/:name',
  permission: 'orders.issue',
  summary: 'counts',
  params: z.object({ name: z.string() }),
  body: z.strictObject({ by: z.int().default(1) }),
  answers: { 201: z.object({ total: z.int(), filler: z.string() }) },
});

const ada: Caller = { ...local, actor: 'user:ada' };
const bob: Caller = { ...local, actor: 'user:bob' };

interface Counter {
  total: number;
  /** What a handler does before it answers. */
  meanwhile: () => Promise<string>;
}

function counter(): Counter {
  return { total: 0, meanwhile: async () => '' };
}

/** Of a route that only this test has. */
function servedTo(caller: Caller, add: (serve: Serve) => void, around: Around): Hono<HttpEnv> {
  const app = new Hono<HttpEnv>();
  app.onError((thrown, c) => errorAnswer(c, thrown, quietLogger));
  app.use(async (c, next) => {
    c.set('requestId', 'test');
    await next();
  });
  add(createServing(app, { visitor: caller, authenticate: async () => caller }, around));
  return app;
}

function appOf(caller: Caller, counted: Counter): Hono<HttpEnv> {
  return servedTo(
    caller,
    (serve) =>
      serve.json(counting, async ({ body }) => {
        assert.deepEqual(Object.keys(body), ['by'], 'handlers see nothing of the key');
        counted.total += body.by;
        const { total } = counted;
        return { total, filler: await counted.meanwhile() };
      }),
    { idempotency: store },
  );
}

const post = (app: Hono<HttpEnv>, key: string | undefined, body: object = {}, path = '/count/a') =>
  app.request(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...(key !== undefined && { 'Idempotency-Key': key }) },
    body: JSON.stringify(body),
  });

const codeOf = async (answer: Response) => z.object({ error_code: z.string() }).parse(await answer.json()).error_code;

test('the same request under the same key has one effect and one answer', async () => {
  const counted = counter();
  const app = appOf(ada, counted);
  const first = await post(app, 'k-1', { by: 2 });
  const again = await post(app, '"k-1"', { by: 2 });
  assert.deepEqual([first.status, again.status, counted.total], [201, 201, 2]);
  assert.equal(await again.text(), await first.text());
  assert.equal(first.headers.get('Idempotent-Replayed'), null);
  assert.equal(again.headers.get('Idempotent-Replayed'), 'true');
  assert.match(again.headers.get('Content-Type') ?? '', /^application\/json/);
});

test('request_id of the body is taken for the key', async () => {
  const counted = counter();
  const app = appOf(ada, counted);
  await post(app, undefined, { request_id: 'r-1' });
  assert.equal((await post(app, undefined, { request_id: 'r-1' })).headers.get('Idempotent-Replayed'), 'true');
  await post(app, undefined, { request_id: 'r-2' });
  assert.equal(counted.total, 2);
});

test('another request under a key that was used is refused', async () => {
  const counted = counter();
  const app = appOf(ada, counted);
  await post(app, 'k-2');
  const others = await Promise.all([
    post(app, 'k-2', { by: 3 }),
    post(app, 'k-2', {}, '/count/b'),
    post(app, 'k-2', {}, '/count/a'),
  ]);
  assert.deepEqual(
    others.map(({ status }) => status),
    [409, 409, 201],
  );
  assert.equal(counted.total, 1);
});

test("one caller's key never shows another caller's answer", async () => {
  const counted = counter();
  await post(appOf(ada, counted), 'k-3', { by: 5 });
  const answer = await post(appOf(bob, counted), 'k-3', { by: 5 });
  assert.equal(answer.headers.get('Idempotent-Replayed'), null);
  assert.deepEqual(await answer.json(), { total: 10, filler: '' });
});

test('of fifty at once one has an effect', async () => {
  const counted = counter();
  let release = (_: string): void => {};
  // Made at once: all others may be told before the one that works hears that it does.
  const released = new Promise<string>((resolve) => {
    release = resolve;
  });
  counted.meanwhile = () => released;
  const app = appOf(ada, counted);
  let told = 0;
  // Whoever of the fifty it is that works, all others are told before it is done.
  const all = Array.from({ length: 50 }, async () => {
    const answer = await post(app, 'k-4');
    told += 1;
    if (told === 49) release('');
    return answer;
  });
  const answers = await Promise.all(all);
  assert.equal(counted.total, 1);
  assert.equal(answers.filter(({ status }) => status === 201).length, 1);
  for (const answer of answers.filter(({ status }) => status !== 201)) {
    assert.equal(answer.status, 409);
    assert.equal(answer.headers.get('Retry-After'), '1');
  }
  assert.equal((await post(app, 'k-4')).headers.get('Idempotent-Replayed'), 'true');
});

test('a refusal by what was found is kept; what was asked wrongly or failed is not', async () => {
  const thrown: unknown[] = [
    new AppError('state.conflict', 'taken'),
    new AppError('validation.body', 'not so'),
    new AppError('rate_limit.exceeded', 'later'),
    new AppError('state.busy', 'later', { retryable: true }),
    new Error('a mistake'),
  ];
  const replayed: (string | null)[] = [];
  for (const [i, error] of thrown.entries()) {
    const counted = counter();
    counted.meanwhile = async () => {
      throw error;
    };
    const app = appOf(ada, counted);
    const first = await post(app, `k-5-${i}`);
    const again = await post(app, `k-5-${i}`);
    assert.equal(again.status, first.status);
    replayed.push(again.headers.get('Idempotent-Replayed'));
    assert.equal(counted.total, again.headers.get('Idempotent-Replayed') === null ? 2 : 1);
  }
  assert.deepEqual(replayed, ['true', null, null, null, null]);
});

test('an answer that is too large to be kept is not given again, and not made again', async () => {
  const counted = counter();
  counted.meanwhile = async () => 'x'.repeat(limits.maxKeptAnswerBytes);
  const app = appOf(ada, counted);
  assert.equal((await post(app, 'k-6')).status, 201);
  const again = await post(app, 'k-6');
  assert.deepEqual([again.status, await codeOf(again), counted.total], [409, 'state.conflict', 1]);
});

test('what a collector that died had begun is taken over once its lease is over, and by one', async () => {
  const name = { caller: 'user:ada', operation: 'counter.add', key: 'k-7' };
  const request = Buffer.alloc(32, 7);
  const dead = await store.claim(name, request);
  assert.equal(dead.state, 'ours');
  assert.deepEqual(await store.claim(name, request), { state: 'running' });
  await db.query(`update idempotency_keys set lease_until = now() - interval '1 second' where key = 'k-7'`);
  assert.deepEqual(await store.claim(name, Buffer.alloc(32, 8)), { state: 'other' });
  const claims = await Promise.all(Array.from({ length: 20 }, () => store.claim(name, request)));
  const ours = claims.filter(({ state }) => state === 'ours');
  assert.equal(ours.length, 1);
  // The one that was taken for dead comes back: it has no say any more.
  await store.complete(name, dead.claim, { status: 200, text: '"dead"' });
  await store.abandon(name, dead.claim);
  assert.deepEqual(await store.claim(name, request), { state: 'running' });
  const [mine] = ours;
  assert.ok(mine?.state === 'ours');
  await store.complete(name, mine.claim, { status: 200, text: '"alive"' });
  assert.deepEqual(await store.claim(name, request), { state: 'done', answer: { status: 200, text: '"alive"' } });
});

test('a key is forgotten after a day, swept or not', async () => {
  const counted = counter();
  const app = appOf(ada, counted);
  await post(app, 'k-8');
  await db.query(`update idempotency_keys set created_at = now() - interval '25 hours' where key = 'k-8'`);
  assert.equal((await post(app, 'k-8', { by: 2 })).status, 201);
  assert.equal(counted.total, 3);
  await db.query(`update idempotency_keys set created_at = now() - interval '25 hours' where key = 'k-8'`);
  assert.equal(await store.sweep(), 1);
  assert.equal(await store.sweep(), 0);
});

test('nobody who has not signed in has keys, and nor has a route whose answer is not kept', async () => {
  const counted = counter();
  const visitor: Caller = { ...anonymous, permissions: local.permissions };
  const stranger = await post(appOf(visitor, counted), 'k-9');
  assert.deepEqual([stranger.status, await codeOf(stranger)], [400, 'validation.request']);
  const secret = { ...counting, idempotency: false };
  const add = (serve: Serve) => serve.json(secret, async () => ({ total: 0, filler: '' }));
  const app = servedTo(ada, add, { idempotency: store });
  assert.equal((await post(app, 'k-9')).status, 400);
  assert.equal(counted.total, 0);
  assert.equal((await post(app, undefined)).status, 201);
});

test('a silence that is added twice under one key of a real collector is there once', async () => {
  const add = () =>
    fetch(`${under.collector.url}/api/v1/alert-silences`, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${under.token}`,
        'Content-Type': 'application/json',
        'Idempotency-Key': 'silence-1',
      },
      body: JSON.stringify({ pattern: 'node.silent/*', reason: 'moving house', for_seconds: 3600 }),
    });
  const first = await add();
  const again = await add();
  assert.ok(first.ok, await first.clone().text());
  assert.equal(again.headers.get('Idempotent-Replayed'), 'true');
  assert.equal(await again.text(), await first.text());
  const { json } = await under.get('/api/v1/alert-silences');
  assert.equal(z.array(z.unknown()).parse(json.items).length, 1);
});
