import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { resolveDeadLetter, retryDeadLetter } from '../../../collector/jobs/dead-letters.ts';
import { requestEnforcement } from '../../../collector/jobs/request.ts';
import { statusOf, traceDigest, traceOf } from '../../../collector/jobs/runs.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { checkProjections, matches } from '../../../collector/ledger/replay.ts';
import { listDeadLetters, listEnforcements } from '../../../collector/postgres/job-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { postgresReplays } from '../../../collector/postgres/replay-store.ts';
import { randomOf, seedOf } from '../../e2e/random.ts';
import { fromSource } from '../../from-source.ts';
import { collectorKeys, startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { listening, shortLeases, webhookSecret, wishFor, workAll, workWorld } from './jobs-world.ts';

const program = fileURLToPath(new URL('./work-until.ts', import.meta.url));
const seed = seedOf('moments at which work is killed');

let postgres: TestPostgres;
before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

/** A ledger in a database of its own, used by the restricted role that collectors have. */
async function world() {
  const { url, ownerUrl } = await postgres.writerDatabase();
  const db = postgres.pool(url);
  await shortLeases(postgres.pool(ownerUrl));
  const ledger = await startLedger(postgresLedgerStore(db));
  return { url, ownerUrl, db, ledger };
}

async function outcomes(db: Db) {
  const { rows } = await db.query<{ enforcement: string; outcome: string; attempts: number }>(
    `select enforcement, body ->> 'outcome' as outcome, (body ->> 'attempts')::int as attempts
       from enforcement_events where kind = 'enforcement.result' order by index`,
  );
  return rows;
}

async function jobsLeft(db: Db): Promise<number> {
  const { rows } = await db.query<{ count: number }>('select count(*) as count from pgboss.job');
  return rows[0]?.count ?? -1;
}

async function request(ledger: Ledger, db: Db, targets: readonly string[]): Promise<readonly string[]> {
  const { working } = await workWorld(db, ledger);
  const ids: string[] = [];
  for (const target of targets) ids.push((await requestEnforcement(working.requests, wishFor(target))).enforcementId);
  return ids;
}

describe('an enforcement', () => {
  test('is in line when its entry is on record, is done once, and tells how', async () => {
    const { db, ledger } = await world();
    const receiver = await listening((_request, response) => response.end('thanks'));
    const [id = ''] = await request(ledger, db, [`${receiver.url}/hook`]);
    assert.equal(await jobsLeft(db), 1);
    const work = await workWorld(db, ledger);
    const waiting = await work.store.job(id);
    assert.equal(waiting && statusOf(waiting), 'pending');
    await workAll(work, db);
    const job = await work.store.job(id);
    assert.ok(job?.result);
    assert.equal(statusOf(job), 'done');
    assert.deepEqual(
      traceOf(job).map(({ step }) => step),
      ['requested', 'attempt', 'result'],
    );
    assert.equal(job.result.trace, traceDigest(job.attempts));
    assert.equal(job.result.attempts, 1);
    assert.equal(await jobsLeft(db), 0);
    const [heard] = receiver.heard;
    assert.equal(receiver.heard.length, 1);
    assert.equal(heard?.headers['idempotency-key'], id);
    const { 'webhook-timestamp': at, 'webhook-signature': signature } = heard?.headers ?? {};
    const mac = createHmac('sha256', webhookSecret).update(`${id}.${at}.${heard?.body}`).digest('base64');
    assert.equal(signature, `v1,${mac}`);
    await work.working.close();
    await receiver.close();
  });

  test('is tried three times, and is a dead letter then, which is retried or resolved once', async () => {
    const { db, ledger } = await world();
    let status = 500;
    const receiver = await listening((_request, response) => response.writeHead(status).end('no'));
    const [first = '', second = ''] = await request(ledger, db, [receiver.url, receiver.url]);
    const work = await workWorld(db, ledger);
    await workAll(work, db);
    assert.equal(receiver.heard.length, 6);
    assert.deepEqual(
      (await outcomes(db)).map(({ outcome, attempts }) => [outcome, attempts]),
      [
        ['failed', 3],
        ['failed', 3],
      ],
    );
    const letters = await listDeadLetters(db, { open: true }, { limit: 10 });
    assert.deepEqual(letters.map(({ requested }) => requested.id).sort(), [first, second].sort());
    assert.match(letters[0]?.result?.error ?? '', /HTTP 500/);

    status = 200;
    const { deadLetters } = work.working;
    const retries = await Promise.allSettled([
      ...[1, 2, 3].map(() => retryDeadLetter(deadLetters, first, 'user:root')),
      ...[1, 2].map(() => resolveDeadLetter(deadLetters, first, { actor: 'user:root', reason: 'seen' })),
    ]);
    assert.equal(retries.filter(({ status }) => status === 'fulfilled').length, 1);
    await assert.rejects(retryDeadLetter(deadLetters, first, 'user:root'), { code: 'state.conflict' });
    const resolved = await resolveDeadLetter(deadLetters, second, { actor: 'user:root', reason: 'receiver is gone' });
    assert.equal(resolved.followUp?.by, 'resolution');
    await workAll(work, db);
    assert.deepEqual(await listDeadLetters(db, { open: true }, { limit: 10 }), []);
    assert.equal((await listDeadLetters(db, { open: false }, { limit: 10 })).length, 2);
    const counts = new Map<string, number>();
    for (const { enforcement } of await outcomes(db)) counts.set(enforcement, (counts.get(enforcement) ?? 0) + 1);
    assert.ok([...counts.values()].every((count) => count === 1));
    await assert.rejects(retryDeadLetter(deadLetters, 'f'.repeat(64), 'user:root'), { code: 'resource.not_found' });
    await work.working.close();
    await receiver.close();
  });

  test('has one outcome, however many say so at once', async () => {
    const { db, ledger } = await world();
    const [id = ''] = await request(ledger, db, ['https://receiver.example/']);
    const body = { id, outcome: 'done', txId: null, error: null, attempts: 1, trace: 'f'.repeat(64) } as const;
    const other = await startLedger(postgresLedgerStore(db));
    const said = await Promise.allSettled(
      [ledger, other, ledger, other].map((one) => one.record({ kind: 'enforcement.result', body })),
    );
    assert.equal(said.filter(({ status }) => status === 'fulfilled').length, 1);
    for (const one of said) if (one.status === 'rejected') assert.equal(one.reason.code, 'state.conflict');
    assert.equal((await outcomes(db)).length, 1);
    // What was refused has left nothing behind that would disturb the rest.
    await ledger.record({ kind: 'auth.event', body: { event: 'x', actor: 'x', subject: 'x', detail: 'x' } });
  });

  test('that lost its job gets another one, and projections can be rebuilt', async () => {
    const { db, ledger, ownerUrl } = await world();
    const receiver = await listening((_request, response) => response.end());
    await request(ledger, db, [receiver.url, receiver.url]);
    await db.query('delete from pgboss.job');
    const work = await workWorld(db, ledger);
    assert.equal(await work.queue.restock(), 2);
    assert.equal(await work.queue.restock(), 0);
    await workAll(work, db);
    const needs = { collectorKey: collectorKeys.publicKey };
    const report = await checkProjections(postgresReplays({ url: ownerUrl, applicationName: 'test' }), needs);
    assert.ok(matches(report.tables), JSON.stringify(report.tables.filter(({ differing }) => differing > 0)));
    // A replay tells what happened; it makes nothing happen again.
    assert.equal(await jobsLeft(db), 0);
    assert.equal((await listEnforcements(db, {}, { limit: 10 })).length, 2);
    await work.working.close();
    await receiver.close();
  });
});

describe('work that is killed', () => {
  async function finished(url: string, touches: number): Promise<boolean> {
    const child = spawn(process.execPath, [...fromSource(program), url, String(touches)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const [code] = await once(child, 'exit');
    return code === 0;
  }

  test(`leaves one outcome each, whenever that is (seed ${seed})`, { timeout: 240_000 }, async () => {
    const random = randomOf(seed, 'kills');
    const { url, db, ledger } = await world();
    const receiver = await listening((request, response) => {
      const isBad = request.url === '/never' || (request.url === '/sometimes' && random.chance(0.4));
      response.writeHead(isBad ? 503 : 200).end();
    });
    const targets = ['/ok', '/sometimes', '/never', '/ok', '/sometimes', '/ok'].map((path) => `${receiver.url}${path}`);
    const ids = await request(ledger, db, targets);
    for (let kills = 0; kills < 12; kills++) {
      if (await finished(url, random.int(1, 70))) break;
    }
    // Two at once, and nobody kills them any more.
    assert.deepEqual(await Promise.all([finished(url, 0), finished(url, 0)]), [true, true]);
    const found = await outcomes(db);
    assert.deepEqual(found.map(({ enforcement }) => enforcement).sort(), [...ids].sort());
    assert.equal(found.find(({ enforcement }) => enforcement === ids[2])?.outcome, 'failed');
    for (const at of [0, 3, 5]) assert.equal(found.find(({ enforcement }) => enforcement === ids[at])?.outcome, 'done');
    const bodies = new Map<string, Set<string>>();
    for (const { headers, body } of receiver.heard) {
      const key = String(headers['idempotency-key']);
      assert.equal(JSON.parse(body).data.enforcement_id, key);
      bodies.set(key, (bodies.get(key) ?? new Set()).add(body));
    }
    assert.deepEqual([...bodies.keys()].sort(), [...ids].sort());
    assert.ok([...bodies.values()].every((said) => said.size === 1));
    assert.equal(await jobsLeft(db), 0);
    await receiver.close();
  });
});
