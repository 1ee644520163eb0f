import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { EngineControl } from '../../../agent/docker/control.ts';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import { dockerControl } from '../../../agent/docker/dockerode-control.ts';
import type { Engine } from '../../../agent/docker/engine.ts';
import { createImages, stateToJudge } from '../../../agent/docker/images.ts';
import { containerSpec } from '../../../common/container-spec.ts';
import type { DesiredState } from '../../../common/desired.ts';
import { type Drift, diff } from '../../../common/drift.ts';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../../common/manifest/files.ts';
import { manifestFile } from '../../../common/manifest/manifest.ts';
import { type SaidContainer, saidContainer } from '../../arbitrary/containers.ts';
import type { TestEngine } from '../../contract/engine.ts';
import { busybox } from '../../engine-api.ts';
import { engineAvailable, startEngine } from '../../engines.ts';
import { startFakeEngine } from '../../fakes/engine.ts';
import { until } from '../../until.ts';

const node = 'lyra';
const dir = mkdtempSync(path.join(tmpdir(), 'sgw-'));
after(() => rmSync(dir, { recursive: true, force: true }));

/** What they bring along is nobody's drift. */
const images: Readonly<Record<string, readonly string[]>> = {
  'sgw-plain:1': [`CMD ["${busybox}","sleep","1000"]`],
  'sgw-laden:1': [
    ...[`CMD ["sleep","7"]`, `ENTRYPOINT ["${busybox}"]`, 'ENV FROM_IMAGE=1', 'ENV BOTH=image'],
    ...['LABEL made=by-us', 'VOLUME /cache', 'USER 7'],
  ],
};

interface Scene {
  readonly subject: TestEngine;
  readonly engine: Engine;
  readonly control: EngineControl;
}

function madeContainersDoNotDrift(name: string, start: () => Promise<TestEngine>, runs: number, skip?: string): void {
  describe(`what is made of a desired container, ${name}`, { skip: skip ?? false }, () => {
    let scene: Scene;
    before(async () => {
      const subject = await start();
      for (const [image, changes] of Object.entries(images)) await subject.importImage(image, changes);
      const { socketPath } = subject;
      scene = { subject, engine: dockerEngine({ socketPath }), control: dockerControl({ socketPath }) };
    });
    after(() => scene?.subject.stop());

    test('shows no drift, whatever is wanted', async () => {
      await fc.assert(
        fc.asyncProperty(
          saidContainer,
          fc.constantFrom(...Object.keys(images)),
          fc.constantFrom('manifest', 'pinned', 'compose'),
          fc.constantFrom(true, false, undefined),
          async (container, image, where, checked) => {
            const pin = where === 'pinned' ? await scene.control.findImage(image) : undefined;
            const desired = desiredOf(where, { container, image, pin, checked });
            try {
              await make(scene, desired);
              assert.deepEqual(await driftsOf(scene, desired), []);
            } finally {
              for (const id of (await scene.engine.list()).keys()) await scene.control.remove(id);
            }
          },
        ),
        { numRuns: runs, includeErrorInReport: true },
      );
    });

    test('runs and becomes healthy, and shows no drift', async () => {
      const said = {
        ...{ command: [busybox, 'sleep', '1000'], environment: { A: '1' }, labels: ['a=b'], user: '1000:1000' },
        ...{ cap_drop: ['ALL'], cap_add: ['CHOWN'], mem_limit: '64m', cpus: 0.5, tmpfs: ['/scratch:size=1m'] },
        volumes: ['data:/data', '/etc:/host-etc:ro', '/anonymous'],
        healthcheck: { test: ['CMD', busybox, 'touch', '/scratch/x'], interval: '100ms' },
      };
      const container = { said, restart: 'unless-stopped', attached: { network_mode: 'none' } };
      const desired = desiredOf('compose', { container, image: 'sgw-plain:1', pin: undefined, checked: true });
      const id = await make(scene, desired);
      assert.equal(await scene.control.start(id), 'done');
      await until('it is healthy', async () => (await scene.engine.inspect(id))?.container.health === 'healthy');
      assert.deepEqual(await driftsOf(scene, desired), []);
      await scene.control.remove(id);
    });
  });
}

interface Wanted {
  readonly container: SaidContainer;
  readonly image: string;
  readonly pin: string | undefined;
  readonly checked: boolean | undefined;
}

/** Written as JSON, which YAML includes; compose takes two dollars for one. */
function desiredOf(where: string, { container, image, pin, checked }: Wanted): DesiredState {
  const { said, restart, attached } = container;
  const checks = Object.fromEntries(['check_env_vars', 'check_ports', 'check_volumes'].map((key) => [key, checked]));
  const rules = { drift_rules: { config_drift: checks } };
  const one = { image, ...said, ...attached };
  if (where !== 'compose') {
    const item = { name: 'made', image_sha: pin, restart_policy: restart, ...one };
    return compiled({ ...rules, containers: [item] });
  }
  const service = { container_name: 'made', restart, ...one };
  const top = { volumes: { data: null, more: { external: true } }, networks: { front: null, back: null } };
  return compiled(rules, JSON.stringify({ services: { web: service }, ...top }).replaceAll('$', '$$$$'));
}

function compiled(manifest: object, compose?: string): DesiredState {
  const files = new Map([[manifestFile, JSON.stringify(manifest)]]);
  if (compose !== undefined) files.set('manifests/docker/c.yaml', compose);
  return compileDesired(parseManifestFiles(files), node);
}

async function make({ control }: Scene, { containers: [wanted] }: DesiredState): Promise<string> {
  assert.ok(wanted);
  const { body, connectTo } = containerSpec(wanted, { labels: { 'sigilwatch.test': '1' } });
  const id = await control.create(wanted.name, body);
  for (const { network, endpoint } of connectTo) assert.equal(await control.connect(network, id, endpoint), 'done');
  return id;
}

async function driftsOf({ engine }: Scene, desired: DesiredState): Promise<readonly Drift[]> {
  const ids = [...(await engine.list()).keys()];
  const inspected = await Promise.all(ids.map(async (id) => (await engine.inspect(id)) ?? assert.fail('gone')));
  const looked = {
    containers: new Map(inspected.map((one) => [one.container.id, one])),
    unobserved: new Map<string, null>(),
    atMs: Date.now(),
  };
  const known = createImages(engine, (imageId) => assert.fail(imageId));
  return diff(desired, await stateToJudge(looked, desired, known));
}

madeContainersDoNotDrift('simulated', () => startFakeEngine(path.join(dir, 'fake.sock')), 200);

const available = engineAvailable();
const reason = available.ok ? undefined : available.reason;
madeContainersDoNotDrift('dockerd', () => startEngine({ name: 'real', dir }), 60, reason);
