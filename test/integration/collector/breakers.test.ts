import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock } from '../../../collector/clock.ts';
import { type BreakerStore, breakerView, createBreakers, resetBreaker } from '../../../collector/jobs/breakers.ts';
import { requestEnforcement } from '../../../collector/jobs/request.ts';
import { statusOf } from '../../../collector/jobs/runs.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresBreakerStore } from '../../../collector/postgres/breaker-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { migrate, migrationsDir, readMigrations } from '../../../collector/postgres/migrate.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { listening, wishFor, workAll, workWorld } from './jobs-world.ts';

let postgres: TestPostgres;
let db: Db;
let ledger: Ledger;
let services = 0;

before(async () => {
  postgres = await startPostgres();
  db = postgres.pool((await postgres.writerDatabase()).url);
  ledger = await startLedger(postgresLedgerStore(db));
});
after(() => postgres.stop());

const down = async () => {
  throw new AppError('channel.unreachable', 'nobody is there', { retryable: true });
};
const refuses = async () => {
  throw new AppError('channel.refused', 'no');
};
const fine = async () => 'fine';

/** A service, and collectors that use it at a time that the test says. */
function breakersOf() {
  const service = `service-${services++}`;
  const at = { nowMs: Date.parse('2026-03-01T10:00:00.000Z') };
  const store: BreakerStore = { ...postgresBreakerStore(db), now: async () => at.nowMs };
  const made = () => createBreakers({ store });
  const view = async () => {
    const stored = await store.read(service);
    assert.ok(stored);
    return breakerView(stored, at.nowMs);
  };
  const fail = async (times: number) => {
    for (let i = 0; i < times; i++) await assert.rejects(made().run(service, down), { message: 'nobody is there' });
  };
  return { service, at, store, made, one: made(), view, fail };
}

const isOpen = { code: 'channel.unreachable', message: /left alone until/ };

test('a service that is down several times in a row is left alone, also after a restart and by other collectors', async () => {
  const { service, made, one, view, fail } = breakersOf();
  await fail(limits.breakerFailures - 1);
  assert.equal((await view()).state, 'closed');
  await assert.rejects(one.run(service, down), { message: 'nobody is there' });
  await assert.rejects(one.run(service, fine), isOpen);
  await assert.rejects(made().run(service, fine), isOpen);
  const { state, failures, refused, last_failure, opened_at, open_until, failures_in_a_row } = await view();
  assert.deepEqual(
    { state, failures, refused, last_failure, failures_in_a_row },
    { state: 'open', failures: 5, refused: 2, last_failure: 'nobody is there', failures_in_a_row: 5 },
  );
  assert.deepEqual([opened_at, open_until], ['2026-03-01T10:00:00.000Z', '2026-03-01T10:00:10.000Z']);
});

test('failures at the same moment, of whatever collector, all count, and open it once', async () => {
  const { service, made, view } = breakersOf();
  const ended = new AppError('channel.unreachable', 'nobody is there');
  await Promise.all(Array.from({ length: 12 }, () => made().note(service, ended)));
  const { failures, failures_in_a_row, open_until } = await view();
  assert.deepEqual([failures, failures_in_a_row], [12, limits.breakerFailures]);
  assert.equal(open_until, '2026-03-01T10:00:10.000Z');
});

test('who refuses is there: no breaker opens because of that', async () => {
  const { service, one, view } = breakersOf();
  for (let times = 0; times < 20; times++) await assert.rejects(one.run(service, refuses), { code: 'channel.refused' });
  assert.equal(await one.run(service, fine), 'fine');
  assert.equal((await view()).state, 'closed');
});

test('after the pause one request decides: for a longer pause, or for an end of it', async () => {
  const { service, at, made, one, view, fail } = breakersOf();
  await fail(limits.breakerFailures);
  for (const pauseMs of [1, 2, 4, 8, 16, 32, 60, 60].map((times) => times * limits.breakerMinMs)) {
    at.nowMs += pauseMs - 1;
    await assert.rejects(made().run(service, down), isOpen);
    at.nowMs += 1;
    assert.equal((await view()).state, 'half-open');
    await fail(1);
  }
  at.nowMs += limits.breakerMaxMs;
  // While it is under way no other is made.
  const trial = await one.run(service, async () => {
    await assert.rejects(one.run(service, fine), isOpen);
    return 'fine';
  });
  assert.equal(trial, 'fine');
  assert.equal((await view()).state, 'closed');
  await fail(limits.breakerFailures - 1);
  assert.equal(await one.run(service, fine), 'fine');
});

test('a clock that was ahead when a breaker opened leaves no service alone for longer', async () => {
  const { service, at, one, fail } = breakersOf();
  at.nowMs += 365 * 86_400_000;
  await fail(limits.breakerFailures);
  at.nowMs -= 365 * 86_400_000;
  assert.equal(await one.run(service, fine), 'fine');
});

test('what a stop of the collector breaks off does not speak against the service', async () => {
  const { service, store, one } = breakersOf();
  for (let times = 0; times < 2 * limits.breakerFailures; times++) {
    await assert.rejects(one.run(service, down, AbortSignal.abort()), { message: 'nobody is there' });
  }
  assert.equal(await store.read(service), undefined);
});

