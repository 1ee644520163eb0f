import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { access, constants, type FileHandle, mkdir, open, readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError, errnoOf } from '../common/errors.ts';
import { nodeName, ownText } from '../common/fields.ts';
import { generateKeyPair, type KeyPair } from '../common/keys.ts';
import { parseVerifierKey } from '../common/note.ts';
import { shellWord } from '../common/shell-word.ts';
import { makeFolder, renameDurably, writeDurably } from './data/durable-file.ts';

/** What enrolment pinned: who we are there, where the collector is, and the name and C2SP verifier key of its log. */
const enrolment = z.strictObject({ node: nodeName, url: z.url(), origin: ownText, vkey: ownText });

export type Enrolment = z.infer<typeof enrolment>;

/** Who this node is, and the one collector it speaks to. */
export interface Identity {
  readonly node: string;
  readonly keys: KeyPair;
  readonly collector: Omit<Enrolment, 'node'>;
}

/**
 * The files of an identity. A new key waits as `pendingKey` until a collector has confirmed it, so an interrupted
 * enrolment neither loses the key it was made for nor disturbs the one in force.
 */
export interface IdentityPaths {
  readonly key: string;
  readonly pendingKey: string;
  readonly enrolment: string;
}

export function identityPaths(dataDir: string): IdentityPaths {
  return {
    key: join(dataDir, 'identity.pem'),
    pendingKey: join(dataDir, 'identity.pending.pem'),
    enrolment: join(dataDir, 'collector.json'),
  };
}

/**
 * The identity of an enrolled node.
 * @throws AppError `auth.required` when the node is not enrolled, `auth.key_file` when a file is damaged or others can
 *   read it.
 */
export async function loadIdentity(dataDir: string): Promise<Identity> {
  const paths = identityPaths(dataDir);
  const [keys, pinned] = [await readKeys(paths.key), await readEnrolment(paths.enrolment)];
  if (keys === undefined || pinned === undefined) {
    throw new AppError(
      'auth.required',
      `this node is not enrolled (${keys === undefined ? paths.key : paths.enrolment} does not exist); ` +
        'run "sigilwatch-agent enroll --collector URL --token TOKEN"',
    );
  }
  const { node, ...collector } = pinned;
  return { node, keys, collector };
}

/** Name this node is enrolled under, if it is. @throws AppError `auth.key_file`. */
export async function enrolledNode(dataDir: string): Promise<string | undefined> {
  return (await readEnrolment(identityPaths(dataDir).enrolment))?.node;
}

/** The key pair in a PKCS#8 PEM file; undefined when there is none. @throws AppError `auth.key_file`. */
export async function readKeys(path: string): Promise<KeyPair | undefined> {
  const pem = await readPrivate(path);
  if (pem === undefined) return undefined;
  const privateKey = parseKey(path, pem);
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

/** What enrolment pinned; undefined when there is nothing. @throws AppError `auth.key_file`. */
export async function readEnrolment(path: string): Promise<Enrolment | undefined> {
  const text = await readPrivate(path);
  if (text === undefined) return undefined;
  try {
    const pinned = enrolment.parse(JSON.parse(text));
    parseVerifierKey(pinned.vkey);
    return pinned;
  } catch (cause) {
    throw new AppError('auth.key_file', `${path} is damaged; enrol this node again with --force`, { cause });
  }
}

/** A new Ed25519 key from the operating system's randomness, durable at `path` before it is used for anything. */
export async function makeKeys(path: string): Promise<KeyPair> {
  const keys = generateKeyPair();
  await writeDurably(path, keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  return keys;
}

/**
 * Puts a confirmed enrolment in force. The pin goes first: a crash in between leaves the pending key where the next
 * `enroll` finds it.
 */
export async function adoptIdentity(paths: IdentityPaths, pinned: Enrolment, key: 'key' | 'pendingKey'): Promise<void> {
  await writeDurably(paths.enrolment, `${JSON.stringify(pinned, null, 2)}\n`);
  if (key === 'pendingKey') await renameDurably(paths.pendingKey, paths.key);
}

/**
 * Makes the data directory, closed to others, if it is not there.
 * @throws AppError `validation.config` when it cannot be made or written, naming it and the reason.
 */
export async function ensureDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dirname(resolve(dataDir)), { recursive: true });
    await makeFolder(dataDir);
    await requireUsable(dataDir);
  } catch (cause) {
    throw new AppError(
      'validation.config',
      `the data directory ${dataDir} cannot be used (${errnoOf(cause)}); let it belong to the agent's user, or name another with --data-dir`,
      { cause, details: { dataDir } },
    );
  }
}

/** access(2) goes by who started us; a command of root that acts as the owner of the folder has what the folder says. */
async function requireUsable(dataDir: string): Promise<void> {
  if (process.getuid?.() === process.geteuid?.()) {
    return access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  }
  await readdir(dataDir);
}

function parseKey(path: string, pem: string): KeyObject {
  try {
    const key = createPrivateKey({ key: pem, format: 'pem' });
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch {
    // Told below; the cause could quote the file.
  }
  throw new AppError(
    'auth.key_file',
    `${path} is not an Ed25519 private key in PKCS#8 PEM; restore it from a backup or enrol again with --force`,
  );
}

/** A file nobody else can read or has written; undefined when there is none. */
async function readPrivate(path: string): Promise<string | undefined> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw new AppError('auth.key_file', `cannot read ${path} (${errnoOf(cause)}); it must belong to the agent's user`, {
      cause,
    });
  }
  try {
    await requirePrivate(path, file);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** What root is to run, and others with its help. A file that changed hands would stop the agent whose it is. */
function asOwner(path: string): string {
  const as = process.geteuid?.() === 0 ? 'runuser -u' : 'sudo -u';
  return `${as} "$(stat -c %U ${shellWord(path)})" -- sigilwatch-agent ...`;
}

/** Checked on the open file, so that what was judged is what is read. */
async function requirePrivate(path: string, file: FileHandle): Promise<void> {
  const { mode, uid } = await file.stat();
  const ownUid = process.geteuid?.() ?? uid;
  if (uid !== ownUid) {
    throw new AppError(
      'auth.key_file',
      `${path} belongs to user ${uid}, but this runs as ${ownUid}; run: ${uid === 0 ? `chown ${ownUid} ${shellWord(path)}` : asOwner(path)}`,
      { details: { path, uid, ownUid } },
    );
  }
  if ((mode & 0o077) === 0) return;
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  throw new AppError(
    'auth.key_file',
    `${path} can be read by others (mode ${octal}); run: chmod 600 ${shellWord(path)}`,
    {
      details: { path, mode: octal },
    },
  );
}
