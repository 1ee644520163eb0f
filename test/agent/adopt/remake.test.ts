import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import { dockerControl } from '../../../agent/docker/dockerode-control.ts';
import { containerMaker } from '../../../agent/orders/make.ts';
import { compileDesired } from '../../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../../common/manifest/files.ts';
import { manifestFile } from '../../../common/manifest/manifest.ts';
import { image, sleeps } from '../../contract/engine.ts';
import { busybox } from '../../engine-api.ts';
import { engineAvailable, type OwnEngine, startEngine } from '../../engines.ts';
import { tempFolder } from '../watching.ts';
import { adopting } from './adopting.ts';

const available = engineAvailable();
const skip = available.ok ? false : available.reason;
const temp = tempFolder();
const shared = tempFolder();
const networks = { front: '10.213.7.0/24', back: '10.213.8.0/24' };
let engine: OwnEngine;

before(async () => {
  if (!available.ok) return;
  engine = await startEngine({ name: 'remake', dir: temp });
  await engine.importImage(image, [
    ...['CMD ["/bin/busybox","sleep","8000"]', 'ENV A=image', 'LABEL l=image', 'VOLUME /cache', 'USER 0'],
  ]);
  await engine.importImage('sgw-healthy:1', [
    ...[`ENTRYPOINT ["${busybox}"]`, 'CMD ["sleep","8000"]'],
    `HEALTHCHECK --interval=7s --retries=5 CMD ["${busybox}","true"]`,
  ]);
  for (const [name, subnet] of Object.entries(networks)) await engine.createNetwork(name, subnet);
});
after(async () => {
  if (!available.ok) return;
  try {
    for (const id of await engine.ids()) await engine.remove(id);
    for (const name of Object.keys(networks)) await engine.removeNetwork(name);
  } finally {
    await engine.stop();
  }
});

/** What has to be the same of two containers, without what the engine picks by itself. */
const compared = z
  .object({
    Id: z.string(),
    Image: z.string(),
    Config: z.looseObject({ Labels: z.record(z.string(), z.string()), Env: z.array(z.string()).nullish() }),
    HostConfig: z.looseObject({ Binds: z.array(z.string()).nullish() }),
    Mounts: z.array(z.looseObject({ Type: z.string(), Name: z.string().optional(), Destination: z.string() })),
    NetworkSettings: z.object({
      Networks: z.record(
        z.string(),
        z.object({ Aliases: z.array(z.string()).nullish(), IPAMConfig: z.unknown(), Links: z.unknown() }),
      ),
    }),
  })
  .transform(({ Id, Image, Config, HostConfig, Mounts, NetworkSettings }) => {
    const { 'sigilwatch.order': _, ...labels } = Config.Labels;
    const { Hostname, Image: reference, Labels, Env, ...config } = Config;
    const { Binds, Mounts: long, ContainerIDFile, ...host } = HostConfig;
    const isAnonymous = (name = '') => /^[0-9a-f]{64}$/.test(name);
    return {
      ...{ Image, config, labels, host },
      env: [...(Env ?? [])].sort(),
      mounts: Mounts.map(({ Type, Name, Source, Destination, Mode, RW, Propagation }) => {
        const source = isAnonymous(Name) ? 'anonymous' : (Name ?? Source);
        return { Type, source, Destination, options: words(Mode), RW, Propagation };
      }).sort((a, b) => (a.Destination < b.Destination ? -1 : 1)),
      networks: Object.fromEntries(
        Object.entries(NetworkSettings.Networks).map(([name, { Aliases, IPAMConfig, Links }]) => {
          const aliases = (Aliases ?? []).filter((alias) => !Id.startsWith(alias)).sort();
          return [name, { aliases, fixed: addresses(IPAMConfig), Links }];
        }),
      ),
    };
  });

/** Options of a mount but for the one that is the rule. */
function words(mode: unknown): string[] {
  return String(mode)
    .split(',')
    .filter((word) => word !== 'rw' && word !== '')
    .sort();
}

/** No fixed address, said as nothing or as an empty map. */
function addresses(config: unknown): unknown {
  return typeof config === 'object' && config !== null && Object.keys(config).length > 0 ? config : null;
}