test('a collector that is upgraded tries what was left alone, and forgets no count', async () => {
  const url = await postgres.emptyDatabase();
  const migrations = await readMigrations(migrationsDir);
  const at = migrations.findIndex(({ file }) => file.endsWith('_one_kind_of_breaker.sql'));
  await migrate({ url, applicationName: 'test' }, migrations.slice(0, at), systemClock);
  const before = postgres.pool(url);
  const open = { ownState: { value: 1, openedAt: 1_772_000_000_000, attemptNo: 2 }, breakerState: 6 };
  const closed = { ownState: { value: 0 }, breakerState: 2 };
  await before.query(
    `insert into breakers values ('arweave', $1, 'a', 1, 7, 3, 'gone', now()), ('webhook:x', $2, 'a', 1, 2, 0, null, now())`,
    [open, closed],
  );
  await before.query(
    `insert into alert_channels (name, level, seen_at, failures, open_until, last_error)
     values ('pager', 'info', now(), 6, now() + interval '1 hour', 'no answer'), ('slack', 'info', now(), 0, null, null)`,
  );
  await migrate({ url, applicationName: 'test' }, migrations, systemClock);
  const store = postgresBreakerStore(before);
  const [views, nowMs] = [await store.list(), await store.now()];
  assert.deepEqual(
    views
      .map((one) => breakerView(one, nowMs))
      .map(({ service, state, failures_in_a_row, failures, refused }) => {
        return [service, state, failures_in_a_row, failures, refused];
      }),
    [
      ['arweave', 'half-open', 6, 7, 3],
      ['channel:pager', 'half-open', 6, 6, 0],
      ['webhook:x', 'closed', 2, 2, 0],
    ],
  );
});

test('a breaker that is reset lets requests through at once, on record', async () => {
  const { service, store, one, fail } = breakersOf();
  await fail(limits.breakerFailures);
  await assert.rejects(one.run(service, fine), isOpen);
  const view = await resetBreaker({ store, ledger, actor: 'user:root', requestId: 'r-1' }, service);
  assert.equal(view.state, 'closed');
  assert.equal(await one.run(service, fine), 'fine');
  const { rows } = await db.query<{ said: string }>(
    `select convert_from(bytes, 'utf8') as said from entries join entry_bodies using (index) where kind = 'auth.event'`,
  );
  assert.ok(
    rows.some(
      ({ said }) =>
        said.includes('breaker.reset') && said.includes(service) && said.includes('user:root') && said.includes('r-1'),
    ),
  );
  await assert.rejects(resetBreaker({ store, ledger, actor: 'user:root' }, 'nobody'), { code: 'resource.not_found' });
});

test('a job waits while its receiver is left alone, and loses no try by that', async () => {
  const receiver = await listening((_request, response) => response.writeHead(500).end());
  const work = await workWorld(db, ledger, { threshold: 2, breakerMs: 600_000, attempts: 3 });
  const { enforcementId: id } = await requestEnforcement(work.working.requests, wishFor(receiver.url));
  const step = async () => {
    await db.query(`update pgboss.job set start_after = now() - interval '1 second'`);
    await work.worker.step(new AbortController().signal);
    await work.worker.idle();
  };
  for (let times = 0; times < 8; times++) await step();
  const job = await work.store.job(id);
  assert.ok(job);
  assert.equal(statusOf(job), 'retrying');
  assert.deepEqual(
    job.attempts.map(({ outcome }) => outcome),
    ['failed', 'failed', 'waiting'],
  );
  assert.equal(job.attempts.at(-1)?.runs, 6);
  assert.equal(receiver.heard.length, 2);
  const [stored] = await work.working.breakers.store.list();
  assert.ok(stored);
  await resetBreaker({ ...work.working.breakers, actor: 'user:root' }, `webhook:${new URL(receiver.url).host}`);
  await step();
  assert.equal((await work.store.job(id))?.result?.outcome, 'failed');
  assert.equal(receiver.heard.length, 3);
  await work.working.close();
  await receiver.close();
});

test('an answer that never ends is not waited for, and what it says is cut', async () => {
  const receiver = await listening((_request, response) => {
    response.writeHead(200);
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
      response.once('drain', more);
    };
    response.on('error', () => {});
    more();
  });
  const work = await workWorld(db, ledger);
  const { enforcementId: id } = await requestEnforcement(work.working.requests, wishFor(receiver.url));
  await workAll(work, db);
  assert.equal((await work.store.job(id))?.result?.outcome, 'done');
  await work.working.close();
  await receiver.close();
});

test('a stop gives back what hangs, and another collector does it', async () => {
  let hangs = true;
  let arrived = (): void => {};
  const asked = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const receiver = await listening((_request, response) => {
    if (!hangs) response.end();
    arrived();
  });
  const first = await workWorld(db, ledger);
  const { enforcementId: id } = await requestEnforcement(first.working.requests, wishFor(receiver.url));
  const stopping = new AbortController();
  await first.worker.step(stopping.signal);
  await asked;
  stopping.abort();
  await first.working.close();
  await first.worker.idle();
  assert.equal((await first.store.job(id))?.attempts[0]?.outcome, 'returned');
  hangs = false;
  const second = await workWorld(db, ledger);
  await workAll(second, db);
  const job = await second.store.job(id);
  assert.equal(job?.result?.outcome, 'done');
  assert.equal(job.result.attempts, 1);
  assert.deepEqual([...new Set(receiver.heard.map(({ headers }) => headers['idempotency-key']))], [id]);
  await second.working.close();
  await receiver.close();
});
