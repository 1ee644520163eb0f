import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { after, before, test } from 'node:test';
import { requestEnforcement } from '../../../collector/jobs/request.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { listening, shortLeases, wishFor, workAll, workWorld } from './jobs-world.ts';

/*
 * Receivers of webhooks that never come to an end with their answer. Time is bounded by the limits themselves, so this takes as long as
 * one try may; what takes longer is stopped by the runner.
 */

const patienceMs = 90_000;
const dripMs = 50;
/** What the kernel holds on its way, at most: what is read of an answer is 16 KiB. */
const maxFloodedBytes = 16 * 1024 * 1024;

let postgres: TestPostgres;
before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

/** Writes until the other side has gone. */
function drip(response: ServerResponse, write: () => void): void {
  const timer = setInterval(write, dripMs);
  response.on('close', () => clearInterval(timer));
}

let flooded = 0;
function flood(response: ServerResponse): void {
  const chunk = Buffer.alloc(64 * 1024, 'x');
  while (!response.destroyed && response.write(chunk)) flooded += chunk.length;
  if (!response.destroyed) response.once('drain', () => flood(response));
}

const oddities: Readonly<Record<string, (response: ServerResponse) => void>> = {
  '/head': (response) => {
    response.socket?.write('HTTP/1.1 200 OK\r\nX-Drip: ');
    drip(response, () => response.socket?.write('a'));
  },
  '/refusing': (response) => {
    response.writeHead(503);
    drip(response, () => response.write('x'));
  },
  '/flooding': (response) => {
    response.writeHead(503);
    flood(response);
  },
  '/taking': (response) => {
    response.writeHead(200);
    drip(response, () => response.write('x'));
  },
};

test('receivers that answer drip by drip, or without end, cost one try, and are asked again under the same key', {
  timeout: patienceMs,
}, async () => {
  const { url, ownerUrl } = await postgres.writerDatabase();
  const db = postgres.pool(url);
  await shortLeases(postgres.pool(ownerUrl));
  const ledger = await startLedger(postgresLedgerStore(db));
  const asked = new Set<string>();
  const receiver = await listening((request, response) => {
    const path = request.url ?? '';
    const isFirst = !asked.has(path);
    asked.add(path);
    if (isFirst) oddities[path]?.(response);
    else response.end('thanks');
  });
  const work = await workWorld(db, ledger, { attempts: 2, concurrency: Object.keys(oddities).length });
  const ids = new Map<string, string>();
  for (const path of Object.keys(oddities)) {
    const { enforcementId } = await requestEnforcement(work.working.requests, wishFor(`${receiver.url}${path}`));
    ids.set(path, enforcementId);
  }
  await workAll(work, db);
  for (const [path, id] of ids) {
    const job = await work.store.job(id);
    // What was taken was taken, however its answer ends.
    const wanted = path === '/taking' ? ['done'] : ['failed', 'done'];
    assert.deepEqual(
      job?.attempts.map(({ outcome }) => outcome),
      wanted,
      path,
    );
    assert.equal(job?.result?.outcome, 'done', path);
    const heard = receiver.heard.filter((one) => one.path === path);
    assert.deepEqual(
      heard.map(({ headers }) => headers['idempotency-key']),
      wanted.map(() => id),
      path,
    );
    assert.equal(new Set(heard.map(({ body }) => body)).size, 1, path);
  }
  assert.ok(flooded < maxFloodedBytes, `${flooded} bytes`);
  await work.working.close();
  await receiver.close();
});
