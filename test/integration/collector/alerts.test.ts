import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { AlertChannel, AlertNotice, Severity } from '../../../collector/alerts/alert.ts';
import { type Courier, createCourier } from '../../../collector/alerts/courier.ts';
import { createIntake, type Intake } from '../../../collector/alerts/intake.ts';
import type { AlertMetrics, AlertStore, DeliveryStore } from '../../../collector/alerts/ports.ts';
import { frozenAlertKey } from '../../../collector/enforcement/freeze.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { postgresDeliveryStore } from '../../../collector/postgres/alert-delivery-store.ts';
import {
  alertFigures,
  alertStands,
  listAlerts,
  listDeadLetters,
  retryDeadLetter,
} from '../../../collector/postgres/alert-query-store.ts';
import { postgresAlertStore } from '../../../collector/postgres/alert-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { startLedger } from '../../ledgers.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';

const groupMs = 10_000;
const repeatMs = 4 * 3_600_000;
const maxAttempts = 8;
const startMs = Date.parse('2026-03-01T10:00:00.000Z');
const going = new AbortController().signal;

let postgres: TestPostgres;
let db: Db;
let ledger: Ledger;
let nowMs: number;
let intake: Intake;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());
beforeEach(async () => {
  db = postgres.pool(await postgres.migratedDatabase());
  ledger = await startLedger(postgresLedgerStore(db));
  nowMs = startMs;
  intake = intakeOver(alertStore());
});

const alertStore = (): AlertStore => ({ ...postgresAlertStore(db), now: async () => nowMs });
const deliveryStore = (): DeliveryStore => ({ ...postgresDeliveryStore(db), now: async () => nowMs });
const intakeOver = (store: AlertStore): Intake => createIntake({ store, logger: quietLogger, groupMs, repeatMs });

const raise = (key: string, severity: Severity = 'error', summary = key) =>
  ledger.record({ kind: 'alert.raised', body: { key, severity, summary, node: null } });
const resolve = (key: string) => ledger.record({ kind: 'alert.resolved', body: { key, reason: 'over' } });

/** A channel of the test's own, which does what `answer` says with each message. */
interface TestChannel extends AlertChannel {
  readonly notices: AlertNotice[];
  answer: (notice: AlertNotice) => Promise<void>;
}

function channelOf(name: string, level: Severity = 'info', maxItems = 10): TestChannel {
  const channel: TestChannel = {
    ...{ name, level, maxItems, notices: [], close: async () => {} },
    answer: async () => {},
    send: async (notice) => {
      await channel.answer(notice);
      channel.notices.push(notice);
      return { status: '250', text: '' };
    },
  };
  return channel;
}

const metrics: AlertMetrics = { sent: () => {}, failed: () => {}, died: () => {} };

const courierOf = (channel: AlertChannel, store = deliveryStore()): Courier =>
  createCourier({ channel, store, metrics, logger: quietLogger, origin: 'test', maxAttempts, random: () => 1 });

async function drain(courier: Courier): Promise<void> {
  while (await courier.step(going));
}

async function readAll(): Promise<void> {
  while (await intake.read());
}

/** Reads on, lets the grouping window pass, and delivers. */
async function deliver(channel: TestChannel): Promise<void> {
  await readAll();
  nowMs += groupMs;
  await drain(courierOf(channel));
}

const told = ({ notices }: TestChannel): string[][] =>
  notices.map(({ items }) => items.map(({ change, key }) => `${change} ${key}`));

const unreachable = new AppError('channel.unreachable', 'no answer', { retryable: true });
const refused = new AppError('channel.refused', 'no');

