import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { agentCommand } from '../agent/program.ts';
import { collectorCli } from '../collector-cli.ts';
import { which } from '../packages/machine.ts';
import { makeTemporaryFolder } from '../system/leftovers.ts';
import { projectRoot } from '../system/program.ts';
import { composeFile } from './compose-shape.ts';
import {
  type Container,
  containersOf,
  type KubernetesObject,
  kubernetesObject,
  type PodSpec,
} from './kubernetes-shape.ts';

const folder = join(projectRoot, 'docs/deploy');
const kubernetes = join(folder, 'kubernetes');
const files = readdirSync(kubernetes).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml');
const objects = files.flatMap((name) =>
  parseAllDocuments(readFileSync(join(kubernetes, name), 'utf8'), { merge: true }).map((one) => {
    assert.deepEqual(one.errors, [], name);
    return kubernetesObject.parse(one.toJS());
  }),
);

function only<K extends KubernetesObject['kind']>(kind: K): Extract<KubernetesObject, { kind: K }>[] {
  return objects.filter((one): one is Extract<KubernetesObject, { kind: K }> => one.kind === kind);
}

const workloads = [...only('Deployment'), ...only('DaemonSet')];
const podsOf = ({ spec }: (typeof workloads)[number]): PodSpec => spec.template.spec;

function isSubset(some: Readonly<Record<string, string>>, all: Readonly<Record<string, string>>): boolean {
  return Object.entries(some).every(([key, value]) => all[key] === value);
}

describe('the Kubernetes manifests', () => {
  test('select what they are meant for: the pods of a workload that is there', () => {
    const labels = workloads.map(({ spec }) => spec.template.metadata.labels);
    const selectors = [
      ...workloads.map(({ spec }) => spec.selector.matchLabels),
      ...only('Service').map(({ spec }) => spec.selector),
      ...only('PodDisruptionBudget').map(({ spec }) => spec.selector.matchLabels),
      ...only('NetworkPolicy').map(({ spec }) => spec.podSelector.matchLabels),
    ];
    for (const selector of selectors) assert.equal(labels.filter((all) => isSubset(selector, all)).length, 1);
    assert.deepEqual(
      new Set(only('NetworkPolicy').map(({ spec }) => JSON.stringify(spec.podSelector))).size,
      labels.length,
    );
  });

  test('scale the collector from 2 to 20, and nothing else says how many there are', () => {
    const [scaler] = only('HorizontalPodAutoscaler');
    const [deployment] = only('Deployment');
    assert.deepEqual([scaler?.spec.minReplicas, scaler?.spec.maxReplicas], [2, 20]);
    assert.equal(scaler?.spec.scaleTargetRef.name, deployment?.metadata.name);
    assert.equal(deployment?.spec.replicas, undefined);
  });

  test('mount only volumes that are there, and use all of them', () => {
    for (const workload of workloads) {
      const { volumes } = podsOf(workload);
      const mounted = containersOf(podsOf(workload)).flatMap(({ volumeMounts }) =>
        volumeMounts.map(({ name }) => name),
      );
      assert.deepEqual([...new Set(mounted)].sort(), volumes.map(({ name }) => name).sort());
    }
  });

  test('have no secret in them: each is named, and the names are those that README.md makes', () => {
    const readme = readFileSync(join(folder, 'README.md'), 'utf8');
    const inVolumes = workloads
      .flatMap((one) => podsOf(one).volumes)
      .flatMap(({ secret, configMap }) => [
        ...(secret === undefined ? [] : [secret.secretName]),
        ...(configMap === undefined ? [] : [configMap.name]),
      ]);
    const inEnvironment = workloads
      .flatMap((one) => containersOf(podsOf(one)))
      .flatMap(({ env }) => env)
      .flatMap(({ valueFrom }) => (valueFrom === undefined ? [] : [valueFrom.secretKeyRef.name]));
    for (const name of new Set([...inVolumes, ...inEnvironment]))
      assert.match(readme, new RegExp(`create (secret \\w+|configmap) ${name}`));
  });

  test('confine every container, and nobody but the executor has the socket of the engine', () => {
    for (const { name, securityContext, volumeMounts } of workloads.flatMap((one) => containersOf(podsOf(one)))) {
      assert.equal(securityContext.allowPrivilegeEscalation, false, name);
      assert.equal(securityContext.readOnlyRootFilesystem, true, name);
      assert.deepEqual(securityContext.capabilities.drop, ['ALL'], name);
      assert.equal(
        volumeMounts.some(({ mountPath }) => mountPath === '/run/docker.sock'),
        name === 'executor',
        name,
      );
    }
  });

  test('are built by kubectl as they are', {
    skip: which('kubectl') === undefined && 'kubectl is not installed',
  }, () => {
    const built = execFileSync('kubectl', ['kustomize', kubernetes], { encoding: 'utf8' });
    const kinds = parseAllDocuments(built).map((one) => kubernetesObject.parse(one.toJS()).kind);
    assert.deepEqual(kinds.sort(), objects.map(({ kind }) => kind).sort());
  });
});

