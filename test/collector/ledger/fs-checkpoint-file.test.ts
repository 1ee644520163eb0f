import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { link, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fsCheckpointFile, tidyCheckpointFiles } from '../../../collector/ledger/fs-checkpoint-file.ts';
import { evidencePath, fsEvidenceFolder } from '../../../collector/ledger/fs-evidence-folder.ts';
import { openOwn } from '../../../collector/ledger/guard.ts';
import { signCheckpoint } from '../../../common/checkpoint.ts';
import { emptyRoot } from '../../../common/merkle.ts';
import { noteSigner, signatureTypes, verifierKey } from '../../../common/note.ts';
import { fromSource } from '../../from-source.ts';
import { collectorKeys, stoppedClock, testOrigin } from '../../ledgers.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const signer = noteSigner(testOrigin, signatureTypes.ed25519, collectorKeys);
const logKey = verifierKey(testOrigin, signatureTypes.ed25519, collectorKeys.publicKey);

let folder: string;
let path: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sigilwatch-checkpoint-'));
  path = join(folder, 'checkpoint');
});
after(() => rm(folder, { recursive: true, force: true }));

function checkpointOf(size: number) {
  return { size, note: signCheckpoint({ origin: testOrigin, size, root: emptyRoot, extensions: [] }, signer) };
}

test('what one process has written the next one reads, and no temporary file stays', async () => {
  const file = fsCheckpointFile(path, quietLogger);
  assert.equal(await file.read(), undefined);
  for (const size of [1, 2, 300]) {
    await file.write(checkpointOf(size));
    assert.equal(await file.read(), checkpointOf(size).note);
  }
  await file.close();
  assert.equal(await fsCheckpointFile(path, quietLogger).read(), checkpointOf(300).note);
  assert.deepEqual((await readdir(folder)).sort(), ['checkpoint', 'checkpoint.synced']);
});

test('a note of the same length is written over the last one, and never into a file that somebody else may hold', async () => {
  const own = join(folder, 'written-over');
  const file = fsCheckpointFile(own, quietLogger);
  const inode = async () => (await stat(own)).ino;
  await file.write(checkpointOf(10));
  const first = await inode();
  await file.write(checkpointOf(11));
  assert.equal(await inode(), first);
  assert.equal(await readFile(own, 'utf8'), checkpointOf(11).note);

  await file.write(checkpointOf(100));
  assert.notEqual(await inode(), first, 'the length is another');
  await link(own, join(folder, 'backup'));
  await file.write(checkpointOf(101));
  assert.equal(await readFile(join(folder, 'backup'), 'utf8'), checkpointOf(100).note);

  const other = fsCheckpointFile(own, quietLogger);
  await other.write(checkpointOf(102));
  const others = await inode();
  await file.write(checkpointOf(103));
  assert.notEqual(await inode(), others);
  assert.equal(await other.read(), checkpointOf(103).note);

  await writeFile(own, checkpointOf(104).note);
  assert.equal(await file.read(), checkpointOf(104).note);
  await rm(own);
  await file.write(checkpointOf(105));
  assert.equal(await readFile(own, 'utf8'), checkpointOf(105).note);
  await Promise.all([file.close(), other.close()]);
});