describe('from the ledger to the channels', () => {
  test('what begins within the window goes out in one message, and the end is told', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    await raise('a');
    await readAll();
    await drain(courierOf(channel));
    assert.deepEqual(told(channel), []);
    nowMs += groupMs / 2;
    await raise('b');
    await readAll();
    nowMs += groupMs / 2;
    await drain(courierOf(channel));
    assert.deepEqual(told(channel), [['raised a', 'raised b']]);
    await resolve('a');
    await deliver(channel);
    assert.deepEqual(told(channel)[1], ['resolved a']);
  });

  test('an alert that was over before anybody could be told is told with both its beginning and its end', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    await raise('a');
    await resolve('a');
    await deliver(channel);
    assert.deepEqual(told(channel), [['raised a'], ['resolved a']]);
  });

  test('the same alert raised again is no news, unless it has become worse', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    await raise('a', 'warning');
    await deliver(channel);
    await raise('a', 'warning');
    await deliver(channel);
    assert.equal(channel.notices.length, 1);
    await raise('a', 'critical');
    await deliver(channel);
    const item = channel.notices[1]?.items[0];
    assert.deepEqual([item?.severity, item?.previousSeverity], ['critical', 'warning']);
  });

  test('a channel gets what is bad enough for it, and the end of that even when it was milder by then', async () => {
    const channel = channelOf('pagerduty', 'error');
    await intake.welcome([channel]);
    await raise('mild', 'warning');
    await raise('bad', 'critical');
    await raise('bad', 'info');
    await resolve('mild');
    await resolve('bad');
    await deliver(channel);
    assert.deepEqual(told(channel).flat(), ['raised bad', 'raised bad', 'resolved bad']);
  });

  test('the release of a frozen commit ends its alert', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    const commit = 'c'.repeat(40);
    await raise(frozenAlertKey(commit), 'critical');
    await ledger.record({ kind: 'enforcement.released', body: { commit, actor: 'ada', reason: 'looked at it' } });
    await deliver(channel);
    const [, [item] = []] = channel.notices.map(({ items }) => items);
    assert.deepEqual([item?.change, item?.reason], ['resolved', 'released by ada: looked at it']);
  });

  test('while an alert stands it is told again after the repeat interval, and not after its end', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    await raise('a');
    await deliver(channel);
    nowMs += repeatMs - 1;
    await intake.repeat([channel]);
    await drain(courierOf(channel));
    assert.equal(channel.notices.length, 1);
    nowMs += 2;
    await intake.repeat([channel]);
    await intake.repeat([channel]);
    await drain(courierOf(channel));
    assert.deepEqual(told(channel)[1], ['repeated a']);
    assert.equal(channel.notices.length, 2);
    nowMs += 2 * repeatMs;
    await intake.repeat([channel]);
    await resolve('a');
    await deliver(channel);
    assert.deepEqual(told(channel)[2], ['resolved a']);
    nowMs += 2 * repeatMs;
    await intake.repeat([channel]);
    await drain(courierOf(channel));
    assert.equal(channel.notices.length, 3);
  });

  test('a new channel is told what stands, and nothing of the past', async () => {
    await raise('past');
    await resolve('past');
    await raise('standing');
    await readAll();
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    await intake.welcome([channel]);
    await deliver(channel);
    assert.deepEqual(told(channel), [['raised standing']]);
  });

  test('nothing more is queued for a channel that no collector has any more; one that comes back is told what stands', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    nowMs += limits.alertChannelForgottenMs + 1;
    await raise('a');
    await readAll();
    assert.deepEqual((await alertFigures(db)).channels, [{ name: 'slack', waiting: 0, dead: 0, breaker_open: false }]);
    await intake.welcome([channel]);
    await deliver(channel);
    assert.deepEqual(told(channel), [['raised a']]);
  });

  test('a crash while entries are read loses none and tells none twice', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    for (const key of ['a', 'b', 'c']) await raise(key);
    for (const crashAt of ['keep', 'enqueue', 'advance'] as const) {
      const store = alertStore();
      const crashing: AlertStore = {
        ...store,
        atDesk: (work) =>
          store.atDesk((desk) => work({ ...desk, [crashAt]: () => Promise.reject(new Error('the process died')) })),
      };
      await assert.rejects(intakeOver(crashing).read());
    }
    await deliver(channel);
    assert.deepEqual(told(channel), [['raised a', 'raised b', 'raised c']]);
  });

  test('whether an alert stands is known before and after its entries were read', async () => {
    assert.equal(await alertStands(db, 'a'), false);
    await raise('a', 'error', 'zero \u0000 byte');
    await raise('b');
    assert.equal(await alertStands(db, 'a'), true);
    await readAll();
    assert.equal(await alertStands(db, 'a'), true);
    await resolve('a');
    assert.deepEqual([await alertStands(db, 'a'), await alertStands(db, 'b')], [false, true]);
    await readAll();
    assert.deepEqual([await alertStands(db, 'a'), await alertStands(db, 'b')], [false, true]);
  });

  test('two collectors tell everything once', async () => {
    const [here, there] = [channelOf('slack', 'info', 3), channelOf('slack', 'info', 3)];
    await intake.welcome([here]);
    const keys = Array.from({ length: 40 }, (_, i) => `alert ${i}`);
    for (const key of keys) await raise(key);
    const other = intakeOver(alertStore());
    await Promise.all([readAll(), other.read(), other.welcome([there]), intake.repeat([here])]);
    nowMs += groupMs;
    await Promise.all([drain(courierOf(here)), drain(courierOf(there))]);
    await drain(courierOf(here));
    const all = [...told(here), ...told(there)].flat();
    assert.deepEqual(all.sort(), keys.map((key) => `raised ${key}`).sort());
  });
});

