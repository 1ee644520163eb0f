import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { type Collector, startCollector } from '../../../collector/app.ts';
import { runCli } from '../../../collector/cli.ts';
import type { KeyPair } from '../../../common/keys.ts';
import { collectorCli } from '../../collector-cli.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { driftOpened, enrolDirectly, say, settingsFor, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let again: Collector | undefined;
let lyra: KeyPair;
let tokenFile: string;
let url: string;

before(async () => {
  postgres = await startPostgres();
  url = await postgres.emptyDatabase();
  under = await startTestCollector(url);
  lyra = await enrolDirectly(under.ledger, 'lyra');
  tokenFile = join(under.settings.dataDir, 'token');
  await writeFile(tokenFile, under.token);
});
after(async () => {
  await again?.stop();
  await under.stop();
  await postgres.stop();
});

interface Following {
  readonly said: { stdout: string; stderr: string };
  readonly ended: Promise<number>;
  stop(): void;
}

/** The command as it runs: its output grows, and it is stopped as by Ctrl-C. */
function follow(...options: readonly string[]): Following {
  const said = { stdout: '', stderr: '' };
  const into = (name: keyof typeof said) =>
    new Writable({
      write: (chunk, _, done) => {
        said[name] += chunk;
        done();
      },
    });
  let stop = () => {};
  const stopRequested = new Promise<string>((resolve) => {
    stop = () => resolve('SIGINT');
  });
  const argv = ['events', 'follow', '--token-file', tokenFile, '--server', under.collector.url, ...options];
  const readFile = () => assert.fail('a settings file is read');
  const world = { argv, env: {}, stdout: into('stdout'), stderr: into('stderr'), readFile, stopRequested };
  return { said, ended: runCli(world), stop };
}

const linesOf = ({ said }: Following) => said.stdout.split('\n').slice(0, -1);
const indexesOf = (following: Following) => linesOf(following).map((line): number => JSON.parse(line).index);
const sizeNow = async () => (await under.ledger.checkpoint()).size;
const sayDrifts = (...names: readonly string[]) =>
  say(
    under.ledger,
    'lyra',
    lyra,
    names.map((name) => driftOpened(name, 'UNAUTHORIZED_CONTAINER')),
  );

test('whoever follows hears of everything once, with a restart of the collector in the middle', async () => {
  const all = follow('--after', '-1', '--json');
  const drifts = follow('--kind', 'drift.opened', '--node', 'lyra', '--severity', 'warning', '--after', '-1');
  await until('it follows', async () => linesOf(all).length === (await sizeNow()));
  await sayDrifts('one', 'two');
  await until('it was heard', () => linesOf(drifts).length === 2);

  const { port } = new URL(under.collector.url);
  await under.collector.stop();
  await sayDrifts('while nobody serves');
  await until('the interruption is told', () => all.said.stderr !== '' && drifts.said.stderr !== '');
  again = await startCollector(settingsFor(under.settings.dataDir, url, { SIGILWATCH_HTTP_PORT: port }), {
    logger: quietLogger,
  });
  await sayDrifts('afterwards');

  const goesOn = async () => linesOf(all).length >= (await sizeNow()) && linesOf(drifts).length >= 4;
  await until('it goes on', goesOn, 60_000);
  all.stop();
  drifts.stop();
  assert.deepEqual(await Promise.all([all.ended, drifts.ended]), [0, 0]);
  assert.deepEqual(
    indexesOf(all),
    Array.from({ length: await sizeNow() }, (_, index) => index),
  );
  assert.match(all.said.stderr, /; going on after \d+\n/);
  const names = linesOf(drifts).map((line) => {
    const [severity, , , node, kind, what = ''] = line.split('\t');
    assert.deepEqual([severity, node, kind], ['warning', 'lyra', 'drift.opened']);
    return /"container":"([^"]*)"/.exec(what)?.[1];
  });
  assert.deepEqual(names, ['one', 'two', 'while nobody serves', 'afterwards']);
});

test('what is refused for good ends it, and so does an address where nobody is', async () => {
  const server = ['--server', again?.url ?? '', '--token-file', tokenFile];
  const following = ['events', 'follow'];
  const refused = await collectorCli([...following, ...server, '--after', '999999999']);
  assert.equal(refused.code, 2, refused.stderr);
  assert.match(refused.stderr, /^validation\.request: /);
  const both = await collectorCli([...following, ...server, '--after', '1', '--recent', '2']);
  assert.equal(both.code, 2);
  const unknown = await collectorCli([...following, ...server.slice(0, 2)], { SIGILWATCH_TOKEN: 'swo_wrong' });
  assert.equal(unknown.code, 3);
  const nobody = await collectorCli([...following, '--server', 'http://127.0.0.1:9', '--token-file', tokenFile]);
  assert.equal(nobody.code, 5);
});
