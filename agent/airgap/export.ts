import { createHash } from 'node:crypto';
import { lstat, mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { entryLine, linesOf, maxEntryLineBytes, readEntryLine } from '../../common/bundle/lines.ts';
import {
  type BundlePart,
  type EntriesManifest,
  entriesManifest,
  manifestDigest,
  manifestFile,
  openManifest,
  sealManifest,
} from '../../common/bundle/manifest.ts';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { type ChainHead, headAfter, parseLogged } from '../../common/entry.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { fingerprint, type KeyPair, verifyBytes } from '../../common/keys.ts';
import { syncFolder, writeDurably } from '../data/durable-file.ts';
import { type ExportBook, readBook, writeBook } from './book.ts';
import { manifestText, nameDurably, namesIn, piecesOf, unwritable } from './files.ts';
import { createPart, type PartWriter, partName } from './part-writer.ts';
import type { ExportSource, OutboxLook } from './source.ts';

export interface ExportOptions {
  readonly dataDir: string;
  readonly node: string;
  readonly keys: KeyPair;
  /** Name of the log that the node is enrolled with. */
  readonly origin: string;
  readonly version: string;
  readonly source: ExportSource;
  /** The folder that gets a folder with the bundle. */
  readonly to: string;
  readonly maxPartBytes: number;
  readonly maxParts: number;
  readonly clock: Clock;
  /** Hears how many entries of how many are written. Throws to stop. */
  readonly onProgress: (done: number, of: number) => void;
}

export interface Exported {
  readonly folder: string;
  readonly number: number;
  /** Numbers of the first and the last entry; null for none. */
  readonly entries: { readonly first: number; readonly last: number } | null;
  readonly parts: number;
  readonly bytes: number;
  /** Parts that an earlier run had written. */
  readonly resumed: number;
  /** False where the outbox lost its place: the bundle asks for it, and the next one will have the entries. */
  readonly anchored: boolean;
  /** References of the images that it asks for. */
  readonly images: readonly string[];
}

/**
 * Writes what the outbox holds to a folder, and lets go of nothing.
 *
 * Crash points: parts get their names one by one when they are on disk, and the folder its name last. A run that was killed is taken up
 * by the next one with the same folder: whole parts are kept if they are still what the outbox says.
 * @throws AppError `state.conflict` when it cannot be written, or entries were acknowledged meanwhile: run again.
 */
export async function exportBundle(options: ExportOptions): Promise<Exported> {
  const { dataDir, node, source, to } = options;
  await requireFolder(to);
  const look = await source.look();
  const { number, book } = await takeNumber(options);
  const path = join(to, bundleName(node, number));
  const folder = `${path}.unfinished`;
  await beginFolder(folder);
  const kept = await keptParts(folder, look, options);
  const parts = look.anchored ? [...kept.parts, ...(await writeParts(folder, kept, look, options))] : [];
  const body = manifestOf(number, { look, parts, book }, options);
  const text = sealManifest(body, options.keys.privateKey);
  await writeDurably(join(folder, manifestFile), text, 0o644)
    .then(() => syncFolder(folder))
    .catch((cause: unknown) => Promise.reject(unwritable(folder, cause)));
  await nameDurably(folder, path);
  await writeBook(dataDir, { v: 1, begun: null, last: { number, sha256: manifestDigest(text) } });
  const last = parts.at(-1)?.last;
  return {
    ...{ folder: path, number, parts: parts.length, resumed: kept.parts.length, anchored: look.anchored },
    entries: last === undefined ? null : { first: look.acked.seq + 1, last },
    bytes: parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    images: look.images.map(({ image }) => image),
  };
}

export function bundleName(node: string, number: number): string {
  return `entries-${node}-${String(number).padStart(6, '0')}`;
}

/** The number of a bundle that was begun in this folder, or the next one; noted before anything is written. */
async function takeNumber({ dataDir, node, to, keys }: ExportOptions): Promise<{ number: number; book: ExportBook }> {
  const read = await readBook(dataDir);
  const { begun } = read;
  if (begun !== null && (await isThere(join(to, `${bundleName(node, begun)}.unfinished`)))) {
    return { number: begun, book: read };
  }
  const book = begun === null ? read : await completed(read, begun, join(to, bundleName(node, begun)), keys);
  let number = Math.max(begun ?? 0, book.last?.number ?? 0) + 1;
  // Of a node whose book was lost: what it made before keeps its name.
  while (await isThere(join(to, bundleName(node, number)))) number += 1;
  await writeBook(dataDir, { ...book, begun: number });
  return { number, book };
}

/**
 * The folder that a bundle is made in, new or of an earlier run. What is not a part of the bundle is going to be removed from it, so it must
 * not be a link that leads elsewhere.
 */
async function beginFolder(folder: string): Promise<void> {
  await mkdir(folder).catch(async (cause: unknown) => {
    if (errnoOf(cause) !== 'EEXIST') throw unwritable(folder, cause);
    if ((await lstat(folder)).isDirectory()) return;
    throw new AppError('state.conflict', `${folder} is no folder: nothing of ours, so remove it`, { cause });
  });
}

/** A run that was killed between its last two steps has left a complete bundle that is not in the book. */
async function completed(book: ExportBook, number: number, folder: string, keys: KeyPair): Promise<ExportBook> {
  const text = (await isThere(folder)) ? await manifestText(folder).catch(() => undefined) : undefined;
  if (text === undefined) return book;
  try {
    const { body, sha256 } = openManifest(text, entriesManifest);
    const isOurs = body.fingerprint === fingerprint(keys.publicKey) && body.number === number;
    return isOurs ? { v: 1, begun: null, last: { number, sha256 } } : book;
  } catch {
    return book;
  }
}

interface Kept {
  readonly parts: readonly BundlePart[];
  /** Where the chain stands after them. */
  readonly head: ChainHead;
}

/** Parts of an earlier run, as far as they go on from what is acknowledged now, entry by entry; all else is removed. */
async function keptParts(folder: string, { acked, anchored }: OutboxLook, options: ExportOptions): Promise<Kept> {
  const parts: BundlePart[] = [];
  let head = acked;
  for (;;) {
    const file = partName(parts.length + 1);
    const read = anchored ? await readPart(folder, file, { head, options }) : undefined;
    if (read === undefined) break;
    parts.push(read.part);
    head = read.head;
  }
  const known = new Set(parts.map(({ file }) => file));
  for (const name of await namesIn(folder)) {
    if (!known.has(name)) await rm(join(folder, name), { force: true, recursive: true });
  }
  return { parts, head };
}

/** A part that goes on after `head`; undefined for one that is missing, damaged, or of another chain. */
async function readPart(
  folder: string,
  file: string,
  { head: before, options }: { readonly head: ChainHead; readonly options: ExportOptions },
): Promise<{ readonly part: BundlePart; readonly head: ChainHead } | undefined> {
  const digest = createHash('sha256');
  let head = before;
  let sizeBytes = 0;
  try {
    for await (const { bytes } of linesOf(piecesOf(join(folder, file)), file, maxEntryLineBytes)) {
      const carried = readEntryLine(bytes);
      if (carried === undefined) return undefined;
      const entry = parseLogged(carried.bytes);
      if (entry.seq !== head.seq + 1 || entry.prev !== head.hash || entry.author !== options.node) return undefined;
      if (!verifyBytes(options.keys.publicKey, carried.bytes, carried.signature)) return undefined;
      head = headAfter({ entry, bytes: carried.bytes });
      const line = entryLine(carried);
      digest.update(line);
      sizeBytes += line.length;
    }
  } catch (thrown) {
    if (thrown instanceof AppError) return undefined;
    throw thrown;
  }
  if (head === before) return undefined;
  const part = { file, sizeBytes, sha256: digest.digest('hex'), first: before.seq + 1, last: head.seq };
  return { part, head };
}

/** Up to the entry that was the last one when the export began. */
async function writeParts(folder: string, kept: Kept, look: OutboxLook, options: ExportOptions): Promise<BundlePart[]> {
  const { source, maxPartBytes, maxParts, onProgress } = options;
  const { acked, head } = look;
  const parts: BundlePart[] = [];
  let writer: PartWriter | undefined;
  let after = kept.head.seq;
  try {
    while (after < head.seq) {
      const entries = (await source.read(after)).filter(({ seq }) => seq <= head.seq);
      if (entries[0]?.seq !== after + 1) throw acknowledgedMeanwhile(after + 1);
      for (const entry of entries) {
        const line = entryLine(entry);
        if (writer !== undefined && writer.sizeBytes + line.length > maxPartBytes) {
          parts.push(await writer.close());
          writer = undefined;
        }
        const number = kept.parts.length + parts.length + 1;
        if (number > maxParts) throw await tooManyParts(folder, maxParts);
        writer ??= await createPart(folder, number, entry.seq);
        await writer.add(line, entry.seq);
        after = entry.seq;
      }
      onProgress(after - acked.seq, head.seq - acked.seq);
    }
    if (writer !== undefined) parts.push(await writer.close());
    return parts;
  } catch (thrown) {
    await writer?.abandon().catch(() => {});
    throw thrown;
  }
}

interface ManifestParts {
  readonly look: OutboxLook;
  readonly parts: readonly BundlePart[];
  readonly book: ExportBook;
}

function manifestOf(number: number, { look, parts, book }: ManifestParts, options: ExportOptions): EntriesManifest {
  const { node, keys, origin, version, clock } = options;
  return {
    ...{ v: 1, type: 'entries', node, fingerprint: fingerprint(keys.publicKey), origin, version },
    madeAt: rfc3339(clock.now()),
    ...{ number, previous: book.last, parts: [...parts] },
    ...{ acked: look.acked, checkpoint: look.checkpoint, holding: look.holding },
    ...(look.images.length > 0 && { images: look.images }),
  };
}

/** Small parts would be taken up by the next run: it begins anew. */
async function tooManyParts(folder: string, maxParts: number): Promise<AppError> {
  await rm(folder, { recursive: true, force: true });
  return new AppError(
    'validation.request',
    `more than ${maxParts} parts are too many: choose a larger --max-part-bytes`,
  );
}

async function requireFolder(path: string): Promise<void> {
  const found = await stat(path).catch((cause: unknown) => {
    if (errnoOf(cause) === 'EACCES') throw unwritable(path, cause);
    return undefined;
  });
  if (found?.isDirectory() === true) return;
  throw new AppError(
    'validation.request',
    `${path} is no folder: name one that is there, as where the stick is mounted`,
  );
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

function acknowledgedMeanwhile(seq: number): AppError {
  return new AppError(
    'state.conflict',
    `entry ${seq} has left the outbox meanwhile: the collector has acknowledged it, so it can be reached. Run it again for what is left`,
    { retryable: true },
  );
}