test('whoever reads while notes are written over one another reads one of them, whole', async () => {
  const own = join(folder, 'read-meanwhile');
  const file = fsCheckpointFile(own, quietLogger);
  await file.write(checkpointOf(1_000));
  const reader = spawn(process.execPath, [...fromSource(join(import.meta.dirname, 'reading-process.ts')), own], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const closed = once(reader, 'close');
  let said = '';
  reader.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  await until('it reads', () => said !== '');
  const notes = Array.from({ length: 50 }, (_, at) => checkpointOf(1_001 + at));
  for (let round = 0; round < 400; round++) {
    for (const note of notes) await file.write(note);
    await delay(0);
  }
  reader.stdin.end();
  assert.deepEqual(await closed, [0, null]);
  const [reads = 0, seen = 0] = said.trim().split('\n').at(-1)?.split(' ').map(Number) ?? [];
  assert.ok(reads > 100 && seen > 1, `${reads} reads, of ${seen} notes`);
  await file.close();
});

test('what another process writes meanwhile is seen', async () => {
  const [one, other] = [fsCheckpointFile(path, quietLogger), fsCheckpointFile(path, quietLogger)];
  for (const size of [400, 401, 402, 403]) {
    const [writer, reader] = size % 2 === 0 ? [one, other] : [other, one];
    await writer.write(checkpointOf(size));
    assert.equal(await reader.read(), checkpointOf(size).note);
  }
});

test('the smaller of two trees written in the same instant does not outlive the next sync', async () => {
  const [one, other] = [fsCheckpointFile(path, quietLogger), fsCheckpointFile(path, quietLogger)];
  await one.write(checkpointOf(520));
  await other.write(checkpointOf(510));
  await until('the larger tree is back', async () => (await other.read()) === checkpointOf(520).note);
  await other.close();
  assert.equal(await one.read(), checkpointOf(520).note);
});

test('what a power cut cut off is the one that was synced last, and what somebody took away is none', async () => {
  const own = join(folder, 'cut-off');
  const file = fsCheckpointFile(own, quietLogger);
  await file.write(checkpointOf(70));
  await file.write(checkpointOf(77));
  await file.close();
  for (const left of [
    '',
    '\0'.repeat(300),
    checkpointOf(80).note.slice(0, 40),
    `${checkpointOf(80).note.slice(0, 90)}\0\0`,
  ]) {
    await writeFile(own, left);
    assert.equal(await fsCheckpointFile(own, quietLogger).read(), checkpointOf(77).note);
  }
  await rm(own);
  assert.equal(await fsCheckpointFile(own, quietLogger).read(), undefined);
});

test('an empty file, as a power cut may leave it, is none; one that cannot be read is an error', async () => {
  await rm(`${path}.synced`, { force: true });
  for (const contents of ['', '\0'.repeat(300)]) {
    await writeFile(path, contents);
    assert.equal(await fsCheckpointFile(path, quietLogger).read(), undefined);
  }
  const occupied = join(folder, 'occupied');
  await mkdir(occupied);
  await assert.rejects(fsCheckpointFile(occupied, quietLogger).read(), { code: 'ledger.checkpoint_file' });
  await assert.rejects(fsCheckpointFile(occupied, quietLogger).write(checkpointOf(1)), {
    code: 'ledger.checkpoint_file',
    retryable: true,
  });
  await writeFile(path, Buffer.alloc(2 * 1024 * 1024, 'x'));
  await assert.rejects(fsCheckpointFile(path, quietLogger).read(), { code: 'ledger.checkpoint_file' });
  await rm(path);
});

test('what killed processes left behind is removed, what is being written is not', async () => {
  await writeFile(`${path}.1234.tmp`, 'half');
  await tidyCheckpointFiles(path, Date.now() - 60_000);
  assert.ok((await readdir(folder)).includes('checkpoint.1234.tmp'));
  await tidyCheckpointFiles(path, Date.now() + 1_000);
  assert.ok(!(await readdir(folder)).includes('checkpoint.1234.tmp'));
});

test('evidence is kept for its owner, read again, and never silently skipped', async () => {
  const evidence = fsEvidenceFolder(evidencePath(folder), testOrigin, stoppedClock);
  assert.deepEqual(await evidence.notes(), []);
  const notes = [checkpointOf(3).note, checkpointOf(5).note];
  const kept = await evidence.keep({ reason: 'rolled back', notes, found: { size: 4, root: 'x' } });
  assert.deepEqual(await evidence.notes(), notes);
  assert.equal(JSON.parse(await readFile(kept, 'utf8')).reason, 'rolled back');
  await writeFile(kept, '{"notes":');
  await assert.rejects(evidence.notes(), { code: 'ledger.checkpoint_file' });
});

const rounds = long ? 40 : 4;
const seed = 20_260_301;

/** Runs a publisher, kills it `afterMs` after its first checkpoint, and returns the sizes it was handed. */
async function publishAndKill(dataDir: string, afterMs: number): Promise<number[]> {
  const printed = join(folder, 'printed');
  const out = openSync(printed, 'w');
  const child = join(import.meta.dirname, 'publishing-process.ts');
  const started = spawn(process.execPath, [...fromSource(child), dataDir], { stdio: ['ignore', out, 'inherit'] });
  closeSync(out);
  const closed = once(started, 'close');
  const sizes = () => readFileSync(printed, 'utf8').split('\n').slice(0, -1).map(Number);
  await until('the first checkpoint', () => sizes().length > 0 || started.exitCode !== null, 30_000);
  await delay(afterMs);
  started.kill('SIGKILL');
  assert.equal((await closed)[1], 'SIGKILL');
  return sizes();
}

test(`no kill leaves a file that is behind what was published, or half a file (${rounds} kills, seed ${seed})`, async (t) => {
  const dataDir = join(folder, 'killed');
  await mkdir(dataDir);
  const file = join(dataDir, 'checkpoint');
  let state = seed;
  let checkpoints = 0;
  for (let round = 0; round < rounds; round++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    await rm(file, { force: true });
    const sizes = await publishAndKill(dataDir, (state >>> 8) % 120);
    const kept = openOwn(await readFile(file, 'utf8'), logKey);
    assert.ok(kept.size >= Math.max(...sizes), `round ${round}: ${Math.max(...sizes)} published, ${kept.size} kept`);
    checkpoints += sizes.length;
  }
  await tidyCheckpointFiles(file, Date.now() + 1_000);
  assert.deepEqual((await readdir(dataDir)).sort(), ['checkpoint', 'checkpoint.synced']);
  t.diagnostic(`${checkpoints} checkpoints published`);
});
