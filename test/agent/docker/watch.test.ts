import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import type { EngineEvent } from '../../../agent/docker/engine.ts';
import { type EngineDown, type EngineUp, watchEngine } from '../../../agent/docker/watch.ts';
import type { Clock } from '../../../common/clock.ts';
import { image, sleeps, type TestEngine } from '../../contract/engine.ts';
import { engineAvailable, startEngine } from '../../engines.ts';
import { type FakeEngine, startFakeEngine } from '../../fakes/engine.ts';
import { until } from '../../until.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'sgw-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const clock: Clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const frozenDetectionMs = 2_000;

interface Watching {
  readonly log: (({ kind: 'up' } & EngineUp) | ({ kind: 'down' } & EngineDown))[];
  readonly events: EngineEvent[];
  readonly unreadable: string[];
  /** `up` and `down` in the order they were told. */
  transitions(): string[];
  actions(containerId: string): string[];
  stop(): Promise<void>;
}

function watching(socketPath: string): Watching {
  const abort = new AbortController();
  const log: Watching['log'] = [];
  const events: EngineEvent[] = [];
  const unreadable: string[] = [];
  const ended = watchEngine(dockerEngine({ socketPath, timeoutMs: frozenDetectionMs }), {
    clock,
    random: Math.random,
    backoff: { minMs: 5, maxMs: 20 },
    pingIntervalMs: 20,
    onEvent: (event) => events.push(event),
    onUnreadable: (reason) => unreadable.push(reason),
    onUp: (up) => log.push({ kind: 'up', ...up }),
    onDown: (down) => log.push({ kind: 'down', ...down }),
    signal: abort.signal,
  });
  return {
    log,
    events,
    unreadable,
    transitions: () => log.map(({ kind }) => kind),
    actions: (containerId) => events.filter((event) => event.containerId === containerId).map(({ action }) => action),
    stop: async () => {
      abort.abort();
      await ended;
    },
  };
}

const transitionsReach = (watch: Watching, ...wanted: string[]): Promise<void> =>
  until(`the engine was ${wanted}`, () => watch.transitions().length >= wanted.length).then(() =>
    assert.deepEqual(watch.transitions(), wanted),
  );

describe('watching a simulated engine', () => {
  let fake: FakeEngine;
  let watch: Watching;
  beforeEach(async () => {
    fake = await startFakeEngine(path.join(dir, 'engine.sock'));
    await fake.importImage(image);
    watch = watching(fake.socketPath);
    await transitionsReach(watch, 'up');
  });
  afterEach(async () => {
    await watch.stop();
    await fake.stop();
  });

  test('events arrive as they happen', async () => {
    const id = await fake.run({ name: 'a', image, cmd: sleeps });
    await until('its start is told', () => watch.actions(id).includes('start'));
    assert.deepEqual(watch.actions(id), ['create', 'start']);
    assert.equal(watch.log[0]?.kind === 'up' && watch.log[0].missedSinceMs, undefined);
  });

  test('what happened while the stream was broken is told once, in order, and nothing is told twice', async () => {
    const before = fake.state.create('before', { Image: image });
    fake.state.start(before.id);
    await until('its start is told', () => watch.actions(before.id).includes('start'));
    for (let round = 0; round < 5; round += 1) {
      fake.dropConnections();
      const { id } = fake.state.create(`missed-${round}`, { Image: image });
      fake.state.start(id);
      fake.state.kill(id);
      await until('its death is told', () => watch.actions(id).includes('die'));
      assert.deepEqual(watch.actions(id), ['create', 'start', 'die']);
    }
    assert.deepEqual(watch.actions(before.id), ['create', 'start']);
  });

  test('what happened in a break before the first event is told as well', async () => {
    fake.dropConnections();
    const { id } = fake.state.create('missed', { Image: image });
    await until('its creation is told', () => watch.actions(id).includes('create'));
  });

  test('an engine that stays away is down once, and up once when it returns, with the missed time', async () => {
    const stoppedAtMs = Date.now();
    await fake.down();
    await transitionsReach(watch, 'up', 'down');
    await until('several attempts have failed', () => Date.now() > stoppedAtMs + 100);
    const returnedAtMs = Date.now();
    await fake.up();
    await transitionsReach(watch, 'up', 'down', 'up');
    const [, down, up] = watch.log;
    assert.ok(down?.kind === 'down' && up?.kind === 'up');
    assert.ok(down.lastSeenMs !== undefined && down.lastSeenMs <= down.atMs && down.atMs >= stoppedAtMs);
    assert.equal(up.missedSinceMs, down.lastSeenMs);
    assert.ok(up.atMs >= returnedAtMs);
    assert.equal(down.error.code, 'engine.unreachable');
  });

  test('an engine that freezes with its socket open is down, and up again once it thaws', async () => {
    fake.freeze();
    await transitionsReach(watch, 'up', 'down');
    const { id } = fake.state.create('meanwhile', { Image: image });
    fake.thaw();
    await transitionsReach(watch, 'up', 'down', 'up');
    await until('what happened meanwhile is told', () => watch.actions(id).includes('create'));
    assert.deepEqual(watch.actions(id), ['create']);
  });

  test('an event that cannot be read is passed on as a reason to scan', async () => {
    fake.writeToStreams('{"Action":\n');
    await until('it is reported', () => watch.unreadable.length === 1);
    assert.deepEqual(watch.transitions(), ['up']);
  });
});

test('an engine that was never there is down once, without a last sign of life, and found when it comes', async () => {
  const socketPath = path.join(dir, 'late.sock');
  const beganMs = Date.now();
  const watch = watching(socketPath);
  await transitionsReach(watch, 'down');
  const [down] = watch.log;
  assert.ok(down?.kind === 'down' && down.lastSeenMs === undefined);
  const fake = await startFakeEngine(socketPath);
  await transitionsReach(watch, 'down', 'up');
  const up = watch.log[1];
  assert.ok(up?.kind === 'up' && up.missedSinceMs !== undefined, 'the time since the watch began was missed');
  assert.ok(up.missedSinceMs >= beganMs && up.missedSinceMs <= down.atMs);
  await watch.stop();
  await fake.stop();
});

const available = engineAvailable();
describe('watching a real engine', { skip: available.ok ? false : available.reason }, () => {
  let engine: TestEngine & { crash(): Promise<void> };
  let watch: Watching;
  beforeEach(async () => {
    engine = await startEngine({ name: 'real', dir });
    await engine.importImage(image);
    watch = watching(engine.socketPath);
    await transitionsReach(watch, 'up');
  });
  afterEach(async () => {
    await watch.stop();
    await engine.stop();
  });

  test('a killed dockerd is down, its successor up, and events flow again', async () => {
    await engine.run({ name: 'before', image, cmd: sleeps });
    await engine.crash();
    await transitionsReach(watch, 'up', 'down');
    await engine.up();
    await transitionsReach(watch, 'up', 'down', 'up');
    const id = await engine.run({ name: 'after', image, cmd: sleeps });
    await until('its start is told', () => watch.actions(id).includes('start'));
    assert.deepEqual(watch.actions(id), ['create', 'start']);
  });

  test('a frozen dockerd is down, and up again once it goes on', async () => {
    engine.freeze();
    await transitionsReach(watch, 'up', 'down');
    engine.thaw();
    await transitionsReach(watch, 'up', 'down', 'up');
  });
});
