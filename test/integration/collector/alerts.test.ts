import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AlertStore } from '../../../collector/alerts/ports.ts';
import { type RuleSettings, ruleSettings } from '../../../collector/alerts/rules/settings.ts';
import { createConditionWatch } from '../../../collector/alerts/watch.ts';
import { frozenAlertKey } from '../../../collector/enforcement/freeze.ts';
import { readFacts } from '../../../collector/postgres/alert-facts-store.ts';
import { alertFigures, alertStands, listAlerts } from '../../../collector/postgres/alert-query-store.ts';
import { fingerprint } from '../../../common/keys.ts';
import type { Body, StatementOf } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { type AlertWorld, channelOf, drain, groupMs, inAlertWorlds, repeatMs, told } from './alert-world.ts';
import { enrolDirectly, say } from './collectors.ts';

let world: AlertWorld;

inAlertWorlds((begun) => {
  world = begun;
});

describe('from the ledger to the channels', () => {
  test('what begins within the window goes out in one message, and the end is told', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.raise('a');
    await world.readAll();
    await drain(world.courierOf(channel));
    assert.deepEqual(told(channel), []);
    world.nowMs += groupMs / 2;
    await world.raise('b');
    await world.readAll();
    world.nowMs += groupMs / 2;
    await drain(world.courierOf(channel));
    assert.deepEqual(told(channel), [['raised a', 'raised b']]);
    await world.resolve('a');
    await world.deliver(channel);
    assert.deepEqual(told(channel)[1], ['resolved a']);
  });

  test('an alert that was over before anybody could be told is told with both its beginning and its end', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.raise('a');
    await world.resolve('a');
    await world.deliver(channel);
    assert.deepEqual(told(channel), [['raised a'], ['resolved a']]);
  });

  test('the same alert raised again is no news, unless it has become worse', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.raise('a', 'warning');
    await world.deliver(channel);
    await world.raise('a', 'warning');
    await world.deliver(channel);
    assert.equal(channel.notices.length, 1);
    await world.raise('a', 'critical');
    await world.deliver(channel);
    const item = channel.notices[1]?.items[0];
    assert.deepEqual([item?.severity, item?.previousSeverity], ['critical', 'warning']);
  });

  test('a channel gets what is bad enough for it, and the end of that even when it was milder by then', async () => {
    const channel = channelOf('pagerduty', 'error');
    await world.intake.welcome([channel]);
    await world.raise('mild', 'warning');
    await world.raise('bad', 'critical');
    await world.raise('bad', 'info');
    await world.resolve('mild');
    await world.resolve('bad');
    await world.deliver(channel);
    assert.deepEqual(told(channel).flat(), ['raised bad', 'raised bad', 'resolved bad']);
  });

  test('the release of a frozen commit ends its alert', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    const commit = 'c'.repeat(40);
    await world.raise(frozenAlertKey(commit), 'critical');
    await world.ledger.record({ kind: 'enforcement.released', body: { commit, actor: 'ada', reason: 'looked at it' } });
    await world.deliver(channel);
    const [, [item] = []] = channel.notices.map(({ items }) => items);
    assert.deepEqual([item?.change, item?.reason], ['resolved', 'released by ada: looked at it']);
  });

  test('while an alert stands it is told again after the repeat interval, and not after its end', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.raise('a');
    await world.deliver(channel);
    world.nowMs += repeatMs - 1;
    await world.intake.catchUp([channel]);
    await drain(world.courierOf(channel));
    assert.equal(channel.notices.length, 1);
    world.nowMs += 2;
    await world.intake.catchUp([channel]);
    await world.intake.catchUp([channel]);
    await drain(world.courierOf(channel));
    assert.deepEqual(told(channel)[1], ['repeated a']);
    assert.equal(channel.notices.length, 2);
    world.nowMs += 2 * repeatMs;
    await world.intake.catchUp([channel]);
    await world.resolve('a');
    await world.deliver(channel);
    assert.deepEqual(told(channel)[2], ['resolved a']);
    world.nowMs += 2 * repeatMs;
    await world.intake.catchUp([channel]);
    await drain(world.courierOf(channel));
    assert.equal(channel.notices.length, 3);
  });

  test('a new channel is told what stands, and nothing of the past', async () => {
    await world.raise('past');
    await world.resolve('past');
    await world.raise('standing');
    await world.readAll();
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    await world.intake.welcome([channel]);
    await world.deliver(channel);
    assert.deepEqual(told(channel), [['raised standing']]);
  });

  test('nothing more is queued for a channel that no collector has any more; one that comes back is told what stands', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    world.nowMs += limits.alertChannelForgottenMs + 1;
    await world.raise('a');
    await world.readAll();
    assert.deepEqual((await alertFigures(world.db)).channels, [{ name: 'slack', waiting: 0, dead: 0 }]);
    await world.intake.welcome([channel]);
    await world.deliver(channel);
    assert.deepEqual(told(channel), [['raised a']]);
  });

  test('a crash while entries are read loses none and tells none twice', async () => {
    const channel = channelOf('slack');
    await world.intake.welcome([channel]);
    for (const key of ['a', 'b', 'c']) await world.raise(key);
    for (const crashAt of ['keep', 'enqueue', 'advance'] as const) {
      const store = world.alertStore();
      const crashing: AlertStore = {
        ...store,
        atDesk: (work) =>
          store.atDesk((desk) => work({ ...desk, [crashAt]: () => Promise.reject(new Error('the process died')) })),
      };
      await assert.rejects(world.intakeOver(crashing).read());
    }
    await world.deliver(channel);
    assert.deepEqual(told(channel), [['raised a', 'raised b', 'raised c']]);
  });

  test('whether an alert stands is known before and after its entries were read', async () => {
    assert.equal(await alertStands(world.db, 'a'), false);
    await world.raise('a', 'error', 'zero \u0000 byte');
    await world.raise('b');
    assert.equal(await alertStands(world.db, 'a'), true);
    await world.readAll();
    assert.equal(await alertStands(world.db, 'a'), true);
    await world.resolve('a');
    assert.deepEqual([await alertStands(world.db, 'a'), await alertStands(world.db, 'b')], [false, true]);
    await world.readAll();
    assert.deepEqual([await alertStands(world.db, 'a'), await alertStands(world.db, 'b')], [false, true]);
  });

  test('two collectors tell everything once', async () => {
    const [here, there] = [channelOf('slack', 'info', 3), channelOf('slack', 'info', 3)];
    await world.intake.welcome([here]);
    const keys = Array.from({ length: 40 }, (_, i) => `alert ${i}`);
    for (const key of keys) await world.raise(key);
    const other = world.intakeOver(world.alertStore());
    await Promise.all([world.readAll(), other.read(), other.welcome([there]), world.intake.catchUp([here])]);
    world.nowMs += groupMs;
    await Promise.all([drain(world.courierOf(here)), drain(world.courierOf(there))]);
    await drain(world.courierOf(here));
    const all = [...told(here), ...told(there)].flat();
    assert.deepEqual(all.sort(), keys.map((key) => `raised ${key}`).sort());
  });
});

