import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { amount } from '../../common/amount.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { printable, printableJson } from '../../common/printable.ts';
import type { Artifact, ArtifactKind, ReadingProgress } from '../artifacts/artifact.ts';
import { saveImage } from '../artifacts/engine-image.ts';
import { findFile, hashFile, hashTree } from '../artifacts/fs-tree.ts';
import { hashSavedImage, NotAnImage } from '../artifacts/saved-image.ts';
import { writeNewFile } from '../data/new-file.ts';
import type { CommandOutput } from './context.ts';
import { progressBar } from './progress.ts';

export interface ArtifactHashOptions {
  readonly as?: ArtifactKind;
  /** Socket of the engine that images are asked of. */
  readonly socket?: string;
  /** File for what the hash of a tree is of. */
  readonly listing?: string;
}

export interface ArtifactWorld {
  readonly json: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: CommandOutput;
  readonly stderr: CommandOutput;
}

interface Hashed {
  readonly artifact: Artifact;
  /** Of a tree. */
  readonly listing?: string;
}

/** Says what an artifact is known by: of a file, a folder or a saved image, or of an image that the local engine has. */
export async function artifactHash(
  world: ArtifactWorld,
  target: string,
  options: ArtifactHashOptions,
): Promise<number> {
  const artifact = await hashNamed(world, target, options);
  world.stdout.write(world.json ? printableJson(hashFields(artifact, target)) : hashLine(artifact, target));
  return exitCodes.done;
}

/** Hashes what `target` names, with a bar on a terminal; writes the listing where one is wished for. */
export async function hashNamed(
  world: Pick<ArtifactWorld, 'env' | 'stderr'>,
  target: string,
  options: ArtifactHashOptions,
): Promise<Artifact> {
  const wanted = options.as;
  const bar = progressBar(world.stderr, 'MB');
  const onProgress: ReadingProgress = (bytes, of) => bar(Math.floor(bytes / bytesPerMb), Math.ceil(of / bytesPerMb));
  const reading = { socketPath: socketOf(world, options), onProgress };
  const { artifact, listing } = await hashTarget(target, wanted, reading).finally(() => bar(1, 1));
  if (options.listing !== undefined) await writeListing(options.listing, listing);
  return artifact;
}

export function hashFields({ kind, sha256, bytes, parts, tags }: Artifact, target: string) {
  return { artifact: `sha256:${sha256}`, kind, bytes, parts, tags, of: target };
}

export function hashLine(artifact: Artifact, target: string): string {
  return `sha256:${artifact.sha256}  ${described(artifact)}  ${printable(target)}\n`;
}

const bytesPerMb = 1_000_000;

interface Reading {
  readonly socketPath: string;
  readonly onProgress: ReadingProgress;
}

async function hashTarget(target: string, wanted: ArtifactKind | undefined, reading: Reading): Promise<Hashed> {
  const found = await findFile(target);
  if (found === undefined && (wanted === undefined || wanted === 'image')) return hashEngineImage(target, reading);
  if (found === undefined) throw new AppError('resource.not_found', `there is no ${target}`);
  if (found.isFolder !== (wanted === 'tree') && (found.isFolder || wanted === 'tree') && wanted !== undefined)
    throw new AppError(
      'validation.request',
      `${target} is a ${found.isFolder ? 'folder' : 'file'}, not ${named[wanted]}`,
    );
  if (found.isFolder) {
    const { artifact, text } = await hashTree(target, reading.onProgress);
    return { artifact, listing: text };
  }
  if (wanted === 'file' || (wanted === undefined && !(await looksLikeTar(target))))
    return { artifact: await hashFile(target, reading.onProgress) };
  return { artifact: await hashArchive(target, found.bytes, wanted, reading) };
}

const named: Readonly<Record<ArtifactKind, string>> = { file: 'a file', tree: 'a folder', image: 'a saved image' };

/** A tar archive that is no image is a file like any other. */
async function hashArchive(
  path: string,
  of: number,
  wanted: ArtifactKind | undefined,
  reading: Reading,
): Promise<Artifact> {
  const { onProgress } = reading;
  try {
    return await hashSavedImage(createReadStream(path), path, (bytes) => onProgress(bytes, of));
  } catch (thrown) {
    if (wanted === undefined && thrown instanceof NotAnImage) return hashFile(path, onProgress);
    if (wanted !== undefined || !(thrown instanceof AppError)) throw thrown;
    throw new AppError(thrown.code, `${thrown.message} ("--as file" hashes it as it is)`, { cause: thrown });
  }
}

async function hashEngineImage(image: string, { socketPath, onProgress }: Reading): Promise<Hashed> {
  const { stream, close } = await saveImage(socketPath, image);
  try {
    // How long it will be, the engine does not say.
    return { artifact: await hashSavedImage(stream, image, (bytes) => onProgress(bytes, Number.POSITIVE_INFINITY)) };
  } finally {
    await close();
  }
}

/** POSIX.1-1988 and later: `ustar` where the first member's header says how it is to be read. */
async function looksLikeTar(path: string): Promise<boolean> {
  const file = await open(path).catch((cause: unknown) => {
    throw new AppError('validation.request', `cannot read ${path}: ${errnoOf(cause) ?? String(cause)}`, { cause });
  });
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(5), 0, 5, 257);
    return bytesRead === 5 && buffer.toString('latin1') === 'ustar';
  } finally {
    await file.close();
  }
}

const unixScheme = 'unix://';

function socketOf({ env }: Pick<ArtifactWorld, 'env'>, { socket }: ArtifactHashOptions): string {
  if (socket !== undefined) return socket;
  const host = env.DOCKER_HOST;
  return host?.startsWith(unixScheme) ? host.slice(unixScheme.length) : '/var/run/docker.sock';
}

async function writeListing(path: string, listing: string | undefined): Promise<void> {
  if (listing === undefined)
    throw new AppError('validation.request', '--listing is for folders: other artifacts are no list of files');
  await writeNewFile(path, [listing]);
}

function described({ kind, bytes, parts, tags }: Artifact): string {
  if (kind === 'file') return amount(bytes, 'byte');
  if (kind === 'tree') return `tree of ${amount(parts, 'file')}, ${amount(bytes, 'byte')}`;
  return `image of ${amount(parts, 'layer')}${tags.length === 0 ? '' : ` (${printable(tags.join(', '))})`}`;
}
