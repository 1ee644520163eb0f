import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { adoptIdentity, ensureDataDir, identityPaths, loadIdentity, makeKeys } from '../../agent/identity.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint } from '../../common/keys.ts';
import { memoryLedger } from '../fakes/ledger.ts';

let dir = '';
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch identity-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const { origin, vkey } = memoryLedger();
const pinned = { node: 'node1', url: 'http://127.0.0.1:7600', origin, vkey };

const failsWith = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof AppError && error.code === code && message.test(error.message);

async function enrolled() {
  const paths = identityPaths(dir);
  const keys = await makeKeys(paths.pendingKey);
  await adoptIdentity(paths, pinned, 'pendingKey');
  return { paths, keys };
}

test('an identity is read back as it was written, in files only the owner can read', async () => {
  const { paths, keys } = await enrolled();
  const identity = await loadIdentity(dir);
  assert.equal(fingerprint(identity.keys.publicKey), fingerprint(keys.publicKey));
  assert.equal(identity.node, 'node1');
  assert.deepEqual(identity.collector, { url: pinned.url, origin, vkey });
  assert.deepEqual((await readdir(dir)).sort(), ['collector.json', 'identity.pem']);
  for (const path of [paths.key, paths.enrolment]) assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.match(await readFile(paths.key, 'utf8'), /^-----BEGIN PRIVATE KEY-----/);
});

test('a key that others can read is refused, with the mode and the fix', async () => {
  const { paths } = await enrolled();
  for (const [mode, octal] of [
    [0o640, '0640'],
    [0o604, '0604'],
    [0o610, '0610'],
  ] as const) {
    await chmod(paths.key, mode);
    await assert.rejects(loadIdentity(dir), failsWith('auth.key_file', new RegExp(`mode ${octal}.*chmod 600 '/`)));
  }
  await chmod(paths.key, 0o600);
  await chmod(paths.enrolment, 0o644);
  await assert.rejects(loadIdentity(dir), failsWith('auth.key_file', /collector\.json.*chmod 600/));
});

test('a key of another user is refused, and root is told to become that user, not to take it away from the agent', {
  skip: process.getuid?.() !== 0 && 'needs root',
}, async () => {
  const { paths } = await enrolled();
  const { chown } = await import('node:fs/promises');
  await chown(paths.key, 65_534, 65_534);
  await assert.rejects(
    loadIdentity(dir),
    failsWith('auth.key_file', /belongs to user 65534.*runuser -u .* -- sigilwatch-agent/),
  );
});

test('a node that is not enrolled is told how to', async () => {
  await assert.rejects(
    loadIdentity(dir),
    failsWith('auth.required', /identity\.pem does not exist.*sigilwatch-agent enroll/),
  );
  await makeKeys(identityPaths(dir).key);
  await assert.rejects(loadIdentity(dir), failsWith('auth.required', /collector\.json does not exist/));
});

test('damaged files are named, and their contents are not shown', async () => {
  const { paths } = await enrolled();
  const pem = await readFile(paths.key, 'utf8');
  for (const damage of ['', 'hello', pem.slice(0, 60), pem.replace(/[A-Za-z]{4}/, '****')]) {
    await writeFile(paths.key, damage);
    await assert.rejects(loadIdentity(dir), failsWith('auth.key_file', /identity\.pem is not an Ed25519 private key/));
  }
  await writeFile(paths.key, pem);
  for (const damage of ['', '{}', JSON.stringify({ ...pinned, vkey: 'x' }), JSON.stringify({ ...pinned, more: 1 })]) {
    await writeFile(paths.enrolment, damage);
    await assert.rejects(loadIdentity(dir), failsWith('auth.key_file', /collector\.json is damaged/));
  }
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