describe('what is wrong with a node', () => {
  const watchOver = (clock: { now(): number }, settings: RuleSettings = ruleSettings.parse({})) => {
    const { db, ledger } = world;
    const witnesses = async () => ({ required: 0, unwitnessedSinceMs: null });
    const facts = (nowMs: number) => readFacts(db, { nowMs, settings, witnesses });
    const others = { metrics: { ruleFailed: () => {} }, logger: quietLogger };
    return createConditionWatch({ store: world.alertStore(), facts, settings, ledger, clock, ...others });
  };
  const standing = async () =>
    (await listAlerts(world.db, 'standing', { after: undefined, limit: 10 })).map(
      ({ severity, key }) => `${severity} ${key}`,
    );
  const reportOf = (openFindings: number, disk?: Body<'report'>['disk']): StatementOf<'report'> => {
    const digest = '0'.repeat(64);
    const status = openFindings > 0 ? 'findings' : 'ok';
    const body: Body<'report'> = {
      ...{ minute: '2026-03-01T10:00:00.000Z', coverage: 'observed', scanMs: 1, commit: null },
      ...{ containers: { count: 0, unobserved: 0, digest }, drifts: { open: 0, digest } },
      stores: [{ store: 'main', status, findingsDigest: digest, openFindings, checkedRecords: 9, error: null }],
      ...(disk && { disk }),
    };
    return { kind: 'report', body };
  };

  test('is raised once for as long as it is so, by whichever collector looks, and resolved afterwards', async () => {
    const { ledger } = world;
    const keys = await enrolDirectly(ledger, 'lyra');
    const clock = { now: () => Date.now() };
    const watches = [1, 2].map(() => watchOver(clock));
    const look = async () => {
      for (const watch of watches) await watch.look();
      await world.readAll();
    };
    await look();
    assert.deepEqual(await standing(), []);
    await say(ledger, 'lyra', keys, [reportOf(2)]);
    const before = (await ledger.checkpoint()).size;
    for (let times = 0; times < 3; times++) await look();
    assert.deepEqual(await standing(), ['critical sigils.findings/lyra/main']);
    assert.equal((await ledger.checkpoint()).size, before + 1);
    await say(ledger, 'lyra', keys, [reportOf(0)]);
    for (let times = 0; times < 3; times++) await look();
    assert.deepEqual(await standing(), []);
    assert.equal((await ledger.checkpoint()).size, before + 3);
  });

  test('includes that it is silent, and nothing of one whose key was revoked', async () => {
    const { db, ledger } = world;
    const keys = await enrolDirectly(ledger, 'lyra');
    let laterMs = 0;
    const clock = { now: () => Date.now() + laterMs };
    const watch = watchOver(clock);
    while (laterMs < limits.alertNodeSilentMs) {
      laterMs += limits.alertNodeSilentMs / 3;
      await watch.look();
    }
    await world.readAll();
    assert.equal(await alertStands(db, 'node.silent/lyra'), true);
    // A collector that has just started has not heard it either.
    await watchOver(clock).look();
    await world.readAll();
    assert.equal(await alertStands(db, 'node.silent/lyra'), true);
    const body = { node: 'lyra', fingerprint: fingerprint(keys.publicKey), reason: 'lost' };
    await ledger.record({ kind: 'node.revoked', body });
    await watch.look();
    await world.readAll();
    assert.equal(await alertStands(db, 'node.silent/lyra'), false);
  });

  test('is not its silence while the database did not answer, or when the clock was set', async () => {
    const { db, ledger } = world;
    await enrolDirectly(ledger, 'lyra');
    let laterMs = 0;
    const watch = watchOver({ now: () => Date.now() + laterMs });
    for (const jumpMs of [limits.alertNodeSilentMs, -24 * 3_600_000, 48 * 3_600_000]) {
      laterMs += jumpMs;
      await watch.look();
      await world.readAll();
      assert.equal(await alertStands(db, 'node.silent/lyra'), false, `${jumpMs} ms`);
    }
  });

  test('is told however often another says this and then that', async () => {
    const { ledger } = world;
    const [keys, others] = [await enrolDirectly(ledger, 'lyra'), await enrolDirectly(ledger, 'node1')];
    let laterMs = 0;
    const watch = watchOver({ now: () => Date.now() + laterMs });
    const digest = '0'.repeat(64);
    const { body } = reportOf(1);
    const names = (round: number) => Array.from({ length: 100 }, (_, i) => `s${round}-${i}`);
    for (let round = 0; round < 5; round++) {
      const store = {
        status: 'findings',
        findingsDigest: digest,
        openFindings: 1,
        checkedRecords: 9,
        error: null,
      } as const;
      const stores = names(round).map((name) => ({ ...store, store: name }));
      await say(ledger, 'lyra', keys, [{ kind: 'report', body: { ...body, stores } }]);
      await watch.look();
      await world.readAll();
    }
    const { size } = await ledger.checkpoint();
    await say(ledger, 'node1', others, [reportOf(1)]);
    await watch.look();
    await world.readAll();
    assert.equal(await alertStands(world.db, 'sigils.findings/node1/main'), true);
    assert.equal((await ledger.checkpoint()).size, size + 2);
    // And nothing of the node itself stays untold: it waits.
    for (let times = 0; times < 3; times++) {
      laterMs += limits.alertWordsWindowMs;
      await watch.look();
      await world.readAll();
    }
    const told = await world.intake
      .read()
      .then(() => listAlerts(world.db, 'standing', { after: undefined, limit: 500 }));
    assert.equal(told.filter(({ key }) => key.startsWith('sigils.findings/lyra/s4-')).length, 100);
    assert.equal(told.length, 101);
  });

  test('is raised again when it becomes worse or milder, also by a collector that has just started, and only then', async () => {
    const { ledger } = world;
    const keys = await enrolDirectly(ledger, 'lyra');
    const clock = { now: () => Date.now() };
    const look = async () => {
      for (let times = 0; times < 2; times++) {
        await watchOver(clock).look();
        await world.readAll();
      }
    };
    const steps = [
      [9, 'warning disk.low/lyra'],
      [2, 'error disk.low/lyra'],
      [1, 'error disk.low/lyra'],
      [10.5, 'warning disk.low/lyra'],
    ] as const;
    const sizes: number[] = [];
    for (const [percent, expected] of steps) {
      await say(ledger, 'lyra', keys, [reportOf(0, { freeBytes: percent * 1e9, totalBytes: 1e11 })]);
      const before = (await ledger.checkpoint()).size;
      await look();
      assert.deepEqual(await standing(), [expected]);
      sizes.push((await ledger.checkpoint()).size - before);
    }
    assert.deepEqual(sizes, [1, 1, 0, 1]);
    await say(ledger, 'lyra', keys, [reportOf(0, { freeBytes: 5e10, totalBytes: 1e11 })]);
    await look();
    assert.deepEqual(await standing(), []);
  });

  test('is told of although something else cannot be read, and what that is about stays as it is until it can', async () => {
    const { ledger, db } = world;
    const keys = await enrolDirectly(ledger, 'lyra');
    let laterMs = 0;
    const watch = watchOver({ now: () => Date.now() + laterMs });
    const look = async () => {
      await watch.look();
      await world.readAll();
    };
    await world.raise('coverage.lost/lyra', 'warning');
    await world.readAll();
    await db.query('alter table coverage_gaps rename to away');
    await say(ledger, 'lyra', keys, [reportOf(1)]);
    await look();
    const known = ['critical sigils.findings/lyra/main', 'warning coverage.lost/lyra'];
    assert.deepEqual(await standing(), known);
    for (; laterMs < limits.alertRuleFailedMs; laterMs += limits.alertListenGapMs) await look();
    await say(ledger, 'lyra', keys, [reportOf(1)]);
    await look();
    const failed = 'error alerts.rule_failed/coverage.lost';
    assert.deepEqual(
      (await standing()).filter((alert) => !alert.includes('node.silent')),
      [failed, ...known],
    );
    await db.query('alter table away rename to coverage_gaps');
    await look();
    assert.deepEqual(
      (await standing()).filter((alert) => !alert.includes('node.silent')),
      known.slice(0, 1),
    );
  });

  test('ends when its rule is switched off, with the reason, and what others raised stays', async () => {
    const { ledger, db } = world;
    const keys = await enrolDirectly(ledger, 'lyra');
    const clock = { now: () => Date.now() };
    await world.raise('enforcement.frozen/0a1b', 'critical');
    await say(ledger, 'lyra', keys, [reportOf(1)]);
    await world.readAll();
    const watch = watchOver(clock);
    await watch.look();
    await world.readAll();
    const frozen = 'critical enforcement.frozen/0a1b';
    assert.deepEqual(await standing(), ['critical sigils.findings/lyra/main', frozen]);
    const off = watchOver(clock, ruleSettings.parse({ off: ['sigils.findings'] }));
    await off.look();
    await world.readAll();
    assert.deepEqual(await standing(), [frozen]);
    const [ended] = await listAlerts(db, 'all', { after: undefined, limit: 1 });
    assert.deepEqual([ended?.key, ended?.reason], ['sigils.findings/lyra/main', 'the rule is off']);
    // Where another collector has it on, the two do not contradict each other for ever.
    await watch.look();
    await world.readAll();
    const { size } = await ledger.checkpoint();
    for (const one of [off, watch, off]) {
      await one.look();
      await world.readAll();
    }
    assert.equal((await ledger.checkpoint()).size, size);
  });
});
