import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { AlertStore } from '../../../collector/alerts/ports.ts';
import { alertHoldSources, alertSilences } from '../../../collector/postgres/alert-query-store.ts';
import {
  type AlertWorld,
  channelOf,
  drain,
  groupMs,
  inAlertWorlds,
  repeatMs,
  type TestChannel,
  told,
  unreachable,
} from './alert-world.ts';

let world: AlertWorld;
let channel: TestChannel;

inAlertWorlds(async (begun) => {
  world = begun;
  channel = channelOf('slack');
  await world.intake.welcome([channel]);
});

const silenceMs = 3_600_000;

describe('a silence', () => {
  test('holds back what is raised within it, which is told when it ends and the alert still stands', async () => {
    await world.silence('a', silenceMs);
    await world.raise('a');
    await world.raise('b');
    await world.tellAll(channel);
    assert.deepEqual(told(channel), [['raised b']]);
    world.nowMs += silenceMs;
    await world.tellAll(channel);
    assert.deepEqual(told(channel), [['raised b'], ['raised a']]);
  });

  test('that is lifted lets what still stands be told then', async () => {
    const id = await world.silence('node.silent/*', silenceMs);
    await world.raise('node.silent/node2');
    await world.tellAll(channel);
    await world.unsilence(id);
    await world.tellAll(channel);
    assert.deepEqual(told(channel), [['raised node.silent/node2']]);
  });

  test('leaves nobody with half a story: what was told before it ends with it, what came and went within it is told to nobody', async () => {
    await world.raise('told');
    await world.tellAll(channel);
    await world.silence('told', silenceMs);
    await world.silence('within', silenceMs);
    await world.raise('within');
    await world.tellAll(channel);
    await world.resolve('told');
    await world.resolve('within');
    await world.tellAll(channel);
    world.nowMs += silenceMs;
    await world.tellAll(channel);
    assert.deepEqual(told(channel), [['raised told'], ['resolved told']]);
  });

  test('holds back repetitions too, and no other alerts', async () => {
    await world.raise('a');
    await world.raise('b');
    await world.tellAll(channel);
    await world.silence('a', 2 * repeatMs);
    world.nowMs += repeatMs;
    await world.tellAll(channel);
    assert.deepEqual(told(channel).slice(1), [['repeated b']]);
  });

  test('is no end for who takes for over what is not told again: that goes on, with what was told before', async () => {
    const forgetful = { ...channelOf('alertmanager'), forgets: true };
    await world.intake.welcome([forgetful]);
    await world.raise('a', 'error');
    await world.tellAll(forgetful);
    await world.silence('a', 10 * repeatMs);
    await world.raise('a', 'warning');
    for (const known of ['error', null]) {
      world.nowMs += repeatMs;
      await world.readAll();
      await world.intake.catchUp([forgetful]);
      // What is taken back is as if it had not been queued.
      await world.silence('b', repeatMs);
      await world.tellAll(forgetful);
      const last = forgetful.notices.at(-1)?.items[0];
      assert.deepEqual([last?.change, last?.severity, last?.previousSeverity], ['repeated', 'warning', known]);
    }
    await world.resolve('a');
    await world.tellAll(forgetful);
    assert.equal(forgetful.notices.at(-1)?.items[0]?.change, 'resolved');
    assert.equal(forgetful.notices.length, 4);
  });

  test('takes back what waits, unless somebody has tried to send it already: that may have arrived', async () => {
    const down = channelOf('email');
    await world.intake.welcome([down]);
    down.answer = () => Promise.reject(unreachable);
    await world.raise('a');
    await world.readAll();
    world.nowMs += groupMs;
    await drain(world.courierOf(down));
    await world.silence('a', silenceMs);
    down.answer = async () => {};
    await world.tellAll(channel, down);
    await world.resolve('a');
    await world.tellAll(channel, down);
    assert.deepEqual(told(channel), []);
    world.nowMs += silenceMs;
    await world.tellAll(channel, down);
    assert.deepEqual(told(down), [['raised a'], ['resolved a']]);
  });

  test('takes back no word on what is over: the end that waits goes on having its beginning', async () => {
    await world.raise('a');
    await world.resolve('a');
    await world.readAll();
    await world.raise('a');
    await world.silence('a', silenceMs);
    await world.tellAll(channel);
    assert.deepEqual(told(channel), [['raised a'], ['resolved a']]);
    world.nowMs += silenceMs;
    await world.tellAll(channel);
    assert.deepEqual(told(channel).at(-1), ['raised a']);
  });

  test('of what got worse within it is told with what the channel knew before', async () => {
    await world.raise('a', 'warning');
    await world.tellAll(channel);
    await world.raise('a', 'error');
    await world.readAll();
    await world.silence('a', silenceMs);
    await world.raise('a', 'critical');
    await world.tellAll(channel);
    assert.equal(channel.notices.length, 1);
    world.nowMs += silenceMs;
    await world.tellAll(channel);
    const item = channel.notices[1]?.items[0];
    assert.deepEqual([item?.severity, item?.previousSeverity], ['critical', 'warning']);
  });

  test('is known before and after its entry was read, until it is over', async () => {
    const ids = async () => (await alertSilences(world.db, world.nowMs)).map(({ id }) => id);
    const id = await world.silence('drift.*', silenceMs);
    assert.deepEqual(await ids(), [id]);
    await world.readAll();
    assert.deepEqual(await ids(), [id]);
    await world.unsilence(id);
    assert.deepEqual(await ids(), []);
    await world.readAll();
    assert.deepEqual(await ids(), []);
    await world.silence('drift.*', silenceMs);
    await world.readAll();
    world.nowMs += silenceMs;
    assert.deepEqual(await ids(), []);
    await world.intake.tidy();
    const { rowCount } = await world.db.query('select id from alert_silences');
    assert.equal(rowCount, 0);
  });

  test('survives a crash at every step, and holds for every collector', async () => {
    await world.silence('a', silenceMs);
    await world.raise('a');
    for (const crashAt of ['keepSilence', 'keep', 'takeBack', 'advance'] as const) {
      const store = world.alertStore();
      const crashing: AlertStore = {
        ...store,
        atDesk: (work) =>
          store.atDesk((desk) => work({ ...desk, [crashAt]: () => Promise.reject(new Error('the process died')) })),
      };
      await assert.rejects(world.intakeOver(crashing).read());
    }
    const other = world.intakeOver(world.alertStore());
    await Promise.all([world.readAll(), other.read(), other.catchUp([channel])]);
    await world.tellAll(channel);
    assert.deepEqual(told(channel), []);
  });
});

