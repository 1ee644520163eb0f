import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { EngineControl } from '../../../agent/docker/control.ts';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import { dockerControl } from '../../../agent/docker/dockerode-control.ts';
import { replace, replacementNames, settle } from '../../../agent/orders/replace.ts';
import type { EngineApi } from '../../engine-api.ts';
import { engineAvailable, startEngine } from '../../engines.ts';
import { startFakeEngine } from '../../fakes/engine.ts';
import { until } from '../../until.ts';
import { tempFolder } from '../watching.ts';
import { answerTo, nodeWorld } from './world.ts';

type TestEngine = EngineApi & {
  readonly socketPath: string;
  down(): Promise<void>;
  up(): Promise<void>;
  stop(): Promise<void>;
};

const dir = tempFolder();
const sleeps = ['/bin/busybox', 'sleep', '600'];
const quoted = JSON.stringify(sleeps);

/** Runs on the real engine, and on the simulated one: what holds for the one has to hold for the other. */
function replacements(name: 'simulated' | 'dockerd', start: () => Promise<TestEngine>, skip: string | undefined): void {
  describe(`replacing containers, ${name}`, { skip: skip ?? false }, () => {
    // No process runs in a simulated container: none ends, none is unhealthy.
    const testProcesses = name === 'dockerd' ? test : () => {};
    let engine: TestEngine;
    before(async () => {
      engine = await start();
      await engine.importImage('app:1');
      await engine.importImage('app:2');
    });
    after(() => engine?.stop());

    const world = (waits = false) =>
      nodeWorld({ socketPath: engine.socketPath, imagesDir: join(dir, name, 'images'), waits });
    const clear = async () => {
      for (const id of await engine.ids()) await engine.remove(id);
    };
    const containers = async () => {
      const adapter = dockerEngine({ socketPath: engine.socketPath });
      const found = await Promise.all([...(await adapter.list()).keys()].map((id) => adapter.inspect(id)));
      return found.flatMap((one) => (one === undefined ? [] : [one]));
    };
    const shown = async () =>
      (await containers()).map(({ container }) => `${container.name} ${container.image} ${container.state}`).sort();

    const policies = async () =>
      (await containers()).map(({ container, config }) => [container.name, config.restart_policy]);

    test('what is kept stays down, also when the engine starts again, and is put back with its restart policy', async () => {
      await clear();
      const host = { RestartPolicy: { Name: 'always' } };
      const id = await engine.run({ name: 'web', image: 'app:1', cmd: sleeps, host });
      const control = dockerControl({ socketPath: engine.socketPath });
      const watching = dockerEngine({ socketPath: engine.socketPath });
      const restart = { Name: 'always', MaximumRetryCount: 0 };
      const replacement = { hash: 'e'.repeat(64), name: 'web', old: { id, state: 'running' as const, restart } };
      let passedMs = 0;
      const needs = {
        ...{ engine: watching, control, signal: new AbortController().signal },
        clock: { monotonicMs: () => passedMs },
        sleep: async (ms: number) => {
          passedMs += ms;
        },
        make: (named: string) =>
          control.create(named, {
            Image: 'app:2',
            Labels: { 'sigilwatch.order': replacement.hash },
            Cmd: sleeps,
            HostConfig: host,
          }),
      };
      await replace(replacement, needs);
      await engine.down();
      await engine.up();
      const kept = replacementNames('web', replacement.hash).kept;
      await until(
        'the new one is back',
        async () => name !== 'dockerd' || (await shown()).includes('web app:2 running'),
      );
      assert.ok((await shown()).includes(`${kept} app:1 exited`), (await shown()).join());
      for (const one of await containers()) if (one.container.id !== id) await engine.remove(one.container.id);
      assert.equal(await settle(replacement, needs), undefined);
      assert.deepEqual([await shown(), await policies()], [['web app:1 running'], [['web', 'always']]]);
    });

    test('a wanted container that is not there is made as the manifest says, to the last field', async () => {
      await clear();
      const { want, run, outcomes, lastReason } = world(name === 'dockerd');
      want(`
  - name: web
    image: app:1
    command: ${quoted}
    ports: ["127.0.0.1::8080"]
    environment: {MODE: production, NUMBER: 4}
    volumes: ["web-data:/data", "/tmp:/host:ro"]
    labels: {tier: service}
    user: "1000:1000"
    cap_add: [NET_BIND_SERVICE]
    cap_drop: [ALL]
    restart_policy: unless-stopped
    mem_limit: 64m
    cpus: 0.5
    healthcheck: {test: ["CMD", "/bin/busybox", "true"], interval: 100ms, timeout: 5s, retries: 3}`);
      const node = await run();
      await node.obey(answerTo(node, 'MISSING_CONTAINER'));
      assert.equal(lastReason(), 'done');
      assert.deepEqual(await shown(), ['web app:1 running']);
      assert.deepEqual([...(node.observer.standing ?? [])], []);
      assert.deepEqual(outcomes(), ['executed', 'verified']);
    });

    test('one that runs from another image is rolled back, and one that was made otherwise too', async () => {
      await clear();
      const { want, run, outcomes } = world();
      want(`[{name: web, image: "app:1", command: ${quoted}, environment: {MODE: production}}]`);
      await engine.run({ name: 'web', image: 'app:2', cmd: sleeps, env: ['MODE=production'] });
      const node = await run();
      await node.obey(answerTo(node, 'IMAGE_DRIFT'));
      assert.deepEqual(await shown(), ['web app:1 running']);
      await clear();
      await engine.run({ name: 'web', image: 'app:1', cmd: sleeps, env: ['MODE=debug'] });
      await node.observer.scan();
      await node.obey(answerTo(node, 'CONFIG_DRIFT'));
      const [web] = await containers();
      assert.equal(web?.config.environment.MODE, 'production');
      assert.deepEqual(
        outcomes().filter((outcome) => outcome !== 'verified'),
        ['executed', 'executed'],
      );
    });

    testProcesses('one that ended is replaced, one that crashes in its place leaves the old one running', async () => {
      await clear();
      const { want, run, outcomes } = world(true);
      want(`[{name: web, image: "app:1", command: ["/bin/busybox", "sh", "-c", "/bin/busybox sleep 0.3; exit 1"]}]`);
      await engine.run({ name: 'web', image: 'app:2', cmd: sleeps });
      const node = await run();
      await node.obey(answerTo(node, 'IMAGE_DRIFT'));
      assert.deepEqual(await shown(), ['web app:2 running']);
      assert.deepEqual(outcomes(), ['failed']);
      await clear();
      want(`[{name: web, image: "app:1", command: ${quoted}}]`);
      const id = await engine.run({ name: 'web', image: 'app:1', cmd: sleeps });
      await engine.kill(id);
      await node.observer.scan();
      await node.obey(answerTo(node, 'MISSING_CONTAINER'));
      assert.deepEqual(await shown(), ['web app:1 running']);
    });

    testProcesses('one whose health check fails leaves the old one as it was', async () => {
      await clear();
      const { want, run, outcomes } = world(true);
      const check = '{test: ["CMD", "/bin/busybox", "false"], interval: 50ms, timeout: 1s, retries: 1}';
      want(`[{name: web, image: "app:1", command: ${quoted}, healthcheck: ${check}}]`);
      await engine.run({ name: 'web', image: 'app:2', cmd: sleeps });
      const node = await run();
      await node.obey(answerTo(node, 'IMAGE_DRIFT'));
      assert.deepEqual(await shown(), ['web app:2 running']);
      assert.deepEqual(outcomes(), ['failed']);
    });

    test('an image that is not with the engine is taken from the archives, or nothing is touched', async () => {
      await clear();
      const images = join(dir, name, 'images');
      const { want, run, outcomes } = world();
      await engine.importImage('carried:1');
      const archive = await engine.saveImage('carried:1');
      await engine.removeImage('carried:1');
      want(`[{name: web, image: "carried:1", command: ${quoted}}]`);
      await engine.run({ name: 'web', image: 'app:2', cmd: sleeps });
      const node = await run();
      await node.obey(answerTo(node, 'IMAGE_DRIFT'));
      assert.deepEqual(await shown(), ['web app:2 running']);
      mkdirSync(images, { recursive: true });
      writeFileSync(join(images, 'broken.tar'), 'no archive');
      writeFileSync(join(images, 'carried.tar'), archive);
      await node.obey(answerTo(node, 'IMAGE_DRIFT'));
      assert.deepEqual(await shown(), ['web carried:1 running']);
      assert.deepEqual(
        outcomes().filter((outcome) => outcome !== 'verified'),
        ['failed', 'executed'],
      );
    });

    test('killed at any moment in the middle, it is finished or undone by the next run', async () => {
      for (let calls = 0, crashed = true; crashed; calls += 1) {
        await clear();
        const { want, run, outcomes, journal } = world();
        want(`[{name: web, image: "app:1", command: ${quoted}, restart_policy: always}]`);
        await engine.run({ name: 'web', image: 'app:2', cmd: sleeps, restartPolicy: 'always' });
        const power = powerCut(calls);
        const node = await run(power.through);
        const order = answerTo(node, 'IMAGE_DRIFT');
        // A dead program does not come to an end.
        await Promise.race([node.obey(order), power.cut]);
        crashed = power.isCut;
        const later = await run();
        await later.desk.resume();
        await later.desk.tidy();
        await later.desk.settled();
        const [now, ...others] = await shown();
        assert.deepEqual(others, [], `after ${calls} calls`);
        assert.match(now ?? '', /^web app:[12] running$/, `after ${calls} calls`);
        const last = outcomes().findLast((outcome) => outcome !== 'verified');
        assert.equal(last, now === 'web app:1 running' ? 'executed' : 'failed', `after ${calls} calls`);
        assert.deepEqual(await policies(), [['web', 'always']], `after ${calls} calls`);
        const standing = [...(later.observer.standing ?? new Map()).values()].map(({ drift }) => drift.kind);
        assert.deepEqual(standing, now === 'web app:1 running' ? [] : ['IMAGE_DRIFT']);
        assert.ok(
          journal.saidOf('drift.opened').every(({ body }) => body.drift.container === 'web'),
          'its own work is no drift',
        );
      }
    });
  });
}

/** After so many calls have been answered, the program is gone: nothing of it goes on, and nothing is answered any more. */
function powerCut(calls: number) {
  let left = calls;
  let isCut = false;
  let announce: () => void = () => {};
  const cut = new Promise<void>((resolve) => {
    announce = resolve;
  });
  const forever = new Promise<never>(() => {});
  const guarded =
    <A extends readonly unknown[], T>(call: (...args: A) => Promise<T>) =>
    (...args: A): Promise<T> => {
      if (left > 0) {
        left -= 1;
        return call(...args);
      }
      isCut = true;
      announce();
      return forever;
    };
  const through = (control: EngineControl): EngineControl => ({
    ...control,
    kill: guarded(control.kill),
    stop: guarded(control.stop),
    start: guarded(control.start),
    remove: guarded(control.remove),
    rename: guarded(control.rename),
    setRestart: guarded(control.setRestart),
    create: guarded(control.create),
  });
  return {
    through,
    cut,
    get isCut() {
      return isCut;
    },
  };
}

replacements('simulated', () => startFakeEngine(join(dir, 'fake.sock')), undefined);
const available = engineAvailable();
replacements('dockerd', () => startEngine({ name: 'real', dir }), available.ok ? undefined : available.reason);
