import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadCollectorKey, readCollectorKey } from '../../../collector/data/keys.ts';
import { fingerprint } from '../../../common/keys.ts';

let dir: string;
before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-keys-'));
});
after(() => rm(dir, { recursive: true, force: true }));

test('the key is made once, readable by its owner only, and is the same the next time', async () => {
  const path = join(dir, 'made', 'collector.key');
  const made = await loadCollectorKey(path);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal(fingerprint((await loadCollectorKey(path)).publicKey), fingerprint(made.publicKey));
  assert.deepEqual(await readdir(join(dir, 'made')), ['collector.key']);
});

test('a key that others may read is refused with the fix', async () => {
  const path = join(dir, 'open.key');
  await loadCollectorKey(path);
  for (const mode of [0o640, 0o604, 0o660]) {
    await chmod(path, mode);
    await assert.rejects(loadCollectorKey(path), { code: 'auth.key_file', message: /chmod 600/ });
  }
});

test('a file that is no Ed25519 key is refused and not replaced', async () => {
  const path = join(dir, 'broken.key');
  await writeFile(path, 'nothing', { mode: 0o600 });
  await assert.rejects(loadCollectorKey(path), { code: 'auth.key_file' });
  assert.equal((await stat(path)).size, 'nothing'.length);
});

test('commands that need an existing key never make one', async () => {
  const path = join(dir, 'absent.key');
  await assert.rejects(readCollectorKey(path), { code: 'auth.key_file', message: /absent\.key/ });
  await assert.rejects(stat(path), { code: 'ENOENT' });
});
