import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { systemClock } from '../../../agent/clock.ts';
import type { EngineControl } from '../../../agent/docker/control.ts';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import { dockerControl } from '../../../agent/docker/dockerode-control.ts';
import type { Engine } from '../../../agent/docker/engine.ts';
import { type RunningExecutor, startExecutor } from '../../../agent/executor/executor.ts';
import { replace, replacementNames } from '../../../agent/orders/replace.ts';
import { containerSpec } from '../../../common/container-spec.ts';
import type { DesiredContainer } from '../../../common/desired.ts';
import { wantedDigest, wantedText } from '../../../common/enforcement/wanted.ts';
import { type Order, orderHash } from '../../../common/order.ts';
import { image, sleeps, type TestEngine } from '../../contract/engine.ts';
import { busybox } from '../../engine-api.ts';
import { engineAvailable, startEngine } from '../../engines.ts';
import { startFakeEngine } from '../../fakes/engine.ts';
import { until } from '../../until.ts';
import { madeFor, makeKeys, makeOrder, node, nowMs, sealOrder } from './scene.ts';

const dir = mkdtempSync(join(tmpdir(), 'sgw-'));
after(() => rmSync(dir, { recursive: true, force: true }));

function wantedAs(name: string): DesiredContainer {
  const healthcheck = { test: ['CMD', busybox, 'true'], interval_ms: 100 };
  return { name, image, imageId: null, config: { command: sleeps, network_mode: 'none' }, creation: { healthcheck } };
}

interface Hands {
  readonly order: Order;
  readonly hash: string;
  readonly control: EngineControl;
}

/** The agent's own hands, held by an executor, on an engine. */
function obeys(name: string, start: () => Promise<TestEngine>, skip?: string): void {
  describe(`an agent behind an executor, ${name}`, { skip: skip ?? false }, () => {
    const keys = makeKeys();
    const clock = { ms: nowMs };
    let subject: TestEngine;
    let executor: RunningExecutor;
    let engine: Engine;
    let nonce = 0;
    before(async () => {
      subject = await start();
      await subject.importImage(image);
      const socketPath = `${subject.socketPath}.x`;
      const trust = { node, collectorKeys: [keys.collector.publicKey], nodeKey: undefined };
      const settings = { socketPath, enginePath: subject.socketPath, groupId: undefined, trust };
      executor = await startExecutor(settings, { now: () => clock.ms, log: () => {} });
      engine = dockerEngine({ socketPath });
    });
    after(async () => {
      await executor?.stop();
      await subject?.stop();
    });

    function handsFor(differing: Partial<Order>): Hands {
      nonce++;
      const order = makeOrder({ ...differing, nonce: nonce.toString(16).padStart(32, '0') });
      const said = { order: sealOrder(order, keys), wanted: wantedText(wantedAs(order.container)) };
      const control = dockerControl({ socketPath: `${subject.socketPath}.x`, ...said });
      return { order, hash: orderHash(order), control };
    }

    async function stateOf(id: string): Promise<string | undefined> {
      return (await engine.inspect(id))?.container.state;
    }

    test('a container is killed and removed by an order to terminate it, and no other', async () => {
      const id = await subject.run({ name: 'unwanted', image, cmd: sleeps });
      const other = await subject.run({ name: 'wanted', image, cmd: sleeps });
      const { control } = handsFor({ action: 'terminate', container: 'unwanted', containerId: id });
      for (const call of [control.kill, control.remove, control.pause]) {
        await assert.rejects(call(other), { code: 'engine.answer' });
      }
      await assert.rejects(control.stop(id, 1_000), { code: 'engine.answer' });
      assert.equal(await control.kill(id), true);
      assert.equal(await control.remove(id), 'done');
      assert.deepEqual([await stateOf(id), await stateOf(other)], [undefined, 'running']);
    });

    test('nothing is done without an order, with one for another node, or with one that has expired', async () => {
      const id = await subject.run({ name: 'stays', image, cmd: sleeps });
      const bare = dockerControl({ socketPath: `${subject.socketPath}.x` });
      const { control: elsewhere } = handsFor({ containerId: id, node: 'node1' });
      const { control: late } = handsFor({ containerId: id, expiresAt: '2026-03-01T11:59:59.999Z' });
      for (const control of [bare, elsewhere, late]) await assert.rejects(control.kill(id), { code: 'engine.answer' });
      assert.equal(await stateOf(id), 'running');
      const evidence = await Promise.all([bare.rawInspect(id), bare.logs(id, 10), bare.changes(id)]);
      assert.ok(
        evidence.every((part) => part !== undefined),
        'but it may be looked at',
      );
    });

    test('a container goes into quarantine and comes out of it', async () => {
      const id = await subject.run({ name: 'suspect', image, cmd: sleeps });
      const { control } = handsFor({ action: 'quarantine', container: 'suspect', containerId: id });
      await control.pause(id);
      assert.equal(await stateOf(id), 'paused');
      await assert.rejects(control.unpause(id), { code: 'engine.answer' });
      const { control: releasing } = handsFor({ action: 'release', container: 'suspect', containerId: id });
      await releasing.unpause(id);
      await until('it is running', async () => (await stateOf(id)) === 'running');
    });

    test('a container is replaced, its predecessor kept, and removed long after', async () => {
      const id = await subject.run({ name: 'web', image, cmd: sleeps });
      const wanted = wantedDigest(wantedAs('web'));
      const hands = handsFor({ action: 'rollback', container: 'web', containerId: id, wanted });
      const { control } = hands;
      const { kept } = replacementNames('web', hands.hash);
      const madeId = await replaced(id, 'web', hands);
      assert.deepEqual([await stateOf(madeId), await stateOf(id)], ['running', 'exited']);
      assert.equal((await engine.inspect(id))?.container.name, kept);
      clock.ms = nowMs + 30 * 86_400_000;
      await assert.rejects(control.stop(madeId, 0), { code: 'engine.answer' });
      await assert.rejects(control.remove(madeId), { code: 'engine.answer' });
      assert.equal(await control.remove(id), 'done');
      clock.ms = nowMs;
      assert.deepEqual([await stateOf(madeId), await stateOf(id)], ['running', undefined]);
    });

    test('a replacement that does not start is undone, also when the time of the order is over by then', async () => {
      const id = await subject.run({ name: 'db', image, cmd: sleeps });
      const wanted = wantedDigest(wantedAs('db'));
      const hands = handsFor({ action: 'rollback', container: 'db', containerId: id, wanted });
      const { control } = hands;
      const dying: EngineControl = {
        ...control,
        start: async (started) => {
          if (started === id) return control.start(id);
          clock.ms = nowMs + 10 * 60_000;
          throw new Error('a power cut');
        },
      };
      await assert.rejects(replaced(id, 'db', { ...hands, control: dying }));
      clock.ms = nowMs;
      const found = await engine.inspect(id);
      assert.deepEqual([found?.container.name, found?.container.state], ['db', 'running']);
    });

    function replaced(old: string, name: string, { order, hash, control }: Hands): Promise<string> {
      const { body } = containerSpec(wantedAs(name), { labels: madeFor(order) });
      return replace(
        { hash, name, old: { id: old, state: 'running' } },
        {
          ...{ engine, control, clock: systemClock, signal: new AbortController().signal },
          make: (next) => control.create(next, body),
          sleep: (ms) => delay(Math.min(ms, 20)),
        },
      );
    }
  });
}

obeys('simulated', () => startFakeEngine(join(dir, 'f.sock')));

const available = engineAvailable();
obeys('dockerd', () => startEngine({ name: 'real', dir }), available.ok ? undefined : available.reason);
