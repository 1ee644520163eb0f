import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import type { Check } from '../../common/checkup.ts';
import { asServices, type Finished, makeTemporaryFolder } from '../system.ts';
import { until } from '../until.ts';
import { type Fleet, type FleetNode, startFleet, tearDown } from './fleet.ts';

/** Each thing is really broken, found by `doctor`, and put right by what it says. */
const folder = makeTemporaryFolder('sgw doctor ');
let fleet: Fleet;
let node: FleetNode;

before(async () => {
  fleet = await startFleet({ dir: folder.path, nodes: ['lyra'], wanted: ['web'] });
  node = fleet.node('lyra');
  await until('connected', async () => (await node.agent.status()).link.state === 'connected');
});
after(tearDown);

const shownChecks = z.array(
  z.object({
    group: z.string(),
    name: z.string(),
    state: z.enum(['ok', 'wrong', 'not_checked']),
    detail: z.string(),
    fix: z.string().nullable(),
  }),
);

interface Diagnosis {
  readonly code: number;
  /** `name: fix` of what is wrong. */
  readonly wrong: readonly string[];
  find(name: string): Check;
}

async function diagnosed(asked: Promise<Finished>): Promise<Diagnosis> {
  const { exitCode, stdout, stderr } = await asked;
  assert.equal(stderr, '');
  const checks = shownChecks.parse(JSON.parse(stdout));
  return {
    code: exitCode,
    wrong: checks.filter(({ state }) => state === 'wrong').map(({ name, fix }) => `${name}: ${fix}`),
    find: (name) => {
      const found = checks.find((check) => check.name === name);
      assert.ok(found, `no check ${name}`);
      return found;
    },
  };
}

const ofAgent = () => diagnosed(node.agent.cli('--json', 'doctor'));
const ofCollector = () => diagnosed(fleet.collector.cli('--json', 'doctor'));

async function requireSound(doctor: () => Promise<Diagnosis>): Promise<void> {
  const { code, wrong } = await doctor();
  assert.deepEqual([code, wrong], [0, []]);
}

/** Finds what was broken, does what it is told, and finds nothing any more. */
async function fixedAsTold(doctor: () => Promise<Diagnosis>, name: string): Promise<void> {
  const { code, find } = await doctor();
  const { state, fix } = find(name);
  assert.deepEqual([code, state], [1, 'wrong']);
  execFileSync('/bin/sh', ['-c', fix ?? 'false']);
  await requireSound(doctor);
}

describe('sigilwatch-agent doctor', () => {
  test('finds nothing wrong with a node that is in order, and says so to people', async () => {
    await requireSound(ofAgent);
    const { stdout, exitCode } = await node.agent.cli('doctor');
    assert.equal(exitCode, 0);
    assert.match(stdout, /^machine\n {2}✓ data directory {2}/);
    assert.match(stdout, /\n {2}✓ version .*agent (\S+), collector \1\n/);
    assert.match(stdout, /\n\d+ checks in order, nothing wrong, \d+ not checked\n$/);
  });

  test('a key that others may read is closed as it says', async () => {
    chmodSync(join(node.dir, 'identity.pem'), 0o644);
    await fixedAsTold(ofAgent, 'key permissions');
  });

  test('a data directory that is open to others is closed as it says', async () => {
    chmodSync(node.dir, 0o755);
    await fixedAsTold(ofAgent, 'data directory');
  });

  test('an engine that is down is one thing wrong, and the executor is not looked for', async () => {
    await node.engine?.down();
    const { wrong, find } = await ofAgent();
    await node.engine?.up();
    assert.deepEqual(wrong, ['engine socket: systemctl start docker, or correct docker.socketPath in the settings']);
    // Where there is one, it answers by itself.
    assert.equal(find('executor').state, asServices ? 'ok' : 'not_checked');
  });

  test('a collector that is away leaves clock, certificate and version unchecked, not wrong', async () => {
    node.redirect(1);
    const { code, find } = await ofAgent();
    node.redirect(undefined);
    assert.deepEqual([code, find('collector').state], [1, 'wrong']);
    for (const name of ['clock', 'version', 'certificate']) assert.equal(find(name).state, 'not_checked', name);
    await until('connected', async () => (await node.agent.status()).link.state === 'connected');
    await requireSound(ofAgent);
  });

  test('a sigil store that is gone is named, with the setting that names it', async () => {
    renameSync(node.storeDir, `${node.storeDir}.away`);
    const { wrong } = await ofAgent();
    renameSync(`${node.storeDir}.away`, node.storeDir);
    assert.deepEqual(wrong, ['sigil store main: correct sigils.stores.main in the settings']);
  });

  test('an agent that is stopped is missed', async () => {
    await node.agent.stop();
    const { wrong, find } = await ofAgent();
    await node.agent.restart();
    assert.deepEqual(wrong, ['agent: systemctl start sigilwatch-agent, or by hand: sigilwatch-agent run']);
    assert.deepEqual(
      [find('link').state, find('outbox').state, find('witness').state],
      [...['not_checked', 'not_checked', 'ok']],
    );
  });
});

