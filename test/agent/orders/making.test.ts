import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import { dockerControl } from '../../../agent/docker/dockerode-control.ts';
import { containerMaker } from '../../../agent/orders/make.ts';
import { AppError } from '../../../common/errors.ts';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../../common/manifest/files.ts';
import { manifestFile } from '../../../common/manifest/manifest.ts';
import { type FakeEngine, startFakeEngine } from '../../fakes/engine.ts';
import { tempFolder } from '../watching.ts';
import { answerTo, nodeWorld } from './world.ts';

const temp = tempFolder();
const cmd = ['sleep', '600'];
const hash = 'f'.repeat(64);
let engine: FakeEngine;

before(async () => {
  engine = await startFakeEngine(join(temp, 'engine.sock'));
  await engine.importImage('app:1');
});
after(() => engine.stop());
afterEach(async () => {
  for (const id of await engine.ids()) await engine.remove(id);
});

async function made(service: object, labels: Readonly<Record<string, string>> = {}) {
  const text = JSON.stringify({ services: { web: service }, networks: { front: { name: 'front' } } });
  const files = new Map([
    [manifestFile, 'containers: []'],
    ['manifests/docker/shop.yaml', text],
  ]);
  const [wanted] = compileDesired(parseManifestFiles(files), 'n1').containers;
  assert.ok(wanted);
  const { socketPath } = engine;
  const [eyes, control] = [dockerEngine({ socketPath }), dockerControl({ socketPath })];
  const oldId = await engine.create({ name: 'old', image: 'app:1', cmd, labels });
  const make = containerMaker({ engine: eyes, imagesDir: join(temp, 'images') });
  const id = await make(control, { wanted, name: 'next', hash, oldId });
  return (await eyes.inspect(id)) ?? assert.fail('gone');
}

describe('a container that takes the place of another one', () => {
  test('is found by compose, and tells nothing of how compose would have made it', async () => {
    const kept = {
      'com.docker.compose.project': 'shop',
      'com.docker.compose.service': 'web',
      'com.docker.compose.container-number': '1',
      'com.docker.compose.project.working_dir': '/srv/shop',
    };
    const dropped = { 'com.docker.compose.config-hash': 'x', 'com.docker.compose.image': 'y', mine: 'z' };
    const service = { image: 'app:1', network_mode: 'none', labels: { tier: 'front' } };
    const { config } = await made(service, { ...kept, ...dropped });
    assert.deepEqual(config.labels, { ...kept, tier: 'front', 'sigilwatch.order': hash });
  });

  test('keeps the options of its mounts', async () => {
    const volumes = [
      '/a:/a:z,rslave',
      '/b:/b:ro,Z',
      { type: 'bind', source: '/c', target: '/c', bind: { propagation: 'rshared' } },
    ];
    await made({ image: 'app:1', network_mode: 'none', volumes });
    const { body } = engine.state.find('next');
    assert.deepEqual(body.HostConfig?.Binds, ['/a:/a:rw,rslave,z', '/b:/b:ro,Z', '/c:/c:rw,rshared']);
  });

  test('is refused before anything is touched where a network is missing, with its name and what to do', async () => {
    const service = { image: 'app:1', networks: ['front'] };
    await assert.rejects(made(service), (thrown: unknown) => {
      assert.ok(thrown instanceof AppError);
      assert.deepEqual([thrown.code, thrown.details.network], ['state.conflict', 'front']);
      assert.match(thrown.message, /docker network create front/);
      return true;
    });
    assert.equal((await engine.ids()).length, 1);
  });

  test('leaves the old one running where a network is missing', async () => {
    const { want, run, outcomes } = nodeWorld({ socketPath: engine.socketPath, imagesDir: join(temp, 'images') });
    want(`[{name: web, image: "app:1", labels: {a: b}, networks: [nowhere]}]`);
    const id = await engine.run({ name: 'web', image: 'app:1', cmd });
    const node = await run();
    await node.obey(answerTo(node, 'CONFIG_DRIFT'));
    assert.deepEqual(outcomes(), ['failed']);
    const { status, name } = engine.state.find(id);
    assert.deepEqual([status, name, (await engine.ids()).length], ['running', 'web', 1]);
    await node.desk.stop();
  });
});
