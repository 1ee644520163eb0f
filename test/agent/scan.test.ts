import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Level } from 'level';
import { z } from 'zod';
import { type FakeEngine, startFakeEngine } from '../fakes/engine.ts';
import { makeSigilRecord } from '../fakes/sigil-writer.ts';
import { agentCommand } from './program.ts';
import { manifestRepository, tempFolder } from './watching.ts';

const temp = tempFolder();
const store = join(temp, 'store');
const repository = manifestRepository(mkdtempSync(join(temp, 'repo-')));
let engine: FakeEngine;
let config: string;

const outcome = z.object({
  containers: z.array(z.object({ name: z.string() })),
  commit: z.string().nullable(),
  drifts: z.array(z.object({ kind: z.string(), container: z.string() })),
  stores: z.array(z.object({ store: z.string(), findings: z.array(z.object({ check: z.string() })) })),
  errors: z.array(z.object({ part: z.string(), code: z.string() })),
});
const checks = z.array(
  z.object({
    name: z.string(),
    state: z.enum(['ok', 'wrong', 'not_checked']),
    detail: z.string(),
    fix: z.string().nullable(),
  }),
);

before(async () => {
  engine = await startFakeEngine(join(temp, 'engine.sock'));
  await engine.importImage('app:1');
  await engine.run({ name: 'api', image: 'app:1', cmd: ['sleep', 'x'] });
  repository.commit('containers: [{name: api, image: "app:1"}]');
  const db = new Level<string, unknown>(store, { valueEncoding: 'json' });
  const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'A', secret: 'hush' });
  await db.put(key, value);
  await db.close();
  config = join(temp, 'agent.yaml');
  writeFileSync(
    config,
    `dataDir: ${temp}\ndocker: {socketPath: ${engine.socketPath}}\nmanifest: {repository: ${repository.dir}}\n` +
      `sigils: {stores: {main: ${store}}, secrets: [hush]}\noutbox: {maxBytes: 1048576}\n`,
  );
});
after(() => engine.stop());

const scan = async () => {
  const { code, stdout, stderr } = await agentCommand(['--config', config, '--json', 'scan', '--once', '--node', 'n1']);
  assert.equal(stderr, '');
  return { code, found: outcome.parse(JSON.parse(stdout)) };
};
const doctor = async () => {
  const { code, stdout } = await agentCommand(['--config', config, '--json', 'doctor']);
  const found = checks.parse(JSON.parse(stdout));
  return { code, found, bad: found.filter(({ state }) => state === 'wrong').map(({ name }) => name) };
};

describe('scan --once --json', () => {
  test('exits with 0 when everything is as it should be', async () => {
    const { code, found } = await scan();
    assert.deepEqual([code, found.drifts, found.errors], [0, [], []]);
    assert.deepEqual([found.containers.length, found.stores.length, found.commit?.length], [1, 1, 40]);
  });

  test('exits with 1 for a drift and for a finding', async () => {
    const id = await engine.run({ name: 'rogue', image: 'app:1', cmd: ['sleep', 'x'] });
    const { code, found } = await scan();
    await engine.remove(id);
    assert.deepEqual([code, found.drifts.map(({ container }) => container)], [1, ['rogue']]);
    const db = new Level<string, unknown>(store, { valueEncoding: 'json' });
    const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'BAD', secret: 'hush' });
    await db.put(key, { ...value, checksum: '0'.repeat(64) });
    await db.close();
    const second = await scan();
    await db.open();
    await db.del(key);
    await db.close();
    assert.deepEqual([second.code, second.found.stores[0]?.findings.map(({ check }) => check)], [1, ['checksum']]);
  });

  test('exits with 2 when something could not be looked at, and shows the rest', async () => {
    await engine.down();
    const { code, found } = await scan();
    await engine.up();
    assert.equal(code, 2);
    assert.deepEqual(
      found.errors.map(({ part, code: why }) => [part, why]),
      [['engine', 'engine.unreachable']],
    );
    assert.deepEqual([found.stores.length, found.drifts], [1, []]);
  });
});

describe('doctor --json', () => {
  test('a node that only lacks its enrolment has nothing else wrong, and is told what waits for it', async () => {
    const { code, found, bad } = await doctor();
    assert.deepEqual([code, bad], [1, ['enrolment']]);
    const waiting = found.filter(({ state, fix }) => state === 'not_checked' && fix !== null);
    assert.deepEqual(
      waiting.map(({ name, fix }) => `${name}: ${fix}`),
      [
        'key permissions: see enrolment',
        'clock: see enrolment',
        'collector: see enrolment',
        'certificate: see enrolment',
        'version: see enrolment',
        'agent: see enrolment',
        'link: see agent',
        'outbox: see agent',
      ],
    );
    assert.ok(found.every(({ state, fix }) => (state === 'ok' ? fix === null : state !== 'wrong' || fix !== null)));
  });

  test('names what is wrong with engine and manifest', async () => {
    await engine.down();
    repository.commit('containers: [{name: api}]');
    const { found, bad } = await doctor();
    await engine.up();
    assert.deepEqual(bad, ['enrolment', 'engine socket', 'manifest']);
    assert.match(
      found.find(({ name }) => name === 'manifest')?.detail ?? '',
      /bloodline_manifest\.yaml:1:\d+: containers\.0\.image/,
    );
  });
});
