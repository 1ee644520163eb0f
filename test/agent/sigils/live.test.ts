import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { it } from 'node:test';
import { temporaryFolder, Watch } from './stores.ts';
import { countKeys, withWriter } from './writers.ts';

const rounds = process.env.SIGILWATCH_TEST_LONG === '1' ? 200 : 25;
/** A writer that makes no tables in so many scans has stopped writing. */
const maxRounds = 10_000;

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
