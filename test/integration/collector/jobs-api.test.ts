import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Hono } from 'hono';
import { z } from 'zod';
import { breakerList } from '../../../collector/api/breakers-contract.ts';
import { deadLetterList, deadLetterShow } from '../../../collector/api/dead-letters-contract.ts';
import { jobList, jobShow } from '../../../collector/api/enforcements-contract.ts';
import type { HttpEnv } from '../../../collector/http/env.ts';
import { addJobsRoutes } from '../../../collector/http/jobs-routes.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { served } from '../../serving.ts';
import { listening, type WorkWorld, wishFor, workAll, workWorld } from './jobs-world.ts';

let postgres: TestPostgres;
let db: Db;
let work: WorkWorld;
let routes: Hono<HttpEnv>;

before(async () => {
  postgres = await startPostgres();
  db = postgres.pool((await postgres.writerDatabase()).url);
  work = await workWorld(db, await startLedger(postgresLedgerStore(db)));
  routes = served((serve) => addJobsRoutes(serve, { working: work.working, db }));
});
after(async () => {
  await work.working.close();
  await postgres.stop();
});

async function get(path: string): Promise<unknown> {
  const answer = await routes.request(path);
  assert.equal(answer.status, 200, path);
  return answer.json();
}

async function post(path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }> {
  const sent =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const answer = await routes.request(path, { method: 'POST', ...sent });
  return { status: answer.status, body: z.record(z.string(), z.unknown()).parse(await answer.json()) };
}

const { artifact, target, action } = wishFor('https://receiver.example/hook');
const wish = { artifact_id: artifact, target, action };

test('the words of the earlier API ask for an enforcement, and tell its way', async () => {
  const receiver = await listening((request, response) => response.writeHead(request.url === '/no' ? 500 : 200).end());
  const good = await post('/enforce', { ...wish, target: `${receiver.url}/yes` });
  assert.equal(good.status, 202);
  assert.equal(good.body.status, 'pending');
  const bad = await post('/api/v1/enforcements', { ...wish, target: `${receiver.url}/no`, reason: 'because' });
  await workAll(work, db);
  const done = jobShow.answers[200].parse(await get(`/enforcements/${good.body.enforcement_id}`));
  assert.equal(done.status, 'done');
  assert.equal(done.tx_id, null);
  assert.equal(done.error_msg, null);
  assert.equal(done.actor, 'local');
  assert.deepEqual(
    done.inflow_trace.map(({ step }) => step),
    ['requested', 'attempt', 'result'],
  );
  const id = String(bad.body.enforcement_id);
  const dead = jobShow.answers[200].parse(await get(`/api/v1/enforcements/${id}`));
  assert.equal(dead.attempts.length, 3);
  assert.match(dead.error_msg ?? '', /HTTP 500/);

  const listed = jobList.answers[200].parse(await get('/api/v1/enforcements?limit=1'));
  assert.deepEqual(
    listed.items.map(({ enforcement_id }) => enforcement_id),
    [id],
  );
  const rest = jobList.answers[200].parse(await get(`/api/v1/enforcements?cursor=${listed.next_cursor}`));
  assert.equal(rest.items[0]?.enforcement_id, good.body.enforcement_id);
  for (const [status, count] of Object.entries({ done: 1, failed: 1, pending: 0, running: 0, retrying: 0 })) {
    assert.equal(jobList.answers[200].parse(await get(`/enforcements?status=${status}`)).items.length, count, status);
  }

  const letters = deadLetterList.answers[200].parse(await get('/api/v1/dead-letters?open=true'));
  assert.equal(letters.items.length, 1);
  const retried = await post(`/api/v1/dead-letters/${id}/retry`);
  assert.equal(retried.status, 202);
  assert.equal((await post(`/api/v1/dead-letters/${id}/resolve`, { reason: 'late' })).status, 409);
  const shown = deadLetterShow.answers[200].parse(await get(`/api/v1/dead-letters/${id}`));
  assert.equal(shown.follow_up?.enforcement_id, retried.body.enforcement_id);
  await workAll(work, db);
  const again = String(retried.body.enforcement_id);
  assert.equal((await post(`/api/v1/dead-letters/${again}/resolve`, { reason: ' ' })).status, 422);
  const resolved = await post(`/api/v1/dead-letters/${again}/resolve`, { reason: 'nobody needs it' });
  assert.equal(resolved.status, 200);
  assert.deepEqual(deadLetterList.answers[200].parse(await get('/api/v1/dead-letters?open=true')).items, []);

  const { items } = breakerList.answers[200].parse(await get('/api/v1/breakers'));
  const [breaker] = items;
  assert.equal(breaker?.service, `webhook:${new URL(receiver.url).host}`);
  assert.equal(breaker?.failures, 6);
  const reset = await post(`/api/v1/breakers/${encodeURIComponent(breaker?.service ?? '')}/reset`);
  assert.deepEqual([reset.status, reset.body.failures], [200, 0]);
  await receiver.close();
});

test('what cannot be done is refused before it is on record', async () => {
  const targets = [
    ...[
      'http://169.254.169.254/latest',
      'https://127.0.0.2.nip.example@127.0.0.1/',
      'https://10.0.0.1/',
      'ftp://x.example/',
    ],
    ...[
      'http://x.example/',
      'https://[::1]/',
      'https://[::ffff:a9fe:a9fe]/',
      'https://2852039166/',
      'nonsense',
      'file:///etc/passwd',
    ],
    'https://x.example/\r\nx: y',
  ];
  for (const one of targets) {
    const { status, body } = await post('/enforce', { ...wish, target: one });
    // A name without TLS is looked at when it is connected to.
    if (one === 'http://x.example/') assert.equal(status, 202);
    else assert.deepEqual([status, body.error_code], [422, 'validation.body'], one);
  }
  const pins = await post('/enforce', { ...wish, action: 'pin_arweave' });
  assert.deepEqual([pins.status, pins.body.error_code], [409, 'state.conflict']);
  for (const body of [{}, { ...wish, artifact_id: 'x' }, { ...wish, action: 'rm' }, { ...wish, more: 1 }, [], 'x']) {
    assert.equal((await post('/enforce', body)).status, 422, JSON.stringify(body));
  }
  for (const path of ['/enforcements/nothing', `/enforcements/${'f'.repeat(64)}`, '/api/v1/dead-letters/x']) {
    assert.equal((await routes.request(path)).status, 404, path);
  }
});
