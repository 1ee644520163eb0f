import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import { builtinModules } from 'node:module';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { generateKeyPair } from '../../common/keys.ts';
import { formatVerifierKey, signatureTypes, verifierKey } from '../../common/note.ts';
import { peakRssMb } from '../../scripts/benches/processes.ts';
import { type FakeEngine, startFakeEngine } from '../fakes/engine.ts';
import { programs } from '../system/program.ts';
import {
  executorSocket,
  makeTemporaryFolder,
  type Program,
  removeLeftovers,
  runCommand,
  startProgram,
} from '../system.ts';
import { until } from '../until.ts';

const folder = makeTemporaryFolder('sgw-x-');
const [socketPath, enginePath] = [executorSocket(join(folder.path, 'x')), join(folder.path, 'e.sock')];
const vkey = formatVerifierKey(verifierKey('log.example', signatureTypes.ed25519, generateKeyPair().publicKey));
/** Nearly all of it is Node.js itself, of which 35 MB in version 20 and 37 MB in 24 are pages of its file that agent and executor share. */
const limitMb = Number(process.versions.node.split('.')[0]) < 22 ? 48 : 52;

function executor(...args: readonly string[]) {
  return { name: 'executor', command: programs.executor, args };
}

function get(path: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const request = http.get({ socketPath, path, agent: false }, (answer) => resolve(buffer(answer)));
    request.on('error', reject);
  });
}

describe('the executor as it is built', () => {
  let engine: FakeEngine;
  let running: Program;
  before(async () => {
    engine = await startFakeEngine(enginePath);
    const args = ['--socket', socketPath, '--engine', enginePath, '--node', 'lyra', '--collector-key', vkey];
    running = startProgram({ ...executor(...args), unit: { name: 'sigilwatch-executor', socketPath } });
    await running.find('serves', (line) => (line.includes('"executor.serving"') ? true : undefined));
  });
  after(async () => {
    await engine?.stop();
    await removeLeftovers();
  });

  test('is made of this project and Node.js alone', () => {
    const text = readFileSync(programs.executor, 'utf8');
    const required = [...text.matchAll(/\b(?:require|import)\(\s*["'`]([^"'`]+)["'`]\s*\)/g)].map(
      ([, name = '']) => name,
    );
    assert.ok(required.includes('node:net'));
    const strangers = required.filter((name) => !name.startsWith('node:') || !builtinModules.includes(name.slice(5)));
    assert.deepEqual(strangers, []);
    // It opens sockets of the machine only, and starts nothing.
    const wanted = ['node:crypto', 'node:events', 'node:fs', 'node:net'];
    assert.deepEqual([...new Set(required)].sort(), wanted);
    assert.equal(/\bfrom\s*["']/.test(text), false, 'nothing is imported in another way');
    assert.ok(statSync(programs.executor).mode & 0o111);
  });

  test('keeps within its memory while it is asked about many containers', async () => {
    await engine.importImage('app:1');
    const made = Array.from({ length: 50 }, (_, i) => engine.run({ name: `app-${i}`, image: 'app:1', cmd: ['run'] }));
    const ids = await Promise.all(made);
    for (let scan = 0; scan < 10; scan++) {
      await get('/v1.41/containers/json?all=true');
      const waiting = [...ids];
      const work = async () => {
        for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) await get(`/containers/${id}/json`);
      };
      await Promise.all(Array.from({ length: 8 }, work));
    }
    const rssMb = peakRssMb(running.pid);
    assert.ok(rssMb <= limitMb, `${rssMb.toFixed(1)} MB`);
  });

  test('refuses what it does not know, and says so in its log', async () => {
    assert.match((await get('/info')).toString(), /"code":"request.call"/);
    await until('it is logged', () => running.logs().some((line) => line.includes('"executor.refused"')));
  });

  test('ends on SIGTERM with 0, and again gives way to nobody who serves', async () => {
    const same = await runCommand(
      executor('--socket', socketPath, '--engine', enginePath, '--node', 'lyra', '--collector-key', vkey),
    );
    assert.equal(same.exitCode, 4);
    await running.stop();
    assert.equal(running.exit?.code, 0);
  });

  test('says what is missing, with the exit code of wrong usage', async () => {
    const { exitCode, stderr, stdout } = await runCommand(executor('--node', 'lyra'));
    assert.deepEqual([exitCode, stdout], [2, '']);
    assert.match(stderr, /--collector-key/);
    assert.equal((await runCommand(executor('--help'))).exitCode, 0);
  });
});
