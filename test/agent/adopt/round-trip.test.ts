import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { image, sleeps } from '../../contract/engine.ts';
import { busybox } from '../../engine-api.ts';
import { engineAvailable, type OwnEngine, startEngine } from '../../engines.ts';
import { agentCommand } from '../program.ts';
import { tempFolder } from '../watching.ts';
import { adopting } from './adopting.ts';

const available = engineAvailable();
const skip = available.ok ? false : available.reason;
const temp = tempFolder();
const found = z.object({
  drifts: z.array(z.unknown()),
  errors: z.array(z.unknown()),
  containers: z.array(z.unknown()),
});
let engine: OwnEngine;

before(async () => {
  if (!available.ok) return;
  engine = await startEngine({ name: 'adopt', dir: temp });
  await engine.importImage(image, [
    'CMD ["/bin/busybox","sleep","8000"]',
    'ENV A=image',
    'LABEL l=image',
    'VOLUME /cache',
    'USER 0',
  ]);
  await engine.importImage('sgw-entry:1', [`ENTRYPOINT ["${busybox}"]`, 'CMD ["sleep","8000"]']);
});
after(async () => {
  if (available.ok) await engine.stop();
});

test('containers made by hand, adopted and applied, are all as they should be', { skip }, async () => {
  const { repository, adopt, am } = adopting(temp, engine.socketPath);
  repository.commit('# ours\nnodes: [{name: n1}]\ncontainers:\n  - {name: old, image: "sgw-test:0", node: n1}\n');
  const hostile = ['A=own: 1', 'B=0755', 'C=yes', 'D=1e3', 'E=a\nb\n', 'F=ä😀', 'G=$HOME $$ x', 'H=', 'I=\'"#'];
  await engine.run({
    ...{
      name: 'all',
      image,
      cmd: [...sleeps.slice(0, 2), '9999'],
      env: hostile,
      user: '007',
      labels: { 'a.b/c': 'x: y', n: '1_000' },
    },
    host: {
      ...{
        CapAdd: ['NET_ADMIN', 'CAP_SYS_TIME'],
        CapDrop: ['MKNOD'],
        RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 },
      },
      ...{ Binds: [`${temp}:/data:ro`, 'named:/named', '/anonymous'], Memory: 64 * 1024 ** 2, NanoCpus: 250_000_000 },
      ...{ PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '18080' }], '53/udp': [{ HostPort: '' }] } },
    },
  });
  await engine.run({ name: 'old', image, cmd: sleeps });
  await engine.run({ name: 'plain', image, cmd: [] });
  await engine.run({ name: 'host.net', image, cmd: sleeps, host: { NetworkMode: 'host' } });
  await engine.run({ name: 'joined', image, cmd: sleeps, host: { NetworkMode: 'container:all' } });
  await engine.run({ name: 'entry', image: 'sgw-entry:1', cmd: ['sleep', '7777'] });
  await engine.run({ name: 'emptied', image: 'sgw-entry:1', cmd: [], entrypoint: [busybox, 'sleep', '5555'] });

  const { code, stdout, stderr } = await adopt();
  assert.equal(code, 0, stderr);
  am(stdout);
  const again = await adopt();
  assert.deepEqual([again.code, again.stdout], [0, ''], again.stderr);

  const config = join(temp, 'agent.yaml');
  const settings = `dataDir: ${temp}\ndocker: {socketPath: ${engine.socketPath}}\nmanifest: {repository: ${repository.dir}}\n`;
  writeFileSync(config, settings);
  const scan = await agentCommand(['--config', config, '--json', 'scan', '--once', '--node', 'n1']);
  const { drifts, errors, containers } = found.parse(JSON.parse(scan.stdout));
  assert.deepEqual([scan.code, drifts, errors, containers.length], [0, [], [], 7]);
});