describe('compose.yaml', () => {
  const text = readFileSync(join(folder, 'compose.yaml'), 'utf8');
  const { services, volumes, networks, secrets } = composeFile.parse(parse(text));

  test('names only services, volumes, networks and secrets that are there, and uses all of them', () => {
    const all = Object.values(services);
    const used = (names: readonly string[]) => [...new Set(names)].sort();
    const mounted = all.flatMap((one) => one.volumes.map((volume) => volume.split(':')[0] ?? ''));
    assert.deepEqual(used(mounted.filter((name) => !name.startsWith('/'))), Object.keys(volumes).sort());
    assert.deepEqual(used(all.flatMap((one) => one.networks)), Object.keys(networks).sort());
    assert.deepEqual(used(all.flatMap((one) => one.secrets)), Object.keys(secrets).sort());
    for (const { depends_on: others } of all) {
      for (const name of Array.isArray(others) ? others : Object.keys(others)) assert.ok(name in services, name);
    }
  });

  test('gives the socket of the engine to the executor alone, and that one no network', () => {
    const holders = Object.entries(services).filter(([, one]) =>
      one.volumes.some((volume) => volume.includes('docker.sock')),
    );
    assert.deepEqual(
      holders.map(([name]) => name),
      ['executor'],
    );
    assert.equal(services.executor?.network_mode, 'none');
  });

  test('reads as docker compose reads it', {
    skip: which('docker-compose') === undefined && 'docker-compose is not installed',
  }, () => {
    const env = { ...process.env, SIGILWATCH_VERSION: '1', SIGILWATCH_NODE: 'lyra', DOCKER_GROUP: '999' };
    const here = makeTemporaryFolder('sgw-compose-').path;
    copyFileSync(join(folder, 'compose.yaml'), join(here, 'compose.yaml'));
    for (const file of Object.values(services).flatMap((one) => one.env_file)) writeFileSync(join(here, file), '');
    execFileSync('docker-compose', ['-f', join(here, 'compose.yaml'), 'config', '--quiet'], { env });
  });
});

describe('every setting in the environment of a container', () => {
  const { services } = composeFile.parse(parse(readFileSync(join(folder, 'compose.yaml'), 'utf8')));
  const inKubernetes = (run: string) =>
    workloads
      .flatMap((one) => containersOf(podsOf(one)))
      .filter(({ command }: Container) => command[0] === run)
      .map(({ env }) => Object.fromEntries(env.map(({ name, value }) => [name, value ?? 'postgres://db/x'])));
  const inCompose = (run: string) =>
    Object.values(services)
      .filter(({ command }) => command[0] === run && command[1] === 'run')
      .map((one) => one.environment);

  test('is one that the agent has', async () => {
    const found = [...inKubernetes('sigilwatch-agent'), ...inCompose('sigilwatch-agent')];
    assert.equal(found.length, 2);
    for (const env of found) {
      const { code, stdout, stderr } = await agentCommand(['--print-config'], env);
      assert.equal(code, 0, stderr);
      for (const name of Object.keys(env)) assert.match(stdout, new RegExp(`# env ${name}$`, 'm'));
    }
  });

  test('is one that the collector has', async () => {
    const found = [...inKubernetes('sigilwatch-collector'), ...inCompose('sigilwatch-collector')];
    assert.equal(found.length, 2);
    for (const env of found) {
      const { code, stdout, stderr } = await collectorCli(['--print-config'], env);
      assert.equal(code, 0, stderr);
      for (const name of Object.keys(env)) assert.match(stdout, new RegExp(`# env ${name}$`, 'm'));
    }
  });
});
