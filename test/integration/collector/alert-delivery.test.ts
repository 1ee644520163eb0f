import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  alertFigures,
  listAlerts,
  listDeadLetters,
  retryDeadLetter,
} from '../../../collector/postgres/alert-query-store.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import {
  type AlertWorld,
  channelOf,
  drain,
  going,
  groupMs,
  inAlertWorlds,
  maxAttempts,
  refused,
  repeatMs,
  told,
  unreachable,
} from './alert-world.ts';

let world: AlertWorld;

inAlertWorlds((begun) => {
  world = begun;
});

const yearMs = 365 * 86_400_000;

describe('delivery', () => {
  test('a channel that hangs keeps no other waiting', async () => {
    const [hanging, healthy] = [channelOf('slack'), channelOf('email')];
    hanging.answer = () => new Promise(() => {});
    await world.intake.welcome([hanging, healthy]);
    await world.raise('a');
    await world.readAll();
    world.nowMs += groupMs;
    void world.courierOf(hanging).step(going);
    await drain(world.courierOf(healthy));
    assert.deepEqual(told(healthy), [['raised a']]);
  });

  test('whoever claims at the same moment gets other notifications, or none', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    for (let i = 0; i < 60; i++) await world.raise(`alert ${i}`);
    await world.readAll();
    world.nowMs += groupMs;
    const store = world.deliveryStore();
    const claimed: number[] = [];
    for (let round = 0; round < 30; round++) {
      const claim = { nowMs: world.nowMs, untilMs: world.nowMs + limits.alertLeaseMs, limit: 1 };
      const taken = await Promise.all(Array.from({ length: 4 }, () => store.claim('slack', claim)));
      claimed.push(...taken.flat().map(({ id }) => id));
    }
    assert.equal(new Set(claimed).size, claimed.length);
    assert.equal(claimed.length, 60);
  });

  test('what was being sent when a collector died is sent again after the lease, under the same id', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.raise('a');
    await world.readAll();
    world.nowMs += groupMs;
    const dying = { ...world.deliveryStore(), delivered: () => Promise.reject(new Error('the process died')) };
    await assert.rejects(world.courierOf(channel, dying).step(going));
    await drain(world.courierOf(channel));
    assert.equal(channel.notices.length, 1);
    world.nowMs += limits.alertLeaseMs;
    await drain(world.courierOf(channel));
    assert.deepEqual(told(channel), [['raised a'], ['raised a']]);
    assert.equal(channel.notices[0]?.id, channel.notices[1]?.id);
  });

  test('a collector that stops gives back what it was sending, and no attempt is lost', async () => {
    const channel = channelOf('slack');
    channel.answer = () => Promise.reject(unreachable);
    await world.intake.welcome([channel]);
    await world.raise('a');
    await world.readAll();
    world.nowMs += groupMs;
    await world.courierOf(channel).step(AbortSignal.abort());
    channel.answer = async () => {};
    await drain(world.courierOf(channel));
    assert.deepEqual(told(channel), [['raised a']]);
  });

  test('the end of an alert is not told before its beginning', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.raise('a');
    channel.answer = () => Promise.reject(unreachable);
    await world.deliver(channel);
    await world.resolve('a');
    channel.answer = async () => {};
    await world.readAll();
    await drain(world.courierOf(channel));
    assert.deepEqual(told(channel), []);
    world.nowMs += limits.alertBackoffMaxMs;
    await drain(world.courierOf(channel));
    assert.deepEqual(told(channel), [['raised a'], ['resolved a']]);
  });

  test('while a channel fails the pauses grow, and after the last attempt there is a dead letter that can be tried again', async () => {
    const channel = channelOf('slack');
    let tries: number[] = [];
    channel.answer = async () => {
      tries.push(world.nowMs);
      throw unreachable;
    };
    await world.intake.welcome([channel]);
    await world.raise('a');
    await world.readAll();
    for (let passed = 0; passed < 6 * 3_600_000; passed += 1_000) {
      world.nowMs += 1_000;
      await world.courierOf(channel).step(going);
      if ((await alertFigures(world.db)).channels[0]?.dead === 1) break;
    }
    assert.equal(tries.length, maxAttempts);
    const pauses = tries.slice(1).map((at, i) => at - (tries[i] ?? 0));
    assert.deepEqual(pauses.slice(0, 4), [5_000, 10_000, 20_000, 40_000]);
    // From the fifth failure on the breaker holds it back longer than the backoff would.
    assert.deepEqual(
      [...pauses].sort((a, b) => a - b),
      pauses,
    );
    const [letter] = await listDeadLetters(world.db, { after: undefined, limit: 10 });
    assert.deepEqual(
      [letter?.channel, letter?.key, letter?.attempts, letter?.last_error],
      ['slack', 'a', 8, 'no answer'],
    );
    tries = [];
    channel.answer = async () => {};
    world.nowMs += limits.breakerMaxMs;
    assert.equal(await retryDeadLetter(world.db, letter?.id ?? 0), 'waiting');
    assert.equal(await retryDeadLetter(world.db, letter?.id ?? 0), 'unknown');
    // Due by the clock of the database.
    world.nowMs = Date.now() + groupMs;
    await drain(world.courierOf(channel));
    assert.deepEqual(told(channel), [['raised a']]);
    assert.deepEqual(await listDeadLetters(world.db, { after: undefined, limit: 10 }), []);
  });

  test('a dead letter is not sent after what became of its alert', async () => {
    const pager = channelOf('pager');
    const channel = { ...pager, knowsKeys: true };
    await world.intake.welcome([channel]);
    await world.raise('a');
    pager.answer = () => Promise.reject(refused);
    await world.deliver(channel);
    const [letter] = await listDeadLetters(world.db, { after: undefined, limit: 10 });
    await world.resolve('a');
    pager.answer = async () => {};
    await world.deliver(channel);
    assert.equal(await retryDeadLetter(world.db, letter?.id ?? 0), 'overtaken');
    await drain(world.courierOf(channel));
    // Where keys are known the end does nothing if the beginning did not arrive, and who knows whether it did.
    assert.deepEqual(told(channel), [['resolved a']]);
  });

  test('people are not told of the end of what was given up before they were told of it', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    const beginning = async () => {
      channel.answer = () => Promise.reject(refused);
      await world.raise('a');
      await world.deliver(channel);
      const [letter] = await listDeadLetters(world.db, { after: undefined, limit: 1 });
      channel.answer = async () => {};
      return letter?.id ?? 0;
    };
    const letter = await beginning();
    await world.resolve('a');
    await world.raise('b');
    await world.deliver(channel);
    assert.deepEqual(told(channel), [['raised b']]);
    // Nor later of the beginning of what is over: nobody would tell of its end.
    assert.equal(await retryDeadLetter(world.db, letter), 'overtaken');
    // What begins anew is another story.
    await world.raise('a');
    await world.deliver(channel);
    assert.equal(await retryDeadLetter(world.db, letter), 'overtaken');
    await world.resolve('a');
    await world.deliver(channel);
    // And what arrived after all has its end.
    await beginning();
    world.nowMs += repeatMs;
    await world.tellAll(channel);
    await world.resolve('a');
    await world.deliver(channel);
    const ends = told(channel).flat();
    assert.deepEqual(
      ends.filter((word) => word.endsWith(' a')),
      ['raised a', 'resolved a', 'repeated a', 'resolved a'],
    );
  });

  test('who was told long ago is told of the end, though what was to be said since was given up', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.raise('a');
    await world.deliver(channel);
    await world.acknowledge('a');
    await world.readAll();
    // A collector has the channel all the time.
    for (const endMs = world.nowMs + limits.alertHistoryMs; world.nowMs <= endMs; ) {
      world.nowMs += limits.alertChannelForgottenMs / 2;
      await world.intake.welcome([channel]);
    }
    await world.intake.tidy();
    channel.answer = () => Promise.reject(refused);
    await world.raise('a', 'critical');
    await world.deliver(channel);
    assert.equal((await listDeadLetters(world.db, { after: undefined, limit: 10 })).length, 1);
    channel.answer = async () => {};
    await world.resolve('a');
    await world.deliver(channel);
    assert.deepEqual(told(channel), [['raised a'], ['resolved a']]);
  });

  test('nor of an end that waits behind its beginning when that is given up', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    channel.answer = () => Promise.reject(refused);
    await world.raise('a');
    await world.resolve('a');
    await world.raise('b');
    await world.readAll();
    world.nowMs += groupMs;
    // Refused together, and then each by itself.
    for (let times = 0; times < 3; times++) await drain(world.courierOf(channel));
    assert.equal((await listDeadLetters(world.db, { after: undefined, limit: 10 })).length, 2);
    channel.answer = async () => {};
    await world.deliver(channel);
    assert.deepEqual(told(channel), []);
    assert.deepEqual((await alertFigures(world.db)).channels[0]?.waiting, 0);
  });

  test('a clock that was ahead for a while leaves nothing waiting for it to get there again', async () => {
    const [channel, other] = [channelOf('slack'), channelOf('pager', 'info', 1)];
    channel.answer = () => Promise.reject(unreachable);
    world.nowMs += yearMs;
    await world.intake.welcome([channel, other]);
    for (let i = 0; i < limits.breakerFailures; i++) {
      await world.raise(`alert ${i}`);
      await world.readAll();
      world.nowMs += groupMs;
      await world.courierOf(channel).step(going);
    }
    // A collector dies while it sends.
    await world.deliveryStore().claim('pager', { nowMs: world.nowMs, untilMs: world.nowMs + 30_000, limit: 1 });
    await world.raise('gathered');
    await world.readAll();
    world.nowMs -= yearMs;
    channel.answer = async () => {};
    await drain(world.courierOf(channel));
    await drain(world.courierOf(other));
    assert.equal(told(channel).flat().length, limits.breakerFailures + 1);
    assert.equal(told(other).flat().length, limits.breakerFailures + 1);
  });

  test('an open breaker costs the queue no attempts, and is probed with one notification', async () => {
    const channel = channelOf('slack');
    let asked = 0;
    channel.answer = async () => {
      asked += 1;
      throw unreachable;
    };
    await world.intake.welcome([channel]);
    for (let i = 0; i < limits.breakerFailures; i++) {
      await world.raise(`alert ${i}`);
      await world.readAll();
      world.nowMs += groupMs;
      await world.courierOf(channel).step(going);
    }
    assert.equal((await alertFigures(world.db)).channels[0]?.waiting, limits.breakerFailures);
    const before = asked;
    await world.raise('late');
    await world.readAll();
    world.nowMs += limits.breakerMinMs - 1;
    await drain(world.courierOf(channel));
    assert.equal(asked, before);
    world.nowMs += 1;
    channel.answer = async () => {};
    await world.courierOf(channel).step(going);
    assert.equal(channel.notices[0]?.items.length, 1);
    world.nowMs += limits.alertBackoffMaxMs;
    await drain(world.courierOf(channel));
    assert.equal(told(channel).flat().length, limits.breakerFailures + 1);
  });

  test('a channel that asks for a pause gets it', async () => {
    const channel = channelOf('slack');
    const details = { retryAfterMs: 600_000 };
    channel.answer = () =>
      Promise.reject(new AppError('channel.unreachable', 'too many', { retryable: true, details }));
    await world.intake.welcome([channel]);
    await world.raise('a');
    await world.deliver(channel);
    channel.answer = async () => {};
    world.nowMs += 599_999;
    await drain(world.courierOf(channel));
    assert.equal(channel.notices.length, 0);
    world.nowMs += 1;
    await drain(world.courierOf(channel));
    assert.equal(channel.notices.length, 1);
  });

  test('what is refused for good takes nothing else along', async () => {
    const channel = channelOf('slack');
    channel.answer = async ({ items }) => {
      if (items.some(({ key }) => key === 'poison')) throw refused;
    };
    await world.intake.welcome([channel]);
    for (const key of ['a', 'poison', 'b']) await world.raise(key);
    await world.readAll();
    world.nowMs += groupMs;
    for (let i = 0; i < 6; i++) await drain(world.courierOf(channel));
    assert.deepEqual(told(channel).flat().sort(), ['raised a', 'raised b']);
    const letters = await listDeadLetters(world.db, { after: undefined, limit: 10 });
    assert.deepEqual(
      letters.map(({ key, last_error }) => [key, last_error]),
      [['poison', 'no']],
    );
  });

  test('pages of dead letters neither skip nor repeat one, also of those that were given up at the same moment', async () => {
    const channel = channelOf('slack');
    channel.answer = () => Promise.reject(refused);
    await world.intake.welcome([channel]);
    for (let i = 0; i < 5; i++) await world.raise(`alert ${i}`);
    await world.readAll();
    world.nowMs += groupMs;
    for (let i = 0; i < 7; i++) await world.courierOf(channel).step(going);
    const all = await listDeadLetters(world.db, { after: undefined, limit: 10 });
    assert.equal(all.length, 5);
    const paged: (typeof all)[number][] = [];
    for (;;) {
      const last = paged.at(-1);
      const after = last && ([last.died_at.toISOString(), last.id] as const);
      const page = await listDeadLetters(world.db, { after, limit: 2 });
      if (page.length === 0) break;
      paged.push(...page);
    }
    assert.deepEqual(paged, all);
  });

  test('old history goes, and what stands or waits stays', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.raise('over');
    await world.raise('standing');
    await world.resolve('over');
    await world.deliver(channel);
    world.nowMs = Date.now() + 2 * limits.alertHistoryMs;
    await world.intake.welcome([channel]);
    await world.intake.tidy();
    const rows = await listAlerts(world.db, 'all', { after: undefined, limit: 10 });
    assert.deepEqual(
      rows.map(({ key }) => key),
      ['standing'],
    );
    assert.equal((await alertFigures(world.db)).channels[0]?.waiting, 1);
  });
});