describe('sigilwatch-collector doctor', () => {
  test('finds nothing wrong with a collector that is in order', async () => {
    await requireSound(ofCollector);
    const { find } = await ofCollector();
    assert.match(find('checkpoint file').detail, /^the database continues it, from \d+ entries$/);
    assert.match(find('collectors').detail, /^1 collector connected/);
    assert.match(find('agents').detail, /^1 node: 1 with /);
  });

  test('a key that others may read is closed as it says', async () => {
    chmodSync(join(fleet.collector.dir, 'collector.key'), 0o640);
    await fixedAsTold(ofCollector, 'key');
  });

  test('a data directory that others may write to is closed as it says', async () => {
    chmodSync(fleet.collector.dir, 0o777);
    await fixedAsTold(ofCollector, 'data directory');
  });

  test('a collector that runs with other settings than these is found', async () => {
    const config = join(folder.path, 'other.yaml');
    writeFileSync(config, 'integrity: { schedule: "off" }\n');
    const { wrong } = await diagnosed(fleet.collector.cli('--config', config, '--json', 'doctor'));
    assert.match(wrong.join('\n'), /^collectors: give all collectors the same settings[^\n]*$/);
  });

  test('a manifest repository that cannot be read is named', async () => {
    const empty = join(folder.path, 'no-repository');
    mkdirSync(empty);
    const config = join(folder.path, 'manifest.yaml');
    writeFileSync(config, `manifest: { repository: ${empty} }\n`);
    const { wrong } = await diagnosed(fleet.collector.cli('--config', config, '--json', 'doctor'));
    assert.deepEqual(wrong, ['manifest: correct manifest.repository in the settings, or let the collector read it']);
  });

  test('one that is stopped is looked into all the same, and only that it is stopped is wrong', async () => {
    await fleet.collector.stop();
    const { wrong, find } = await ofCollector();
    assert.deepEqual(wrong, ['service: systemctl start sigilwatch-collector, or by hand: sigilwatch-collector run']);
    assert.equal(find('database').state, 'ok');
    assert.equal(find('collectors').state, 'not_checked');
  });

  test('a checkpoint file that the key did not sign is not believed, and one that is missing is missed', async () => {
    const path = join(fleet.collector.dir, 'checkpoint');
    const [line, signature] = readFileSync(path, 'utf8')
      .split('\n')
      .filter((text) => /^(?:\d+$|— )/.test(text));
    assert.ok(line !== undefined && signature !== undefined);
    renameSync(path, `${path}.kept`);
    writeFileSync(path, `sigilwatch.local/ledger\n${line}\n${Buffer.alloc(32).toString('base64')}\n\n${signature}\n`);
    const forged = await ofCollector();
    rmSync(path);
    const missing = await ofCollector();
    renameSync(`${path}.kept`, path);
    for (const { find } of [forged, missing]) assert.equal(find('checkpoint file').state, 'wrong');
    assert.match(missing.find('checkpoint file').detail, /is missing/);
    assert.equal((await ofCollector()).find('checkpoint file').state, 'ok');
  });
});
