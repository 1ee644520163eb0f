import assert from 'node:assert/strict';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { integrityReport } from '../../common/integrity-report.ts';
import { runTool } from '../system/program.ts';
import {
  asServices,
  flipByte,
  makeStore,
  makeTemporaryFolder,
  projectRoot,
  removeLeftovers,
  runCommand,
  startProgram,
  startWriter,
} from '../system.ts';
import { until } from '../until.ts';

const [tenant, secret] = ['lyra', 'event-secret'];
const records = 20_000;
let dir: string;
let config: string;

before(async () => {
  dir = makeTemporaryFolder('integrity-').path;
  config = join(dir, 'agent.yaml');
  await makeStore(join(dir, 'main'), { records, tenant, secret });
  const stores = `{main: ${join(dir, 'main')}, live: ${join(dir, 'live')}}`;
  writeFileSync(config, `dataDir: ${join(dir, 'data')}\nsigils: {stores: ${stores}, secrets: [${secret}]}\n`);
});
after(removeLeftovers);

/** Where programs are services it runs as the one that the timer starts at night. */
const command = (...args: string[]) => ({
  name: 'integrity run',
  command: join(projectRoot, 'dist/sigilwatch-agent.js'),
  args: ['--config', config, 'integrity', 'run', '--json', '--node', 'lyra', ...args],
  unit: { name: 'sigilwatch-integrity', dataDir: join(dir, 'data') } as const,
});
async function run(...args: string[]) {
  const { exitCode, stdout, stderr } = await runCommand(command(...args));
  assert.equal(stderr, '');
  return { exitCode, report: integrityReport.parse(JSON.parse(stdout)) };
}

describe('integrity run, as it is built', () => {
  for (const threads of ['1', '2']) {
    test(`finds nothing in a store that its owner writes to all the time (${threads} threads)`, async () => {
      const writer = await startWriter({ dir: join(dir, 'live'), tenant, secret, rate: 2_000 });
      const { exitCode, report } = await run('--threads', threads);
      const { written } = await writer.counts();
      await until('the owner goes on', async () => (await writer.counts()).written > written);
      await writer.stop();
      assert.deepEqual([exitCode, report.status], [0, 'ok']);
      assert.deepEqual(
        report.stores.map(({ store }) => store),
        ['main', 'live'],
      );
      assert.equal(report.stores[0]?.counts?.sigils, records);
    });
  }

  test('a run that is killed leaves neither a lock nor half a report', async () => {
    const killed = startProgram(command('--store', 'main'));
    const atWork = () =>
      readdirSync(join(dir, 'data/reports')).some(
        (name) => statSync(join(dir, 'data/reports', name)).size > 0 && name.startsWith('run.lock.'),
      );
    await until('it is at work, or done already', () => atWork() || killed.exit !== undefined);
    await killed.kill9();
    const { exitCode } = await run('--store', 'main');
    assert.equal(exitCode, 0);
    const others = readdirSync(join(dir, 'data/reports')).filter((name) => !name.endsWith('.json'));
    assert.equal(others.length, 1, 'the lock that was given back');
  });

  test('a changed byte is found with file and place, by one thread as by two, and nothing else is', async () => {
    const { file } = flipByte(join(dir, 'main'));
    const one = await run('--store', 'main');
    const two = await run('--store', 'main', '--threads', '2');
    assert.deepEqual([one.exitCode, two.exitCode], [1, 1]);
    const found = [one, two].map(({ report }) => report.stores[0]?.findings ?? []);
    assert.deepEqual(
      found[0]?.map((finding) => [finding.check, finding.file]),
      [['block_checksum', file]],
    );
    assert.deepEqual(found[1], found[0]);
  });

  if (asServices) {
    test('what the service of the night writes is in the folder of the agent, and nobody else reads it', () => {
      const kept = readdirSync(join(dir, 'data/reports')).map((name) => statSync(join(dir, 'data/reports', name)));
      const uid = Number(runTool('id', ['-u', 'sigilwatch-agent']));
      assert.ok(kept.length > 1);
      assert.deepEqual(
        new Set(kept.map((file) => `${file.uid} ${(file.mode & 0o777).toString(8)}`)),
        new Set([`${uid} 600`]),
      );
      const strangers = runTool('find', [dir, '-user', 'sigilwatch-agent', '!', '-path', `${join(dir, 'data')}*`]);
      assert.equal(strangers, '');
    });
  }
});
