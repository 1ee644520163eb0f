import assert from 'node:assert/strict';
import { chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { withNamedFiles } from '../../../collector/data/named-files.ts';
import { AppError } from '../../../common/errors.ts';

const skip = process.platform === 'linux' && process.geteuid?.() === 0 ? false : 'becoming another user takes root';

let dir: string;
let dataDir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-named-'));
  dataDir = join(dir, 'data');
  await mkdir(dataDir);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** More than a pipe holds. */
const large = 'x'.repeat(300_000);

for (const uid of [4711, 0]) {
  describe(`a file that is named where the data belong to user ${uid}`, { skip: uid === 0 ? false : skip }, () => {
    beforeEach(async () => {
      if (uid !== 0) await chown(dataDir, uid, uid);
    });

    test('has all that was written, and was not there before it was whole', async () => {
      const file = join(dir, 'file');
      await withNamedFiles(dataDir, [undefined, file], async (write) => {
        await write(
          file,
          (async function* () {
            for (const piece of [large, 'ü'.repeat(70_000), large]) yield piece;
            assert.ok(!(await readdir(dir)).includes('file'));
          })(),
        );
        assert.equal(await readFile(file, 'utf8'), `${large}${'ü'.repeat(70_000)}${large}`);
      });
      assert.deepEqual((await readdir(dir)).sort(), ['data', 'file']);
    });

    test('leaves nothing when what was to be written breaks off, is not written at all, or cannot be', async () => {
      const [file, other, deep] = [join(dir, 'file'), join(dir, 'other'), join(dir, 'none', 'deep')];
      const breaksOff = (async function* () {
        yield large;
        throw new AppError('state.conflict', 'stopped');
      })();
      await assert.rejects(
        withNamedFiles(dataDir, [file, other], (write) => write(file, breaksOff)),
        { code: 'state.conflict', message: 'stopped' },
      );
      await assert.rejects(
        withNamedFiles(dataDir, [deep], (write) => write(deep, [large, large])),
        { code: 'validation.request', message: `cannot write ${deep}: ENOENT` },
      );
      assert.deepEqual(await readdir(dir), ['data']);
    });

    test('is never written over another one', async () => {
      const file = join(dir, 'file');
      await writeFile(file, 'evidence');
      await assert.rejects(
        withNamedFiles(dataDir, [file], (write) => write(file, [large, large])),
        { code: 'state.conflict', message: `${file} exists already and is not overwritten` },
      );
      assert.equal(await readFile(file, 'utf8'), 'evidence');
    });
  });
}
