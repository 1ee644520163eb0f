import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Level } from 'level';
import { z } from 'zod';
import { integrityReport } from '../../common/integrity-report.ts';
import { foreignText } from '../../common/sigil-text.ts';
import { makeSigilRecord } from '../fakes/sigil-writer.ts';
import {
  enrolNode,
  jsonLine,
  makeStore,
  makeTemporaryFolder,
  projectRoot,
  type RunningCollector,
  type RunningNode,
  removeLeftovers,
  runCommand,
  startCollector,
  startNode,
} from '../system.ts';
import { until } from '../until.ts';

const [tenant, secret] = ['lyra', 'event-secret'];
const made = { tenant, secret, authHash: 'ab'.repeat(32) };
/** Under a key that a shell, a terminal or a command line could take for something else. */
const spoilt = makeSigilRecord({
  ...made,
  symbol: '-it\'s "$HOME" `touch hit`; touch hit\n\\ \u001b[2J\u202eé\ufffd!',
});
const gone = makeSigilRecord({ ...made, symbol: 'GONE' });
let dir: string;
let path: string;
let collector: RunningCollector;
let node: RunningNode;

before(async () => {
  dir = makeTemporaryFolder('restore-').path;
  path = join(dir, 'db');
  await makeStore(path, { records: 2_000, tenant, secret });
  await asOwner((db) => db.batch([spoilt, gone].map((record) => ({ type: 'put', ...record }))));
  collector = await startCollector({ dir: join(dir, 'collector') });
  const own = { node: 'node1', dir: join(dir, 'node1') };
  await enrolNode(collector, own.node, own.dir);
  node = await startNode({
    ...{ ...own, socketPath: join(dir, 'no-engine.sock'), stores: { main: path }, secrets: [secret] },
    scanIntervalMs: 1_000,
  });
});
after(removeLeftovers);

/** What the program does that owns the store, and then ends. */
async function asOwner<T>(work: (db: Level<string, unknown>) => Promise<T>): Promise<T> {
  const db = new Level<string, unknown>(path, { valueEncoding: 'json' });
  try {
    await db.open();
    return await work(db);
  } finally {
    await db.close();
  }
}

async function snapshots(): Promise<unknown[]> {
  const { stdout } = await node.cli('--json', 'integrity', 'snapshots');
  const { stores } = z
    .object({ stores: z.array(z.object({ snapshots: z.array(z.unknown()) })) })
    .parse(jsonLine(stdout));
  return stores.flatMap((store) => store.snapshots);
}

async function report() {
  const { stdout } = await node.cli('--json', 'integrity', 'run', '--node', node.node);
  return integrityReport.parse(jsonLine(stdout));
}

function known(state: 'open' | 'resolved') {
  const item = z.object({ finding: z.object({ check: z.string(), key: z.string().nullable() }) });
  return collector.list(`/api/v1/findings?node=${node.node}&state=${state}`, item);
}

/** As somebody does who copies the command from the report into a shell, with a word or two behind it. */
function asPrinted(command: string, bin: string) {
  const env = { SIGILWATCH_CONFIG: join(node.dir, 'agent.yaml'), PATH: `${bin}:${process.env.PATH}`, WHERE: dir };
  return runCommand({
    name: command,
    command: '/bin/sh',
    args: ['-c', `cd "$WHERE" && ${command} --apply --yes`],
    env,
  });
}

test('what is spoilt or gone is found, and the command that the report shows puts it back; then all of it is resolved', async () => {
  await until('a snapshot of the clean store is kept', async () => (await snapshots()).length === 1, 60_000);
  assert.equal((await report()).status, 'ok');
  await asOwner(async (db) => {
    await db.put(spoilt.key, { ...spoilt.value, data: { note: 'not what was signed' } });
    await db.del(gone.key);
  });
  const key = foreignText(Buffer.from(spoilt.key));
  await until(
    'the collector knows',
    async () => (await known('open')).some(({ finding }) => finding.key === key),
    60_000,
  );

  const { id, stores } = await report();
  const found = stores.flatMap(({ findings }) => findings);
  assert.deepEqual(found.map((one) => `${one.check} ${one.key}`).sort(), [
    `checksum ${key}`,
    `signature ${key}`,
    `vanished ${gone.key}`,
  ]);
  assert.equal(new Set(found.map(({ lastGood }) => lastGood?.at)).size, 1);

  const bin = join(dir, 'bin');
  mkdirSync(bin);
  symlinkSync(join(projectRoot, 'dist/sigilwatch-agent.js'), join(bin, 'sigilwatch-agent'));
  const { stdout } = await node.cli('integrity', 'show', id);
  const commands = [...stdout.matchAll(/restore it: (.*)$/gm)].map(([, command = '']) => command);
  assert.equal(commands.length, 3);
  for (const command of commands.filter((one) => !one.includes(`restored-${idOf(found, 'signature')}`))) {
    const { exitCode, stdout: said, stderr } = await asPrinted(command, bin);
    assert.deepEqual([exitCode, stderr], [0, '']);
    assert.match(said, /written to restored-.*, and put back into store main$/m);
  }
  assert.ok(!readdirSync(dir).includes('hit'));
  assert.deepEqual(await asOwner((db) => db.getMany([spoilt.key, gone.key])), [spoilt.value, gone.value]);

  assert.equal((await report()).status, 'ok');
  await until('all of it is resolved', async () => (await known('open')).length === 0, 60_000);
  const resolved = (await known('resolved')).map(({ finding }) => finding.key);
  assert.ok(resolved.length >= 2 && resolved.every((one) => one === key), resolved.join());
});

/** As it stands in the name of the file. */
function idOf(found: readonly { readonly id: string; readonly check: string }[], check: string): string {
  return found.find((one) => one.check === check)?.id.slice(0, 8) ?? assert.fail(`there is no ${check}`);
}
