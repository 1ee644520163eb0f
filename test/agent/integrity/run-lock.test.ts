import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { takeRunLock } from '../../../agent/data/run-lock.ts';
import { fromSource } from '../../from-source.ts';
import { tempFolder } from '../watching.ts';

const temp = tempFolder();
const freshFolder = () => mkdtempSync(join(temp, 'reports-'));
/** The lock that counts; the only one that is ever left. */
const lockOf = (folder: string) => join(folder, readdirSync(folder)[0] ?? 'run.lock.1');

/** A process of its own at the lock, and the first thing it says. */
async function contender(folder: string): Promise<{ child: ChildProcess; said: string }> {
  const program = join(import.meta.dirname, 'lock-holder.ts');
  const child = spawn(process.execPath, [...fromSource(program), folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [said] = await once(createInterface(child.stdout), 'line');
  return { child, said };
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

test('a second run is refused while the first is under way, and let in afterwards', async () => {
  const folder = freshFolder();
  const giveBack = await takeRunLock(folder, 'integrity run');
  await assert.rejects(takeRunLock(folder, 'integrity run'), { code: 'state.busy', retryable: true });
  await giveBack();
  await (await takeRunLock(folder, 'integrity run'))();
  assert.deepEqual(readdirSync(folder), ['run.lock.2']);
  assert.equal(readFileSync(join(folder, 'run.lock.2'), 'utf8'), '', 'it belongs to nobody');
});

test('a run that was killed leaves no lock that counts', async () => {
  const folder = freshFolder();
  const { child, said } = await contender(folder);
  assert.equal(said, 'held');
  await assert.rejects(takeRunLock(folder, 'integrity run'), { code: 'state.busy', details: { pid: child.pid } });
  await killed(child);
  await (await takeRunLock(folder, 'integrity run'))();
});

test('what a run that was killed had in hand is cleared away by the next, and that of a living one is not', async () => {
  const folder = freshFolder();
  const giveBack = await takeRunLock(folder, 'integrity run');
  const mine: unknown = JSON.parse(readFileSync(lockOf(folder), 'utf8'));
  await giveBack();
  const claims = { dead: { ...Object(mine), startTicks: '1' }, living: mine };
  for (const [name, text] of Object.entries(claims))
    writeFileSync(join(folder, `run.claim.${name}`), JSON.stringify(text));
  writeFileSync(join(folder, 'run.claim.half'), '');
  await (await takeRunLock(folder, 'integrity run'))();
  assert.deepEqual(readdirSync(folder).sort(), ['run.claim.half', 'run.claim.living', 'run.lock.2']);
});

test('of several that find a stale lock at once, one gets it', async (t) => {
  const folder = freshFolder();
  await killed((await contender(folder)).child);
  const contenders = await Promise.all([1, 2, 3, 4].map(() => contender(folder)));
  t.after(() => Promise.all(contenders.map(({ child }) => killed(child))));
  assert.deepEqual(contenders.map(({ said }) => said).sort(), ['held', 'state.busy', 'state.busy', 'state.busy']);
  assert.deepEqual(readdirSync(folder), ['run.lock.2']);
});

test('a process that got the number of one that is gone is not taken for it', async () => {
  const folder = freshFolder();
  const giveBack = await takeRunLock(folder, 'integrity run');
  const mine: unknown = JSON.parse(readFileSync(lockOf(folder), 'utf8'));
  await giveBack();
  for (const other of [{ startTicks: '1' }, { boot: '00000000-0000-0000-0000-000000000000' }]) {
    writeFileSync(lockOf(folder), JSON.stringify({ ...Object(mine), ...other }));
    await (await takeRunLock(folder, 'integrity run'))();
  }
  writeFileSync(lockOf(folder), JSON.stringify(mine));
  await assert.rejects(takeRunLock(folder, 'integrity run'), { code: 'state.busy' });
});

test('what is no lock stops nobody', async () => {
  const folder = freshFolder();
  for (const text of ['', '{"pid":', '{"pid":1}', 'x'.repeat(100_000)]) {
    writeFileSync(lockOf(folder), text);
    await (await takeRunLock(folder, 'integrity run'))();
  }
  mkdirSync(join(folder, 'run.lock.50'));
  await (await takeRunLock(folder, 'integrity run'))();
  symlinkSync('/dev/zero', join(folder, 'run.lock.100'));
  await (await takeRunLock(folder, 'integrity run'))();
  assert.deepEqual(readdirSync(folder), ['run.lock.101']);
});

test('whoever has read a stale lock and comes late gets nothing that belongs to another', async () => {
  const folder = freshFolder();
  await killed((await contender(folder)).child);
  const hold = await takeRunLock(folder, 'integrity run');
  // As if he had seen the stale one, and had been the first to come by the number behind it.
  writeFileSync(join(folder, 'run.lock.1'), '');
  await assert.rejects(takeRunLock(folder, 'integrity run'), { code: 'state.busy', details: { pid: process.pid } });
  await hold();
});

test('a lock that was taken away and taken again by another is not given back by the first', async () => {
  const folder = freshFolder();
  const first = await takeRunLock(folder, 'integrity run');
  writeFileSync(lockOf(folder), '');
  const second = await takeRunLock(folder, 'integrity run');
  await first();
  await assert.rejects(takeRunLock(folder, 'integrity run'), { code: 'state.busy' });
  await second();
});
