import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { Level } from 'level';
import { secret, temporaryFolder, Watch } from './stores.ts';

const rounds = process.env.SIGILWATCH_TEST_LONG === '1' ? 200 : 25;
/** A writer that makes no tables in so many scans has stopped writing. */
const maxRounds = 10_000;

const writerFile = new URL('../../fakes/sigil-writer.ts', import.meta.url).pathname;

it('a store under constant writes is scanned many times without a finding and without disturbing the writer', async (t) => {
  const path = temporaryFolder(t);
  const watch = new Watch(path);
  const told = await withWriter(
    path,
    ['--rate', '5000', '--overwrite', '0.3', '--write-buffer-kib', '64'],
    async (writer) => {
      let tables = 0;
      for (let round = 0; round < rounds || tables < 10; round++) {
        assert.ok(round < maxRounds, `only ${tables} tables in ${round} scans`);
        const result = await watch.scan(round % 10 === 0 ? 'full' : 'incremental');
        tables += result.tables;
        assert.deepEqual([result.findings, result.moreFindings], [[], 0], `scan ${round}`);
      }
      writer.process.kill('SIGTERM');
      return JSON.parse(await writer.line());
    },
  );
  const strange = readdirSync(path).filter((name) => !storeFile.test(name));
  assert.deepEqual(strange, [], 'the scans leave nothing in the folder');
  assert.equal(await countKeys(path), told.keys);
  const last = await watch.scan('full');
  assert.deepEqual([last.findings, last.settled], [[], true]);
});

it('a store whose writer was killed has no findings', async (t) => {
  const path = temporaryFolder(t);
  const watch = new Watch(path);
  await withWriter(path, ['--rate', '0'], async (writer) => {
    while ((await watch.scan('incremental')).tables === 0);
    writer.process.kill('SIGKILL');
  });
  assert.deepEqual((await watch.scan('full')).findings, []);
});

const storeFile = /^(CURRENT|LOCK|LOG|LOG\.old|MANIFEST-\d+|\d+\.(ldb|log))$/;

async function countKeys(path: string): Promise<number> {
  const db = new Level(path);
  await db.open();
  let keys = 0;
  for await (const _ of db.keys()) keys++;
  await db.close();
  return keys;
}

interface Writer {
  readonly process: ChildProcess;
  readonly line: () => Promise<string>;
}

/** Runs the writer beside `work`; when this settles the writer has ended. */
async function withWriter<T>(path: string, args: string[], work: (writer: Writer) => Promise<T>): Promise<T> {
  const all = ['--import', 'tsx', writerFile, '--dir', path, '--secret', secret, ...args];
  const child = spawn(process.execPath, all, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value ?? '';
  try {
    await line();
    const result = await work({ process: child, line });
    if (!child.killed) child.kill('SIGTERM');
    await ended;
    return result;
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}
