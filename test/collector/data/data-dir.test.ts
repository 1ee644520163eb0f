import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { ensureDataDir } from '../../../collector/data/data-dir.ts';
import { claimDataDir } from '../../../collector/data/data-version.ts';
import { AppError } from '../../../common/errors.ts';
import { collectorCli } from '../../collector-cli.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-data-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

test('a data directory is made closed to others, and left as it is when it is there', async () => {
  const path = join(dir, 'a/b');
  await ensureDataDir(path);
  await ensureDataDir(path);
  assert.equal((await stat(path)).mode & 0o777, 0o700);
});

test('a data directory that cannot be made is named, with the reason', async () => {
  const file = join(dir, 'a-file');
  await writeFile(file, '');
  const below = join(file, 'data');
  await assert.rejects(
    ensureDataDir(below),
    (error: unknown) =>
      error instanceof AppError && error.code === 'validation.config' && error.message.includes(`${below} cannot`),
  );
});

test('a data directory that cannot be looked into is not said to have no collector', async () => {
  // Of the reasons why, one that also stops a root user.
  const loop = join(dir, 'loop');
  await symlink(loop, loop);
  const { code, stderr } = await collectorCli(['nodes', 'list', '--data-dir', loop]);
  assert.equal(code, 2);
  assert.match(stderr, /cannot look into the data directory .*loop \(ELOOP\)/);
});

test('a data directory is claimed by the version that runs, and refused when a later one has written it', async () => {
  const path = join(dir, 'data');
  await claimDataDir(path, '0.2.0');
  await claimDataDir(path, '0.2.1');
  assert.equal(await readFile(join(path, 'version'), 'utf8'), '0.2.1\n');
  await assert.rejects(claimDataDir(path, '0.2.0'), { code: 'state.conflict', message: /written by version 0\.2\.1/ });
  assert.deepEqual(await readdir(path), ['version']);
});

test('a collector does not start on what a later version has written', async () => {
  await writeFile(join(dir, 'version'), '99.0.0\n');
  const { code, stderr } = await collectorCli(['run', '--data-dir', dir]);
  assert.equal(code, 4);
  assert.match(stderr, /was written by version 99\.0\.0/);
  assert.deepEqual(await readdir(dir), ['version']);
});
