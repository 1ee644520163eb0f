import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { writePieces } from '../../../collector/data/new-file.ts';
import { exportableLedger } from '../../exports.ts';
import { fromSource } from '../../from-source.ts';
import { projectRoot } from '../../system/program.ts';

let root: string;
let args: readonly string[];

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-lost-'));
  const fleet = await exportableLedger(10);
  const [policy, proof] = [join(root, 'policy.txt'), join(root, 'proof')];
  await Promise.all([writeFile(policy, fleet.policy), writeFile(proof, await fleet.proof(3))]);
  args = ['verify', proof, '--policy', policy];
});
after(() => rm(root, { recursive: true, force: true }));

function run(program: 'agent' | 'collector', words: readonly string[], stdout: number | 'pipe') {
  const main = join(projectRoot, program, 'main.ts');
  const { status, stderr } = spawnSync(process.execPath, [...fromSource(main), ...words], {
    cwd: projectRoot,
    stdio: ['ignore', stdout, 'pipe'],
    encoding: 'utf8',
  });
  return { status, stderr };
}

test('a result that cannot be written is told, in one line, and never passes for success', () => {
  const full = openSync('/dev/full', 'w');
  try {
    const runs = [
      run('collector', args, full),
      run('collector', [...args, '--json'], full),
      run('collector', ['--print-config'], full),
      run('collector', ['--version'], full),
      run('agent', ['--print-config'], full),
    ];
    const message = 'standard output cannot be written: no space is left (ENOSPC); the result is lost\n';
    for (const ended of runs) assert.deepEqual(ended, { status: 4, stderr: message });
  } finally {
    closeSync(full);
  }
  assert.deepEqual(run('collector', args, 'pipe'), { status: 0, stderr: '' });
});

test('nothing more is made for an output that takes no more', async () => {
  let made = 0;
  const pieces = function* () {
    for (; made < 1_000; made++) yield 'piece';
  };
  let taken = 0;
  const out = new Writable({ highWaterMark: 1, write: (_, __, done) => done(taken++ < 10 ? null : new Error('full')) });
  const told: string[] = [];
  out.on('error', ({ message }) => told.push(message));
  await writePieces(out, pieces());
  assert.deepEqual(told, ['full']);
  assert.ok(made < 20, `${made} made`);
});

test('whoever has read enough of it is nobody to complain to', () => {
  const main = join(projectRoot, 'collector', 'main.ts');
  const words = [process.execPath, ...fromSource(main), ...args];
  const { status, stderr } = spawnSync('bash', ['-c', 'set -o pipefail; "$@" | true', 'bash', ...words], {
    cwd: projectRoot,
    encoding: 'utf8',
  });
  assert.deepEqual([status, stderr], [0, '']);
});
