import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InspectedContainer } from '../../../agent/docker/engine.ts';
import { containerInspect } from '../../../agent/docker/engine-json.ts';
import { createImages, stateToJudge } from '../../../agent/docker/images.ts';
import { diff } from '../../../common/drift.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';

const time = '2026-01-01T00:00:00Z';
const bare = { command: [], entrypoint: [], environment: {}, labels: {}, user: '', volumes: [] };

function container(letter: string, name: string, networkMode: string, state = 'running'): InspectedContainer {
  return containerInspect.parse({
    ...{
      Id: letter.repeat(64),
      Name: `/${name}`,
      Image: `sha256:${letter.repeat(64)}`,
      Created: time,
      RestartCount: 0,
    },
    State: { Status: state, ExitCode: 0, StartedAt: time, FinishedAt: time },
    Config: { Image: 'x' },
    HostConfig: { NetworkMode: networkMode, CapAdd: ['SYS_TIME'] },
  });
}

function lookedAt(containers: readonly InspectedContainer[]) {
  const byId = new Map(containers.map((one) => [one.container.id, one]));
  return { containers: byId, unobserved: new Map<string, null>(), atMs: Date.parse(time) + 1 };
}

const wanted = 'containers: [{name: app, image: x, network_mode: "container:vpn"}, {name: vpn, image: x}]';
const desired = compileDesired(parseManifest(wanted), 'lyra');

test('an image is asked for once, however often its containers are looked at', async () => {
  const asked: string[] = [];
  const engine = {
    image: async (id: string) => {
      asked.push(id);
      return bare;
    },
  };
  const images = createImages(engine, () => assert.fail());
  const looked = lookedAt([container('a', 'app', 'default'), container('b', 'stranger', 'default')]);
  for (let i = 0; i < 3; i++) await stateToJudge(looked, desired, images);
  assert.deepEqual(asked, [`sha256:${'a'.repeat(64)}`], 'and that of a container nobody wants not at all');
});

test('an image that is gone leaves open how its container was made, is told, and asked for again', async () => {
  const unread: string[] = [];
  let there = false;
  const engine = { image: async () => (there ? bare : undefined) };
  const images = createImages(engine, (_, { code }) => unread.push(code));
  const looked = lookedAt([container('a', 'vpn', 'default')]);
  const kinds = async () => diff(desired, await stateToJudge(looked, desired, images)).map(({ id }) => id);
  assert.deepEqual(await kinds(), ['MISSING_CONTAINER/app']);
  assert.deepEqual(unread, ['engine.answer']);
  there = true;
  assert.deepEqual(await kinds(), ['CONFIG_DRIFT/vpn', 'MISSING_CONTAINER/app']);
});

test('an engine that answers for no image is not asked for all of them', async () => {
  let asked = 0;
  const engine = {
    image: async () => {
      asked += 1;
      throw new AppError('engine.unreachable', 'no answer', { retryable: true });
    },
  };
  const unread: string[] = [];
  const images = createImages(engine, (imageId) => unread.push(imageId));
  const all = Array.from({ length: 100 }, (_, i) => `image ${i}`);
  await images.keep(all);
  assert.equal(unread.length, all.length);
  assert.ok(asked <= 2 * limits.inspectConcurrency, `${asked} asked`);
});

test('the network of another container is known by its name, as people write it', async () => {
  const images = createImages({ image: async () => bare }, () => assert.fail());
  const vpn = container('b', 'vpn', 'default');
  const judged = async (networkMode: string) => {
    const state = await stateToJudge(lookedAt([container('a', 'app', networkMode), vpn]), desired, images);
    const found = diff(desired, state).find(({ id }) => id === 'CONFIG_DRIFT/app');
    return found?.differences.filter(({ field }) => field === 'network_mode');
  };
  assert.deepEqual(await judged(`container:${'b'.repeat(64)}`), []);
  const gone = `container:${'c'.repeat(64)}`;
  assert.deepEqual(await judged(gone), [{ field: 'network_mode', desired: 'container:vpn', observed: gone }]);
});

test('what a container is made of is judged although it does nothing, unless it has ended', async () => {
  const images = createImages({ image: async () => bare }, () => assert.fail());
  const judged = async (state: string) => {
    const looked = lookedAt([container('a', 'vpn', 'default', state)]);
    return diff(desired, await stateToJudge(looked, desired, images)).map(({ id }) => id);
  };
  const [config, others] = ['CONFIG_DRIFT/vpn', ['MISSING_CONTAINER/app', 'MISSING_CONTAINER/vpn']];
  assert.deepEqual(await judged('paused'), [config, ...others]);
  assert.deepEqual(await judged('restarting'), [config, 'MISSING_CONTAINER/app']);
  for (const state of ['exited', 'dead', 'removing']) assert.deepEqual(await judged(state), others);
});