describe('delivery', () => {
  test('a channel that hangs keeps no other waiting', async () => {
    const [hanging, healthy] = [channelOf('slack'), channelOf('email')];
    hanging.answer = () => new Promise(() => {});
    await intake.welcome([hanging, healthy]);
    await raise('a');
    await readAll();
    nowMs += groupMs;
    void courierOf(hanging).step(going);
    await drain(courierOf(healthy));
    assert.deepEqual(told(healthy), [['raised a']]);
  });

  test('whoever claims at the same moment gets other notifications, or none', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    for (let i = 0; i < 60; i++) await raise(`alert ${i}`);
    await readAll();
    nowMs += groupMs;
    const store = deliveryStore();
    const claimed: number[] = [];
    for (let round = 0; round < 30; round++) {
      const claim = { nowMs, untilMs: nowMs + limits.alertLeaseMs, limit: 1 };
      const taken = await Promise.all(Array.from({ length: 4 }, () => store.claim('slack', claim)));
      claimed.push(...taken.flat().map(({ id }) => id));
    }
    assert.equal(new Set(claimed).size, claimed.length);
    assert.equal(claimed.length, 60);
  });

  test('what was being sent when a collector died is sent again after the lease, under the same id', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    await raise('a');
    await readAll();
    nowMs += groupMs;
    const dying = { ...deliveryStore(), delivered: () => Promise.reject(new Error('the process died')) };
    await assert.rejects(courierOf(channel, dying).step(going));
    await drain(courierOf(channel));
    assert.equal(channel.notices.length, 1);
    nowMs += limits.alertLeaseMs;
    await drain(courierOf(channel));
    assert.deepEqual(told(channel), [['raised a'], ['raised a']]);
    assert.equal(channel.notices[0]?.id, channel.notices[1]?.id);
  });

  test('a collector that stops gives back what it was sending, and no attempt is lost', async () => {
    const channel = channelOf('slack');
    channel.answer = () => Promise.reject(unreachable);
    await intake.welcome([channel]);
    await raise('a');
    await readAll();
    nowMs += groupMs;
    await courierOf(channel).step(AbortSignal.abort());
    channel.answer = async () => {};
    await drain(courierOf(channel));
    assert.deepEqual(told(channel), [['raised a']]);
  });

  test('the end of an alert is not told before its beginning', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    await raise('a');
    channel.answer = () => Promise.reject(unreachable);
    await deliver(channel);
    await resolve('a');
    channel.answer = async () => {};
    await readAll();
    await drain(courierOf(channel));
    assert.deepEqual(told(channel), []);
    nowMs += limits.alertBackoffMaxMs;
    await drain(courierOf(channel));
    assert.deepEqual(told(channel), [['raised a'], ['resolved a']]);
  });

  test('while a channel fails the pauses grow, and after the last attempt there is a dead letter that can be tried again', async () => {
    const channel = channelOf('slack');
    let tries: number[] = [];
    channel.answer = async () => {
      tries.push(nowMs);
      throw unreachable;
    };
    await intake.welcome([channel]);
    await raise('a');
    await readAll();
    for (let passed = 0; passed < 6 * 3_600_000; passed += 1_000) {
      nowMs += 1_000;
      await courierOf(channel).step(going);
      if ((await alertFigures(db)).channels[0]?.dead === 1) break;
    }
    assert.equal(tries.length, maxAttempts);
    const pauses = tries.slice(1).map((at, i) => at - (tries[i] ?? 0));
    assert.deepEqual(pauses.slice(0, 4), [5_000, 10_000, 20_000, 40_000]);
    // From the fifth failure on the breaker holds it back longer than the backoff would.
    assert.deepEqual(
      [...pauses].sort((a, b) => a - b),
      pauses,
    );
    const [letter] = await listDeadLetters(db, 10);
    assert.deepEqual(
      [letter?.channel, letter?.key, letter?.attempts, letter?.last_error],
      ['slack', 'a', 8, 'no answer'],
    );
    tries = [];
    channel.answer = async () => {};
    nowMs += limits.alertBreakerMaxMs;
    assert.equal(await retryDeadLetter(db, letter?.id ?? 0), true);
    assert.equal(await retryDeadLetter(db, letter?.id ?? 0), false);
    // Due by the clock of the database.
    nowMs = Date.now() + groupMs;
    await drain(courierOf(channel));
    assert.deepEqual(told(channel), [['raised a']]);
    assert.deepEqual(await listDeadLetters(db, 10), []);
  });

  test('an open breaker costs the queue no attempts, and is probed with one notification', async () => {
    const channel = channelOf('slack');
    let asked = 0;
    channel.answer = async () => {
      asked += 1;
      throw unreachable;
    };
    await intake.welcome([channel]);
    for (let i = 0; i < limits.alertBreakerFailures; i++) {
      await raise(`alert ${i}`);
      await readAll();
      nowMs += groupMs;
      await courierOf(channel).step(going);
    }
    assert.equal((await alertFigures(db)).channels[0]?.waiting, limits.alertBreakerFailures);
    const before = asked;
    await raise('late');
    await readAll();
    nowMs += groupMs;
    await drain(courierOf(channel));
    assert.equal(asked, before);
    nowMs += limits.alertBreakerMinMs;
    channel.answer = async () => {};
    await courierOf(channel).step(going);
    assert.equal(channel.notices[0]?.items.length, 1);
    nowMs += limits.alertBackoffMaxMs;
    await drain(courierOf(channel));
    assert.equal(told(channel).flat().length, limits.alertBreakerFailures + 1);
  });

  test('a channel that asks for a pause gets it', async () => {
    const channel = channelOf('slack');
    const details = { retryAfterMs: 600_000 };
    channel.answer = () =>
      Promise.reject(new AppError('channel.unreachable', 'too many', { retryable: true, details }));
    await intake.welcome([channel]);
    await raise('a');
    await deliver(channel);
    channel.answer = async () => {};
    nowMs += 599_999;
    await drain(courierOf(channel));
    assert.equal(channel.notices.length, 0);
    nowMs += 1;
    await drain(courierOf(channel));
    assert.equal(channel.notices.length, 1);
  });

  test('what is refused for good takes nothing else along', async () => {
    const channel = channelOf('slack');
    channel.answer = async ({ items }) => {
      if (items.some(({ key }) => key === 'poison')) throw refused;
    };
    await intake.welcome([channel]);
    for (const key of ['a', 'poison', 'b']) await raise(key);
    await readAll();
    nowMs += groupMs;
    for (let i = 0; i < 6; i++) await drain(courierOf(channel));
    assert.deepEqual(told(channel).flat().sort(), ['raised a', 'raised b']);
    const letters = await listDeadLetters(db, 10);
    assert.deepEqual(
      letters.map(({ key, last_error }) => [key, last_error]),
      [['poison', 'no']],
    );
  });

  test('old history goes, and what stands or waits stays', async () => {
    const channel = channelOf('slack');
    await intake.welcome([channel]);
    await raise('over');
    await raise('standing');
    await resolve('over');
    await deliver(channel);
    nowMs = Date.now() + 2 * limits.alertHistoryMs;
    await intake.welcome([channel]);
    await intake.tidy();
    const rows = await listAlerts(db, 'all', { after: undefined, limit: 10 });
    assert.deepEqual(
      rows.map(({ key }) => key),
      ['standing'],
    );
    assert.equal((await alertFigures(db)).channels[0]?.waiting, 1);
  });
});
