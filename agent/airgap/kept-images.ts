import { hash } from 'node:crypto';
import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { imageParts, type ReturnedFile, type ReturnManifest } from '../../common/bundle/manifest.ts';
import { errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { syncFolder } from '../data/durable-file.ts';
import { copyInto, nameDurably, piecesOf, unwritable } from './files.ts';

/** Bytes of the disk that a bundle takes beside its own files while its images are put together, one after another. */
export function roomToPutTogether(manifest: Pick<ReturnManifest, 'files'>): number {
  const inParts = imageParts(manifest).filter((parts) => parts.length > 1);
  return Math.max(0, ...inParts.map((parts) => parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)));
}

/**
 * Puts the image archives of a bundle where images are looked for; one that came in parts is put together. One that is there already
 * stays.
 * Crash points: an archive gets its name when it is whole, and only then its parts go.
 * @throws AppError `state.conflict`
 */
export async function keepImages(folder: string, manifest: ReturnManifest, imagesDir: string): Promise<string[]> {
  const images = imageParts(manifest);
  const refuse = (cause: unknown) => Promise.reject(unwritable(imagesDir, cause));
  if (images.length > 0) await mkdir(imagesDir, { recursive: true, mode: 0o700 }).catch(refuse);
  const kept: string[] = [];
  for (const parts of images) {
    const path = join(imagesDir, `carried-${nameOf(parts)}.tar`);
    const sources = parts.map(({ file }) => join(folder, file));
    if (await isThere(path)) await broughtAgain(path);
    else await putTogether(sources, path).catch(refuse);
    // The room is needed for the next one. A run after this one finds the archive.
    for (const source of sources) await rm(source, { force: true }).catch(refuse);
    kept.push(path);
  }
  if (kept.length > 0) await syncFolder(imagesDir).catch(refuse);
  return kept;
}

function nameOf(parts: readonly ReturnedFile[]): string {
  const [first, ...more] = parts.map(({ sha256 }) => sha256);
  const whole = more.length === 0 ? (first ?? '') : hash('sha256', [first, ...more].join(' '), 'hex');
  return whole.slice(0, 16);
}

async function putTogether(sources: readonly string[], path: string): Promise<void> {
  const [only, ...more] = sources;
  if (only !== undefined && more.length === 0) return rename(only, path);
  const unfinished = `${path}.unfinished`;
  await rm(unfinished, { force: true });
  await copyInto(unfinished, async (write) => {
    for (const source of sources) for await (const piece of piecesOf(source)) await write(piece);
  });
  await nameDurably(unfinished, path);
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/** So that its time begins anew. */
async function broughtAgain(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => {});
}

/** An archive that a bundle brought. */
interface KeptArchive {
  readonly name: string;
  /** When it came last, Unix milliseconds. */
  readonly cameMs: number;
}

export interface Tidying {
  readonly nowMs: number;
  /** Whether the engine has every image that is wanted here, as far as it says. Which archive has which, no name tells. */
  readonly isAllThere: boolean;
}

/**
 * Archives that go: those that came long ago while the engine lacks nothing, and the oldest ones of too many.
 * @returns their names
 */
export function archivesToDrop(archives: readonly KeptArchive[], { nowMs, isAllThere }: Tidying): readonly string[] {
  const newestFirst = [...archives].sort((a, b) => b.cameMs - a.cameMs || (a.name < b.name ? -1 : 1));
  const goes = ({ cameMs }: KeptArchive, at: number) =>
    at >= limits.carriedImagesKept || (isAllThere && nowMs - cameMs > limits.carriedImagesKeptMs);
  return newestFirst.filter(goes).map(({ name }) => name);
}

const ofBundles = /^carried-[0-9a-f]{16}\.tar$/;
const leftOver = /^carried-[0-9a-f]{16}\.tar\.unfinished$/;

/**
 * Removes archives that bundles brought and that are not needed any more, and what a crash has left of putting one together. What somebody
 * else has put there stays. To be called when none is put together. Never rejects.
 */
export async function tidyImages(
  imagesDir: string,
  { logger, ...when }: Tidying & { readonly logger: Logger },
): Promise<void> {
  try {
    const names = await readdir(imagesDir);
    const archives: KeptArchive[] = [];
    for (const name of names.filter((one) => ofBundles.test(one))) {
      archives.push({ name, cameMs: (await stat(join(imagesDir, name))).mtimeMs });
    }
    const dropped = archivesToDrop(archives, when);
    for (const name of [...dropped, ...names.filter((one) => leftOver.test(one))]) {
      await rm(join(imagesDir, name), { force: true });
    }
    if (dropped.length > 0) logger.info('images.dropped', { archives: dropped });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') logger.warn('images.not_dropped', { path: imagesDir, error });
  }
}
