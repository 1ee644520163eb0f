import { chown, mkdir, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  damagedManifest,
  imageParts,
  manifestFile,
  messagesFile,
  openManifest,
  type ReturnManifest,
  requireSignature,
  returnManifest,
} from '../../common/bundle/manifest.ts';
import { requireStamped } from '../../common/bundle/stamped.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint, type KeyPair } from '../../common/keys.ts';
import type { VerifierKey } from '../../common/note.ts';
import { diskSpace } from '../data/disk.ts';
import { syncFolder } from '../data/durable-file.ts';
import { copyInto, manifestText, nameDurably, namesIn, piecesOf, unwritable } from './files.ts';
import { roomToPutTogether } from './kept-images.ts';

/** Who may take a return bundle, and whom it has to be from. */
export interface Parties {
  readonly node: string;
  readonly keys: KeyPair;
  readonly logKey: VerifierKey;
}

/**
 * The newest return bundle for a node: the folder that is named if it is one, else the one with the highest number in it.
 * @throws AppError `resource.not_found`, `bundle.foreign` where there are others' only, `bundle.damaged`, `validation.request`.
 */
export async function findReturn(dir: string, node: string): Promise<string> {
  const names = await namesIn(dir);
  const all = names.filter((name) => /^return-[a-z0-9-]+-[0-9]{6,}$/.test(name));
  if (all.length === 0 && names.includes(manifestFile)) return dir;
  const own = all.filter((name) => name.replace(/^return-(.*)-[0-9]+$/, '$1') === node).sort(byNumber);
  const newest = own.at(-1);
  if (newest !== undefined) return join(dir, newest);
  if (all.length > 0)
    throw new AppError('bundle.foreign', `${dir} has return bundles for other nodes only: ${all.join(', ')}`);
  const begun = names.find((name) => name.startsWith(`return-${node}-`));
  if (begun !== undefined) {
    throw new AppError(
      'bundle.damaged',
      `${join(dir, begun)} is not complete: run "sigilwatch-collector bundle import" once more`,
    );
  }
  throw new AppError('resource.not_found', `there is no return bundle for ${node} in ${dir}`);
}

function byNumber(a: string, b: string): number {
  return Number(a.slice(a.lastIndexOf('-') + 1)) - Number(b.slice(b.lastIndexOf('-') + 1));
}

/**
 * The manifest of a return bundle that is for this node and from its collector.
 * @throws AppError `bundle.foreign`, `bundle.damaged`.
 */
export async function readReturn(folder: string, { node, keys, logKey }: Parties): Promise<ReturnManifest> {
  const text = await manifestText(folder);
  if (text === undefined) throw damagedManifest('it is missing');
  const opened = openManifest(text, returnManifest);
  const { body } = opened;
  const name = basename(folder);
  if (body.origin !== logKey.name) {
    throw new AppError(
      'bundle.foreign',
      `${name} is from the log ${body.origin}, and this node is enrolled with ${logKey.name}`,
    );
  }
  if (body.node !== node) throw new AppError('bundle.foreign', `${name} is for ${body.node}, and this node is ${node}`);
  if (body.fingerprint !== fingerprint(keys.publicKey)) {
    throw new AppError('bundle.foreign', `${name} is for another key of ${node}: it was enrolled anew since`);
  }
  requireSignature(opened, logKey.publicKey, `the log ${logKey.name}`);
  if (!body.files.some(({ file }) => file === messagesFile)) throw damagedManifest(`it does not name ${messagesFile}`);
  imageParts(body);
  return body;
}

/** Where a bundle waits for the agent: below the data directory, which nobody else can change. */
export function carriedFolder(dataDir: string): string {
  return join(dataDir, 'carried');
}

/** Where a bundle lies until all of it is there. */
export function unfinishedFolder(dataDir: string): string {
  return `${carriedFolder(dataDir)}.unfinished`;
}

/**
 * Copies a bundle to where the agent looks, and checks every byte on the way: a stick may give another answer the second time.
 * One at a time. Crash points: what was copied in part has another name.
 * @throws AppError `bundle.damaged`; `state.conflict`, also when images would leave less room than is to be kept. Nothing is left then.
 */
