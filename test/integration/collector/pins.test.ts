import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { requestEnforcement } from '../../../collector/jobs/request.ts';
import { statusOf } from '../../../collector/jobs/runs.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { startArweaveGateway } from '../../fakes/arweave-gateway.ts';
import { startLedger, stoppedClock } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { type WorkOptions, wishFor, workWorld } from './jobs-world.ts';

let postgres: TestPostgres;
let folder: string;
let walletFile: string;

before(async () => {
  postgres = await startPostgres();
  folder = await mkdtemp(join(tmpdir(), 'sigilwatch-wallet-'));
  walletFile = join(folder, 'wallet.json');
  // A wallet has 4096 bits; these are made faster.
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await writeFile(walletFile, JSON.stringify(privateKey.export({ format: 'jwk' })));
});
after(async () => {
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});

const wish = wishFor('permanent', 'pin_arweave');

async function world(gateway: string, options: WorkOptions = {}) {
  const { url } = await postgres.writerDatabase();
  const db = postgres.pool(url);
  const ledger = await startLedger(postgresLedgerStore(db));
  const settings = { arweave: { gateway, walletFile } };
  const open = () => workWorld(db, ledger, { settings, ...options });
  const work = await open();
  const { enforcementId: id } = await requestEnforcement(work.working.requests, wish);
  /** What waits is due at once, and is tried once. */
  const step = async (by = work) => {
    await db.query(`update pgboss.job set start_after = now() - interval '1 second'`);
    await by.worker.step(new AbortController().signal);
    await by.worker.idle();
    const job = await by.store.job(id);
    assert.ok(job);
    return job;
  };
  return { db, ledger, id, work, open, step };
}

test('a pin is signed, sent and verified, and its id is on record', async () => {
  const gateway = await startArweaveGateway();
  const { work, step, id } = await world(gateway.url, { proof: Buffer.from('the proof') });
  const sent = await step();
  assert.equal(statusOf(sent), 'retrying');
  assert.match(sent.attempts[0]?.error ?? '', /is in 0 of 1 blocks/);
  gateway.mine();
  gateway.mine();
  const done = await step();
  assert.equal(done.result?.outcome, 'done');
  assert.equal(done.result.txId, sent.txId);
  assert.deepEqual([...gateway.kept], [[done.txId, 'the proof']]);
  assert.equal(gateway.posted.length, 1);
  const tags = JSON.parse(gateway.posted[0] ?? '').tags as { name: string; value: string }[];
  const plain = tags.map(({ name, value }) => [name, value].map((text) => Buffer.from(text, 'base64url').toString()));
  assert.ok(plain.some(([name, value]) => name === 'Enforcement' && value === id));
  await work.working.close();
  await gateway.close();
});

test('a pin waits for witnesses, uses up no try, and goes without them after an hour', async () => {
  const gateway = await startArweaveGateway();
  let witnessed = false;
  const { work, step } = await world(gateway.url, { witnessed: () => witnessed, now: stoppedClock.now });
  for (let times = 0; times < 3; times++) {
    const job = await step();
    assert.equal(job.attempts[0]?.outcome, 'waiting');
    assert.match(job.attempts[0]?.error ?? '', /no quorum of witnesses/);
    assert.equal(job.txId, null);
  }
  witnessed = true;
  assert.notEqual((await step()).txId, null);
  await work.working.close();
  const alone = await world(gateway.url, { witnessed: () => false, now: () => stoppedClock.now() + 3_600_000 });
  assert.notEqual((await alone.step()).txId, null);
  await alone.work.working.close();
  await gateway.close();
});

test('a transaction whose answer was lost is the same one at the next try', async () => {
  const gateway = await startArweaveGateway();
  const { work, step, open } = await world(gateway.url);
  // Anchor, price and status are answered; the post is taken, and nobody hears of it.
  const first = await step();
  const again = await open();
  gateway.misbehaviours.push({ status: 404, body: 'Not Found.' });
  const second = await step(again);
  assert.equal(second.txId, first.txId);
  assert.equal(gateway.posted.length, 2);
  assert.equal(new Set(gateway.posted).size, 1);
  assert.equal(gateway.kept.size, 1);
  gateway.mine();
  gateway.mine();
  assert.equal((await step(again)).result?.outcome, 'done');
  for (const one of [work, again]) await one.working.close();
  await gateway.close();
});

test('without a gateway a pin waits for as long as it takes, and no try is used up', async () => {
  const first = await startArweaveGateway();
  await first.close();
  const { work, step } = await world(first.url, { threshold: 3, breakerMs: 1 });
  for (let times = 0; times < 12; times++) {
    const job = await step();
    assert.equal(statusOf(job), 'retrying');
    assert.equal(job.attempts.length, 1);
    assert.equal(job.attempts[0]?.outcome, 'waiting');
  }
  const gateway = await startArweaveGateway(Number(new URL(first.url).port));
  await step();
  gateway.mine();
  gateway.mine();
  const done = await step();
  assert.equal(done.result?.outcome, 'done');
  assert.equal(done.result.attempts, 1);
  await work.working.close();
  await gateway.close();
});

test('a gateway that gives out something else, says no, or never ends is not believed', async () => {
  const gateway = await startArweaveGateway();
  const { work, step } = await world(gateway.url);
  await step();
  gateway.mine();
  gateway.mine();
  gateway.misbehaviours.push('endless');
  assert.match((await step()).attempts.at(-1)?.error ?? '', /more than \d+ bytes/);
  gateway.misbehaviours.push({ status: 403, body: 'no\u001b[2J' });
  const refused = (await step()).attempts.at(-1)?.error ?? '';
  assert.match(refused, /HTTP 403: no/);
  assert.ok(!refused.includes('\u001b'));
  gateway.lie();
  const dead = await step();
  assert.equal(dead.result?.outcome, 'failed');
  assert.match(dead.result.error ?? '', /gives out another transaction/);
  assert.equal(dead.result.attempts, 3);
  await work.working.close();
  await gateway.close();
});

test('an artifact that is not registered any more, and a wallet that is none, are said plainly', async () => {
  const gateway = await startArweaveGateway();
  const { work, step, db, ledger } = await world(gateway.url, { proof: undefined });
  const dead = await step();
  assert.equal(dead.result?.outcome, 'failed');
  assert.match(dead.result.error ?? '', /no artifact a+ is registered/);
  assert.deepEqual(gateway.posted, []);
  const none = await workWorld(db, ledger);
  await assert.rejects(requestEnforcement(none.working.requests, wish), { code: 'state.conflict' });
  const wrong = { arweave: { gateway: gateway.url, walletFile: import.meta.filename } };
  const bad = await workWorld(db, ledger, { settings: wrong });
  await assert.rejects(bad.working.load(), { code: 'validation.config' });
  for (const one of [work, none]) await one.working.close();
  await gateway.close();
});
