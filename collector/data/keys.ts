import { createPrivateKey, createPublicKey } from 'node:crypto';
import { link, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import { generateKeyPair, type KeyPair } from '../../common/keys.ts';
import { shellWord } from '../../common/shell-word.ts';
import { ensureDataDir } from './data-dir.ts';
import { syncFolder, writeNewDurably } from './durable-file.ts';

/** Permission bits of everybody but the owner. */
const othersMask = 0o077;

export function collectorKeyPath(dataDir: string): string {
  return join(dataDir, 'collector.key');
}

/**
 * The collector's Ed25519 key: signs checkpoints and the collector's own entries. Made at first start; a PKCS#8 PEM file
 * of mode 0600. Losing it ends the ledger, so it belongs into the backup.
 * @throws AppError `auth.key_file` when others may read the file, it is another user's, or it holds no such key.
 */
export async function loadCollectorKey(path: string): Promise<KeyPair> {
  return (await findCollectorKey(path)) ?? (await makeKey(path));
}

/** As {@link loadCollectorKey}, for commands that need the key of a collector that exists: never makes one. */
export async function readCollectorKey(path: string): Promise<KeyPair> {
  const keys = await findCollectorKey(path);
  if (keys !== undefined) return keys;
  throw new AppError(
    'auth.key_file',
    `there is no collector key ${path}: give the collector's --data-dir, or start it once`,
    {
      details: { path },
    },
  );
}

/** The key, if it is there. @throws AppError `auth.key_file` as {@link loadCollectorKey}. */
export async function findCollectorKey(path: string): Promise<KeyPair | undefined> {
  const file = await open(path, 'r').catch((thrown: unknown) => {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw new AppError('auth.key_file', `cannot read the collector key ${path}: ${errnoOf(thrown)}`, { cause: thrown });
  });
  if (file === undefined) return undefined;
  try {
    // Of the open file, so that nobody can swap it between the look and the read.
    requirePrivate(path, await file.stat());
    return parseKey(path, await file.readFile('utf8'));
  } finally {
    await file.close();
  }
}

function requirePrivate(path: string, { mode, uid }: { mode: number; uid: number }): void {
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  if ((mode & othersMask) !== 0) {
    throw new AppError(
      'auth.key_file',
      `others may use the collector key ${path} (mode ${octal}): run "chmod 600 ${shellWord(path)}"`,
      {
        details: { path, mode: octal },
      },
    );
  }
  const self = process.geteuid?.();
  if (self === undefined || self === uid) return;
  throw new AppError(
    'auth.key_file',
    `the collector key ${path} belongs to user ${uid}, not to ${self} who runs this`,
    {
      details: { path, owner: uid },
    },
  );
}

function parseKey(path: string, pem: string): KeyPair {
  try {
    const privateKey = createPrivateKey(pem);
    if (privateKey.asymmetricKeyType === 'ed25519') return { privateKey, publicKey: createPublicKey(privateKey) };
  } catch {
    // The reason would quote key material at worst and say nothing useful at best.
  }
  throw new AppError('auth.key_file', `${path} is not an Ed25519 private key in PEM form; restore it from the backup`, {
    details: { path },
  });
}

/** Complete and on disk before it appears under its name, and never over another: two first starts get one key. */
async function makeKey(path: string): Promise<KeyPair> {
  const pair = generateKeyPair();
  const staging = `${path}.${process.pid}`;
  await ensureDataDir(dirname(path));
  await rm(staging, { force: true });
  await writeNewDurably(staging, pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString());
  try {
    await link(staging, path);
    return pair;
  } catch (thrown) {
    const made = errnoOf(thrown) === 'EEXIST' ? await findCollectorKey(path) : undefined;
    if (made === undefined) throw thrown;
    return made;
  } finally {
    await rm(staging, { force: true });
    await syncFolder(dirname(path));
  }
}
