import { createHash } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { type FileHandle, open, readdir, readlink, stat } from 'node:fs/promises';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Artifact, type ReadingProgress, sha256Of, type TreeEntry, treeText } from './artifact.ts';

const slash = Buffer.from('/');
const ownerMayRun = 0o100;

/** What is at a path, before any of it is read. */
export interface FoundFile {
  readonly isFolder: boolean;
  readonly bytes: number;
}

/** @returns undefined where there is nothing. @throws AppError `validation.request` for what is neither file nor folder. */
export async function findFile(path: string): Promise<FoundFile | undefined> {
  const found = await stat(path).catch((thrown: unknown) => {
    if (errnoOf(thrown) === 'ENOENT' || errnoOf(thrown) === 'ENOTDIR') return undefined;
    throw unreadable(path, thrown);
  });
  if (found === undefined) return undefined;
  if (!found.isFile() && !found.isDirectory()) throw neither(path);
  return { isFolder: found.isDirectory(), bytes: found.size };
}

/** @throws AppError `validation.request` when it cannot be read, `state.conflict` when it changes meanwhile. */
export async function hashFile(path: string, onProgress: ReadingProgress): Promise<Artifact> {
  const { sha256, bytes } = await hashRegular({ at: path, flags: 0, buffer: newBuffer() }, onProgress);
  return { kind: 'file', sha256, bytes, parts: 1, tags: [] };
}

export interface HashedTree {
  readonly artifact: Artifact;
  /** What the hash is of. */
  readonly text: string;
}

/**
 * Everything below a folder. Links are not followed; what is neither file, folder nor link cannot be part of an artifact.
 * @throws AppError `validation.request` naming what cannot be read or hashed, `state.conflict` when a file changes meanwhile,
 *   `validation.too_large` beyond `limits.maxArtifactFiles`.
 */
export async function hashTree(root: string, onProgress: ReadingProgress): Promise<HashedTree> {
  const found: Found[] = [];
  await walk(Buffer.from(root), Buffer.alloc(0), found);
  let of = 0;
  for (const file of found) if (file.type === 'file') of += (await stat(file.at).catch(() => undefined))?.size ?? 0;
  let read = 0;
  const buffer = newBuffer();
  const entries: TreeEntry[] = [];
  for (const { type, at, path } of found) {
    if (type === 'dir') entries.push({ type, path, sha256: null, bytes: null });
    else if (type === 'link') entries.push({ type, path, ...(await hashLink(at)) });
    else {
      const before = read;
      const reading = { at, flags: constants.O_NOFOLLOW, buffer };
      const { sha256, bytes, mayRun } = await hashRegular(reading, (now) => onProgress(before + now, of));
      read = before + bytes;
      entries.push({ type: mayRun ? 'exe' : 'file', path, sha256, bytes });
    }
  }
  const text = treeText(entries);
  const parts = entries.filter(({ type }) => type === 'file' || type === 'exe').length;
  return { artifact: { kind: 'tree', sha256: sha256Of(text), bytes: read, parts, tags: [] }, text };
}

interface Found {
  readonly type: 'file' | 'dir' | 'link';
  readonly at: Buffer;
  readonly path: Buffer;
}

async function walk(folder: Buffer, below: Buffer, found: Found[]): Promise<void> {
  const there = await readdir(folder, { withFileTypes: true, encoding: 'buffer' }).catch((thrown: unknown) => {
    throw unreadable(folder, thrown);
  });
  for (const entry of there) {
    const at = Buffer.concat([folder, slash, entry.name]);
    const path = below.length === 0 ? entry.name : Buffer.concat([below, slash, entry.name]);
    const type = typeOf(entry);
    if (type === undefined) throw neither(at);
    found.push({ type, at, path });
    if (found.length > limits.maxArtifactFiles) throw tooMany(folder);
    if (type === 'dir') await walk(at, path, found);
  }
}

function typeOf(entry: Dirent<Buffer>): Found['type'] | undefined {
  if (entry.isFile()) return 'file';
  if (entry.isDirectory()) return 'dir';
  return entry.isSymbolicLink() ? 'link' : undefined;
}

async function hashLink(at: Buffer): Promise<Pick<TreeEntry, 'sha256' | 'bytes'>> {
  const target = await readlink(at, { encoding: 'buffer' }).catch((thrown: unknown) => {
    throw unreadable(at, thrown);
  });
  return { sha256: sha256Of(target), bytes: target.length };
}

interface HashedFile {
  readonly sha256: string;
  readonly bytes: number;
  readonly mayRun: boolean;
}

interface Reading {
  readonly at: string | Buffer;
  /** Beside those that every file is opened with. */
  readonly flags: number;
  /** Shared by all that are read one after the other. */
  readonly buffer: Buffer;
}

const newBuffer = (): Buffer => Buffer.allocUnsafe(limits.artifactReadBytes);

/** One descriptor from the first look to the last, so that it is one file whatever its name comes to stand for. */
async function hashRegular(reading: Reading, onProgress: ReadingProgress): Promise<HashedFile> {
  const { at, flags } = reading;
  // Not waiting for the other end of a pipe that may have come in its place.
  const file = await open(at, constants.O_RDONLY | constants.O_NONBLOCK | flags).catch((thrown: unknown) => {
    throw unreadable(at, thrown);
  });
  try {
    return await hashOpen(file, reading, onProgress);
  } finally {
    await file.close();
  }
}

async function hashOpen(file: FileHandle, { at, buffer }: Reading, onProgress: ReadingProgress): Promise<HashedFile> {
  const before = await file.stat({ bigint: true });
  if (!before.isFile()) throw neither(at);
  const hash = createHash('sha256');
  let bytes = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null).catch((thrown: unknown) => {
      throw unreadable(at, thrown);
    });
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    bytes += bytesRead;
    // One that grows as fast as it is read would have no end.
    if (bytes > before.size) throw changed(at);
    onProgress(bytes, Number(before.size));
  }
  const after = await file.stat({ bigint: true });
  const same = after.size === before.size && after.mtimeNs === before.mtimeNs && BigInt(bytes) === before.size;
  if (!same) throw changed(at);
  return { sha256: hash.digest('hex'), bytes, mayRun: (Number(before.mode) & ownerMayRun) !== 0 };
}

function changed(path: string | Buffer): AppError {
  return new AppError('state.conflict', `${String(path)} changed while it was read; hash it when it is finished`);
}

function unreadable(path: string | Buffer, cause: unknown): AppError {
  return new AppError('validation.request', `cannot read ${String(path)}: ${errnoOf(cause) ?? String(cause)}`, {
    cause,
  });
}

function neither(path: string | Buffer): AppError {
  return new AppError(
    'validation.request',
    `${String(path)} is neither a file, a folder nor a link: it cannot be hashed`,
  );
}

function tooMany(folder: Buffer): AppError {
  const { maxArtifactFiles } = limits;
  return new AppError('validation.too_large', `more than ${maxArtifactFiles} files and folders, at ${String(folder)}`);
}