test('a container that was adopted is made again from the manifest as it was', { skip }, async () => {
  const { repository, adopt, am } = adopting(temp, engine.socketPath);
  repository.commit('nodes: [{name: n1}]\ncontainers: []\n');
  const { socketPath } = engine;
  const [eyes, control] = [dockerEngine({ socketPath }), dockerControl({ socketPath })];
  const every = { Test: ['CMD', busybox, 'true'], Interval: 1_500_000_000, Timeout: 2_000_000_000, Retries: 4 };
  const bodies: Readonly<Record<string, object>> = {
    full: {
      ...{
        Image: image,
        Cmd: [...sleeps.slice(0, 2), '9999'],
        Entrypoint: null,
        User: '1000:1000',
        Env: ['B=own: $1'],
      },
      ...{ Labels: { team: 'a' }, ExposedPorts: { '80/tcp': {}, '53/udp': {} }, Healthcheck: every },
      HostConfig: {
        ...{
          NetworkMode: 'front',
          Memory: 64 * 1024 ** 2,
          NanoCpus: 250_000_000,
          Tmpfs: { '/run': 'size=1m', '/t': '' },
        },
        ...{ CapAdd: ['NET_ADMIN'], CapDrop: ['MKNOD'], RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 } },
        ...{ Binds: [`${shared}:/shared:ro,private`, `${shared}:/marked:z`, 'named:/named:nocopy', '/anonymous'] },
        PortBindings: {
          '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '18081' }],
          '53/udp': [{ HostIp: '', HostPort: '' }],
        },
      },
      NetworkingConfig: {
        EndpointsConfig: { front: { Aliases: ['web', 'shop'], IPAMConfig: { IPv4Address: '10.213.7.9' } } },
      },
    },
    plain: { Image: image, HostConfig: { NetworkMode: 'back' } },
    healthy: { Image: 'sgw-healthy:1', HostConfig: { NetworkMode: 'none' } },
    quicker: { Image: 'sgw-healthy:1', HostConfig: { NetworkMode: 'none' }, Healthcheck: { Interval: 100_000_000 } },
    unchecked: { Image: 'sgw-healthy:1', HostConfig: { NetworkMode: 'host' }, Healthcheck: { Test: ['NONE'] } },
    hidden: { Image: image, WorkingDir: '/tmp', HostConfig: { NetworkMode: 'none', ShmSize: 1024 ** 2, Init: true } },
  };
  const before = new Map<string, unknown>();
  for (const [name, body] of Object.entries(bodies)) {
    const id = await control.create(name, z.custom<Parameters<typeof control.create>[1]>().parse(body));
    if (name === 'full') assert.equal(await control.connect('back', id, { Aliases: ['api'] }), 'done');
    await control.start(id);
    before.set(name, compared.parse(await control.rawInspect(id)));
  }

  const { code, stdout, stderr } = await adopt();
  assert.equal(code, 0, stderr);
  am(stdout);
  const again = await adopt();
  assert.deepEqual([again.code, again.stdout], [0, ''], again.stderr);
  assert.match(stderr, /hidden: shm_size: no manifest has a key for it/);
  assert.match(
    stdout,
    /\+ {2}# not said here, although it runs so: init, shm_size, working_dir\n\+ {2}- name: hidden\n/,
  );
  assert.doesNotMatch(stderr, /(full|plain|healthy|quicker|unchecked): /);

  const text = repository.git('show', `HEAD:${manifestFile}`);
  const { containers } = compileDesired(parseManifestFiles(new Map([[manifestFile, text]])), 'n1');
  assert.equal(containers.length, Object.keys(bodies).length);
  const make = containerMaker({ engine: eyes, imagesDir: join(temp, 'images') });
  for (const id of (await eyes.list()).keys()) await control.remove(id);
  for (const wanted of containers) {
    const id = await make(control, { wanted, name: wanted.name, hash: 'f'.repeat(64), oldId: undefined });
    assert.equal(await control.start(id), 'done');
    const made = compared.parse(await control.rawInspect(id));
    if (wanted.name !== 'hidden') assert.deepEqual(made, before.get(wanted.name), wanted.name);
  }
});