describe('an acknowledgement', () => {
  test('ends repetitions until the alert gets worse', async () => {
    await world.raise('a');
    await world.tellAll(channel);
    await world.acknowledge('a');
    world.nowMs += 2 * repeatMs;
    await world.tellAll(channel);
    assert.equal(channel.notices.length, 1);
    await world.raise('a', 'critical');
    await world.tellAll(channel);
    world.nowMs += repeatMs;
    await world.tellAll(channel);
    await world.resolve('a');
    await world.tellAll(channel);
    assert.deepEqual(told(channel), [['raised a'], ['raised a'], ['repeated a'], ['resolved a']]);
  });

  test('takes back a repetition that waits', async () => {
    await world.raise('a');
    await world.tellAll(channel);
    world.nowMs += repeatMs;
    await world.intake.catchUp([channel]);
    await world.acknowledge('a');
    await world.tellAll(channel);
    assert.equal(channel.notices.length, 1);
  });
});

describe('escalation', () => {
  const escalateAfterMs = 600_000;
  let boss: TestChannel;

  beforeEach(async () => {
    boss = channelOf('boss', 'info', 10, escalateAfterMs);
    await world.intake.welcome([boss]);
  });

  test('tells of what still stands after its time, and of the end of that', async () => {
    await world.raise('a');
    await world.tellAll(channel, boss);
    assert.deepEqual([told(channel), told(boss)], [[['raised a']], []]);
    world.nowMs += escalateAfterMs;
    await world.tellAll(channel, boss);
    await world.resolve('a');
    await world.tellAll(channel, boss);
    assert.deepEqual(told(boss), [['raised a'], ['resolved a']]);
  });

  test('tells nothing of what was acknowledged, is silenced, or was over in time', async () => {
    await world.raise('acknowledged');
    await world.raise('silenced');
    await world.raise('over');
    await world.tellAll(channel, boss);
    await world.acknowledge('acknowledged');
    await world.silence('silenced', 2 * escalateAfterMs);
    await world.resolve('over');
    world.nowMs += escalateAfterMs;
    await world.tellAll(channel, boss);
    assert.deepEqual(told(boss), []);
    await world.raise('acknowledged', 'critical');
    world.nowMs += escalateAfterMs;
    await world.tellAll(channel, boss);
    assert.deepEqual(told(boss).flat().sort(), ['raised acknowledged', 'raised silenced']);
  });
});

describe('an alert that follows from another', () => {
  test('is not told while that stands, and is when it still stands afterwards', async () => {
    await world.raise('node.silent/node2');
    await world.raise('engine.down/node2');
    await world.tellAll(channel);
    assert.deepEqual((await alertHoldSources(world.db)).inhibitors.byKey.has('node.silent/node2'), true);
    await world.resolve('node.silent/node2');
    await world.tellAll(channel);
    assert.deepEqual(told(channel).flat().sort(), [
      'raised engine.down/node2',
      'raised node.silent/node2',
      'resolved node.silent/node2',
    ]);
  });

  test('is not told either when the cause is put on record a moment later', async () => {
    await world.raise('engine.down/node2');
    await world.readAll();
    await world.raise('node.silent/node2');
    await world.tellAll(channel);
    await world.resolve('engine.down/node2');
    await world.resolve('node.silent/node2');
    await world.tellAll(channel);
    assert.deepEqual(told(channel).flat(), ['raised node.silent/node2', 'resolved node.silent/node2']);
  });
});
