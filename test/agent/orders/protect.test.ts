import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { EngineControl } from '../../../agent/docker/control.ts';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import { dockerControl } from '../../../agent/docker/dockerode-control.ts';
import { goodRepository } from '../../../agent/orders/good-tag.ts';
import { createGoodImages } from '../../../agent/orders/protect.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import type { EngineApi } from '../../engine-api.ts';
import { engineAvailable, startEngine } from '../../engines.ts';
import { startFakeEngine } from '../../fakes/engine.ts';
import { fakeJournal } from '../../fakes/journal.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { tempFolder } from '../watching.ts';
import { nodeWorld } from './world.ts';

type TestEngine = EngineApi & { readonly socketPath: string; stop(): Promise<void> };

const dir = tempFolder();
const idOf = (n: number) => `sha256:${n.toString(16).padStart(2, '0').padEnd(64, '0')}`;
const tagOf = (id: string) => `${goodRepository}:${id.slice('sha256:'.length, 'sha256:'.length + 12)}`;
const wanted = (...names: string[]) =>
  names.map((name) => ({ name, image: `${name}:1`, imageId: null, config: {}, creation: {} }));

function running(name: string, imageId: string, changes: Partial<ObservedContainer> = {}): ObservedContainer {
  const time = '2026-01-01T00:00:00Z';
  return {
    ...{ id: 'a'.repeat(64), name, image: `${name}:1`, imageId, state: 'running', health: 'none', exitCode: 0 },
    ...{ restartCount: 0, createdAt: time, startedAt: time, finishedAt: null },
    ...changes,
  };
}

/** Tags in memory; `refuses` is asked before each call. */
function tags() {
  const held = new Map<string, string>();
  const asked: string[] = [];
  const world = { refuses: (_call: string) => false };
  const call = (said: string) => {
    asked.push(said);
    if (world.refuses(said)) throw new AppError('engine.answer', 'no');
  };
  const control: Pick<EngineControl, 'tagImage' | 'untag'> = {
    tagImage: async (id, repository, tag) => {
      call(`tag ${repository}:${tag}`);
      held.set(`${repository}:${tag}`, id);
      return 'done';
    },
    untag: async (reference) => {
      call(`untag ${reference}`);
      return held.delete(reference) ? 'done' : 'gone';
    },
  };
  return { held, asked, control, world };
}

function scene() {
  const engine = tags();
  const journal = fakeJournal();
  const clock = { nowMs: Date.UTC(2026, 0, 1), now: () => clock.nowMs };
  const start = () => createGoodImages({ control: engine.control, journal, clock, logger: quietLogger });
  return { ...engine, journal, clock, start };
}

describe('a good image', () => {
  test('is tagged once, whoever runs it and however often it is seen', async () => {
    const { start, held, asked, journal } = scene();
    const good = start();
    const seen = { wanted: wanted('web', 'api'), observed: [running('web', idOf(1)), running('api', idOf(1))] };
    for (let i = 0; i < 3; i++) await good.keep({ ...seen, drifts: [] });
    assert.deepEqual([...held.keys()], [tagOf(idOf(1))]);
    assert.equal(asked.length, 1);
    assert.deepEqual(journal.said, [], 'it is nobody\u2019s business but the node\u2019s own');
  });

  test('is one that a wanted container runs with as it should', async () => {
    const { start, held } = scene();
    const observed = [
      ...[running('web', idOf(1)), running('stranger', idOf(2)), running('api', idOf(3), { state: 'exited' })],
      ...[running('db', idOf(4), { health: 'unhealthy' }), running('cache', 'not an id')],
    ];
    await start().keep({ wanted: wanted('web', 'api', 'db', 'cache'), observed, drifts: [{ container: 'web' }] });
    assert.deepEqual([...held], []);
  });

  test('is let go of when enough others have come after it, unless another container has it', async () => {
    const { start, held } = scene();
    const good = start();
    const last = limits.goodImagesPerContainer + 2;
    for (let n = 1; n <= last; n++) {
      const observed = [running('web', idOf(n)), running('api', idOf(1))];
      await good.keep({ wanted: wanted('web', 'api'), observed, drifts: [] });
    }
    const kept = Array.from({ length: limits.goodImagesPerContainer }, (_, i) => idOf(last - i));
    assert.deepEqual([...held.values()].sort(), [idOf(1), ...kept].sort());
  });

  test('that comes back is the newest again', async () => {
    const { start, held } = scene();
    const good = start();
    for (const n of [1, 2, 3, 1, 4]) {
      await good.keep({ wanted: wanted('web'), observed: [running('web', idOf(n))], drifts: [] });
    }
    assert.deepEqual([...held.values()].sort(), [idOf(1), idOf(3), idOf(4)]);
  });

  test('stays for a while after nobody wants its container any more, and then goes', async () => {
    const { start, held, clock, journal } = scene();
    await start().keep({ wanted: wanted('web'), observed: [running('web', idOf(1))], drifts: [] });
    const later = start();
    clock.nowMs += limits.goodImagesUnwantedMs - 1;
    await later.keep({ wanted: [], observed: [], drifts: [] });
    assert.equal(held.size, 1);
    clock.nowMs += 1;
    await later.keep({ wanted: [], observed: [], drifts: [] });
    assert.deepEqual([held.size, (await journal.state('good/')).size], [0, 0]);
  });
});