export async function bringReturn(dataDir: string, brought: Brought): Promise<void> {
  const path = carriedFolder(dataDir);
  const unfinished = unfinishedFolder(dataDir);
  const refuse = (cause: unknown) => Promise.reject(unwritable(unfinished, cause));
  await dropUnfinished(dataDir).catch(refuse);
  await requireRoom(dataDir, brought);
  try {
    await copyReturn(unfinished, brought, await stat(dataDir));
    await rm(path, { recursive: true, force: true }).catch(refuse);
    await nameDurably(unfinished, path);
  } catch (thrown) {
    // The outbox is on the same disk, and may need the room.
    await rm(unfinished, { recursive: true, force: true }).catch(() => {});
    throw thrown;
  }
}

/** Removes what was brought in part. To be called when no import is under way. */
export async function dropUnfinished(dataDir: string): Promise<void> {
  await rm(unfinishedFolder(dataDir), { recursive: true, force: true });
}

/** A bundle that is brought into the data directory. */
export interface Brought {
  readonly folder: string;
  readonly manifest: ReturnManifest;
  /** Bytes of the disk that images must leave. Receipts and orders are small, and make room. */
  readonly keepFreeBytes: number;
  readonly onCopied: (bytes: number) => void;
}

async function requireRoom(dataDir: string, { manifest, keepFreeBytes }: Brought): Promise<void> {
  if (manifest.files.every(({ image }) => image === null)) return;
  const space = await diskSpace(dataDir);
  const needed = roomFor(manifest);
  if (space === undefined || space.freeBytes - needed >= keepFreeBytes) return;
  throw new AppError(
    'state.conflict',
    `the bundle takes ${needed} bytes until its images are in place, and the disk of ${dataDir} has ${space.freeBytes} free, of which the outbox may need ${keepFreeBytes}: ` +
      'make room there, or import at the collector once more without --image, for an answer that takes none',
  );
}

async function copyReturn(
  unfinished: string,
  { folder, manifest, onCopied }: Brought,
  { uid, gid }: { readonly uid: number; readonly gid: number },
): Promise<void> {
  const refuse = (cause: unknown) => Promise.reject(unwritable(unfinished, cause));
  await mkdir(unfinished, { mode: 0o700 }).catch(refuse);
  const text = (await manifestText(folder)) ?? '';
  await copyInto(join(unfinished, manifestFile), async (write) => write(Buffer.from(text)));
  for (const stamp of manifest.files) {
    await copyInto(join(unfinished, stamp.file), (write) =>
      requireStamped(piecesOf(join(folder, stamp.file)), stamp, async (piece) => {
        await write(piece);
        onCopied(piece.length);
      }),
    );
  }
  await giveAway(unfinished, [manifestFile, ...manifest.files.map(({ file }) => file)], { uid, gid });
  await syncFolder(unfinished).catch(refuse);
}

/** Bytes of the disk that a bundle takes while it is taken in. */
export function roomFor(manifest: ReturnManifest): number {
  return bytesOf(manifest) + roomToPutTogether(manifest);
}

/** Bytes of everything in a bundle. */
export function bytesOf({ files }: ReturnManifest): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** What a command leaves belongs to the owner of the data directory. */
async function giveAway(folder: string, names: readonly string[], owner: { uid: number; gid: number }): Promise<void> {
  for (const path of [folder, ...names.map((name) => join(folder, name))]) {
    if ((await stat(path)).uid !== owner.uid) await chown(path, owner.uid, owner.gid);
  }
}

/** The bundle that waits, if one does. */
export async function waitingReturn(dataDir: string): Promise<string | undefined> {
  const path = carriedFolder(dataDir);
  return (await stat(path).catch(() => undefined)) === undefined ? undefined : path;
}

export async function dropReturn(dataDir: string): Promise<void> {
  await rm(carriedFolder(dataDir), { recursive: true, force: true });
}
