import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { version } from '../../common/version.ts';
import { tarballOf } from '../../scripts/packaging/formats.ts';
import { programPackages } from '../../scripts/packaging/programs.ts';
import { buildPostgres, type Docker, dockerAt, importBase } from '../deployment/stand-in.ts';
import { type OwnEngine, startEngine } from '../engines.ts';
import { selfSigned } from '../fakes/certificate.ts';
import { which, withoutMachines } from '../packages/machine.ts';
import { openWorkshop, packagedSeconds, quickly, unpack } from '../packages/packaged.ts';
import { projectRoot } from '../system/program.ts';
import { makeTemporaryFolder } from '../system.ts';
import { until } from '../until.ts';
import { withoutEngine } from './enforce-world.ts';

/**
 * docs/deploy/Dockerfile and compose.yaml, begun as their README says, on an engine of its own. No registry is asked: the base of the images is
 * made of files of this machine, and so is the database's. No port of this machine is taken.
 */
const needs = {
  skip:
    withoutEngine ||
    withoutMachines() ||
    (['docker', 'docker-compose'].some((name) => which(name) === undefined) && 'docker or docker-compose is missing') ||
    (process.arch !== 'x64' && 'the database of the test is for x64'),
};
const folder = makeTemporaryFolder('sgw-dc-');
const here = join(folder.path, 'compose');
let engine: OwnEngine;
let docker: Docker;

before(async () => {
  if (needs.skip !== false) return;
  engine = await startEngine({ name: 'engine', dir: folder.path, network: 'own' });
  docker = dockerAt(engine.socketPath);
  await importBase(docker, { folder: folder.path, tag: 'base:1' });
  const shop = await openWorkshop(folder.path);
  for (const program of programPackages) {
    const { name, bytes } = await tarballOf(await shop.build(program), packagedSeconds, quickly);
    await writeFile(join(folder.path, name), bytes);
    const unpacked = unpack(folder.path, program.name, version);
    const about = [
      'BASE=base:1',
      `PROGRAM=${program.name}`,
      `ID=${program.name === 'sigilwatch-collector' ? 7600 : 7601}`,
    ];
    const flags = about.flatMap((one) => ['--build-arg', one]);
    const file = join(projectRoot, 'docs/deploy/Dockerfile');
    docker('build', '--network', 'none', '-f', file, ...flags, '-t', `${program.name}:${version}`, unpacked);
  }
  buildPostgres(docker, { folder: folder.path, from: `sigilwatch-collector:${version}`, tag: 'postgres:18' });
  putFiles();
});
after(async () => {
  if (needs.skip !== false) return;
  try {
    compose(['down', '--volumes']);
  } finally {
    await engine.stop();
    await folder.remove();
  }
});

/** What belongs beside compose.yaml; of that, only what would take something of this machine is another. */
function putFiles(): void {
  mkdirSync(join(here, 'secrets'), { recursive: true });
  const theirs = readFileSync(join(projectRoot, 'docs/deploy/compose.yaml'), 'utf8');
  const [ports, socket] = ['    ports: ["7600:7600"]\n', '- /run/docker.sock:'];
  assert.ok(theirs.includes(ports) && theirs.includes(socket));
  writeFileSync(join(here, 'compose.yaml'), theirs.replace(ports, '').replace(socket, `- ${engine.socketPath}:`));
  const { key, cert } = selfSigned('collector');
  const files = { 'collector.pem': cert, 'authority.pem': cert, database_owner_password: 'owner-word' };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(here, 'secrets', name), text);
  const keyFile = join(here, 'secrets/collector.key.pem');
  writeFileSync(keyFile, key, { mode: 0o400 });
  chownSync(keyFile, 7600, 7600);
  const urls = ['DATABASE_URL=postgres://sigilwatch:word', 'DATABASE_OWNER_URL=postgres://sigilwatch_owner:owner-word'];
  const lines = urls.map((url) => `${url}@database/sigilwatch\n`);
  writeFileSync(join(here, 'collector.env'), lines.join(''), { mode: 0o600 });
}

/** @returns what it prints. @throws with what it said. */
function compose(args: readonly string[], input = ''): string {
  const group = execFileSync('stat', ['-c', '%g', engine.socketPath], { encoding: 'utf8' }).trim();
  const { status, stdout, stderr } = spawnSync('docker-compose', ['-p', 'sigilwatch', ...args], {
    cwd: here,
    input,
    encoding: 'utf8',
    timeout: 150_000,
    env: {
      ...{ PATH: process.env.PATH, DOCKER_HOST: `unix://${engine.socketPath}` },
      ...{ SIGILWATCH_VERSION: version, SIGILWATCH_NODE: 'lyra', DOCKER_GROUP: group },
    },
  });
  if (status === 0) return stdout;
  throw new Error(`docker-compose ${args.join(' ')}: ${stdout}${stderr}`);
}

const asCollector = (...args: readonly string[]) =>
  compose(['exec', '-T', 'collector', 'sigilwatch-collector', '--json', ...args]);

test('an image says its version, and runs as its own user', needs, () => {
  for (const [program, id] of [
    ['sigilwatch-collector', 7600],
    ['sigilwatch-agent', 7601],
  ] as const) {
    const image = `${program}:${version}`;
    assert.equal(docker('run', '--rm', '--network', 'none', image, program, '--version').trim(), version);
    assert.match(docker('run', '--rm', '--network', 'none', image, 'id'), new RegExp(`^uid=${id}\\(${program}\\)`));
  }
});

test(
  'a collector comes up beside its database, and an agent enrols and reports what it sees through the executor',
  needs,
  async () => {
    compose(['up', '-d', 'database', 'collector']);
    const token = z.object({ token: z.string() });
    let made = '';
    await until(
      'the collector answers',
      () => {
        try {
          made = token.parse(JSON.parse(asCollector('nodes', 'token', 'lyra'))).token;
          return true;
        } catch {
          return false;
        }
      },
      60_000,
    );
    assert.match(compose(['run', '--rm', '-T', 'enrolment'], `${made}\n`), /^Enrolled as lyra with /);
    compose(['up', '-d']);
    const rows = z.object({ items: z.array(z.object({ node: z.string(), name: z.string() })) });
    const reported = () => {
      const { items } = rows.parse(JSON.parse(asCollector('containers', 'list')));
      const seen = items.filter(({ node }) => node === 'lyra').map(({ name }) => name);
      return ['agent', 'executor', 'collector', 'database'].every((one) => seen.some((name) => name.includes(one)));
    };
    await until('it has reported all of them', reported, 90_000);
  },
);