describe('no tag is forgotten, and none is lost', () => {
  test('when the program ends, or the engine refuses, at any of the calls', async () => {
    const images = [1, 2, 3, 4, 5, 6].map(idOf);
    for (let fails = 1; fails <= 10; fails++) {
      const { start, held, asked, world } = scene();
      world.refuses = () => asked.length === fails;
      for (const image of images) {
        // Another run each time.
        await start().keep({ wanted: wanted('web'), observed: [running('web', image)], drifts: [] });
      }
      const good = start();
      await good.keep({ wanted: wanted('web'), observed: [running('web', idOf(6))], drifts: [] });
      assert.deepEqual([...held.values()].sort(), images.slice(-limits.goodImagesPerContainer), `call ${fails}`);
    }
  });

  test('when the journal takes nothing, nothing is tagged', async () => {
    const { start, held, journal } = scene();
    journal.mood = 'write_failed';
    const seen = { wanted: wanted('web'), observed: [running('web', idOf(1))], drifts: [] };
    const good = start();
    await assert.rejects(good.keep(seen), { code: 'outbox.write_failed' });
    assert.equal(held.size, 0);
    journal.mood = 'well';
    await good.keep(seen);
    assert.equal(held.size, 1);
  });
});

function onEngine(name: string, startOne: () => Promise<TestEngine>, skip: string | undefined): void {
  describe(`images that were good, ${name}`, { skip: skip ?? false }, () => {
    let engine: TestEngine;
    before(async () => {
      engine = await startOne();
      await engine.importImage('app:1');
      await engine.importImage('app:2');
    });
    after(() => engine?.stop());

    test('outlive their names, and are no drift', async () => {
      const control = dockerControl({ socketPath: engine.socketPath });
      const id = (await control.findImage('app:1')) ?? assert.fail('no image');
      const cmd = ['/bin/busybox', 'sleep', '600'];
      await engine.run({ name: 'web', image: 'app:1', cmd });
      const world = nodeWorld({ socketPath: engine.socketPath, imagesDir: join(dir, 'none') });
      world.want('[{name: web, image: "app:1"}]');
      const { observer } = await world.run();
      const good = createGoodImages({ control, journal: fakeJournal(), clock: Date, logger: quietLogger });
      const manifest = parseManifest('containers: [{name: web, image: "app:1"}]');
      const { containers } = compileDesired(manifest, 'node1');
      await good.keep({ wanted: containers, observed: observer.observed.values(), drifts: [] });
      await observer.scan();
      assert.equal(observer.standing?.size, 0);
      for (const one of await engine.ids()) await engine.remove(one);
      await engine.removeImage('app:1');
      assert.equal(await control.findImage('app:1'), undefined);
      assert.equal(await control.findImage(id), id);
      assert.equal((await dockerEngine({ socketPath: engine.socketPath }).image(id)) === undefined, false);
    });
  });
}

onEngine('simulated', () => startFakeEngine(join(dir, 'fake.sock')), undefined);
const available = engineAvailable();
onEngine('dockerd', () => startEngine({ name: 'good', dir }), available.ok ? undefined : available.reason);
