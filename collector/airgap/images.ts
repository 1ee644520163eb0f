import { once } from 'node:events';
import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import type { WantedImage } from '../../common/bundle/manifest.ts';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { hashSavedImage } from '../artifacts/saved-image.ts';
import type { ImageEngine } from './engine.ts';
import { piecesOf, type StampedParts } from './files.ts';

/** An image that is to be carried along: by its reference, from the engine of this machine, or a file made by `docker save`. */
export type AskedImage = EngineImage | FileImage;

interface EngineImage {
  readonly from: 'engine';
  readonly reference: string;
}

interface FileImage {
  readonly from: 'file';
  readonly path: string;
}

/** What a person knows it by. */
export function imageName(image: AskedImage): string {
  return image.from === 'engine' ? image.reference : image.path;
}

/** An image that a node asks for and that it does not get, and why. */
export interface LackingImage {
  readonly image: string;
  readonly reason: string;
}

export interface Askable {
  readonly images: readonly AskedImage[];
  readonly lacking: readonly LackingImage[];
}

/**
 * Which of the images that a node asks for it gets: those that the manifest wants there, so that a node cannot have whatever this
 * machine's engine holds, as far as the engine has them. Never rejects.
 */
export async function askable(
  asked: readonly WantedImage[],
  wanted: readonly Pick<WantedImage, 'image' | 'imageId'>[],
  engine: ImageEngine,
): Promise<Askable> {
  const images: AskedImage[] = [];
  const lacking: LackingImage[] = [];
  for (const { image, imageId } of asked) {
    const isWanted = wanted.some((one) => one.image === image && one.imageId === imageId);
    try {
      if (!isWanted) throw new AppError('auth.forbidden', 'the manifest in force here does not want it on that node');
      images.push({ from: 'engine', reference: await referenceOf({ image, imageId }, engine) });
    } catch (thrown) {
      lacking.push({ image, reason: toAppError(thrown).message });
    }
  }
  return { images, lacking };
}

/** What to save a wanted image by: with its name, unless that is another image's than the one it is pinned to. */
async function referenceOf({ image, imageId }: WantedImage, { idOf }: ImageEngine): Promise<string> {
  if (imageId === null) {
    await idOf(image);
    return image;
  }
  const pinned = await idOf(imageId);
  return (await idOf(image).catch(() => undefined)) === pinned ? image : imageId;
}

/**
 * Looks at what was asked for, before anything is done for it.
 * @throws AppError `validation.request` for what can be no image.
 */
export async function requireImages(images: readonly AskedImage[], engine: ImageEngine): Promise<void> {
  if (images.length > limits.maxBundleImages) {
    throw new AppError('validation.request', `${images.length} images are more than ${limits.maxBundleImages}`);
  }
  for (const image of images) await (image.from === 'engine' ? engine.idOf(image.reference) : archiveOf(image.path));
}

/** Where a file that was named really is: links that its owner has made are meant. */
async function archiveOf(path: string): Promise<string> {
  const refuse = (cause: unknown): never => {
    const reason = errnoOf(cause) === 'ENOENT' ? 'is not there' : `cannot be read (${errnoOf(cause) ?? String(cause)})`;
    throw new AppError('validation.request', `--image-archive ${path} ${reason}`, { cause });
  };
  const real = await realpath(path).catch(refuse);
  await access(real, constants.R_OK).catch(refuse);
  const found = await stat(real).catch(refuse);
  if (found.isFile() && found.size > 0) return real;
  const what = found.isFile() ? 'is empty, and no image archive' : 'is no file';
  throw new AppError('validation.request', `--image-archive ${path} ${what}`);
}

export interface WritingImage {
  readonly engine: ImageEngine;
  readonly to: StampedParts;
  /** Hears how many bytes more were written. Throws to stop. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * Writes the archive of an image. What an engine saves is read on the way: every layer and the configuration have to be what the
 * image's id stands for.
 * @throws AppError `validation.request` for one that cannot be had, or is not whole; `validation.too_large`.
 */
export async function writeImage(image: AskedImage, { engine, to, onBytes }: WritingImage): Promise<void> {
  const pieces =
    image.from === 'engine'
      ? checked(engine.save(image.reference), image.reference)
      : piecesOf(await archiveOf(image.path));
  let total = 0;
  for await (const piece of pieces) {
    total += piece.length;
    if (total > limits.maxBundleImageBytes) {
      throw new AppError(
        'validation.too_large',
        `${imageName(image)} has more than ${limits.maxBundleImageBytes} bytes`,
      );
    }
    await to.write(piece);
    onBytes(piece.length);
  }
  if (total === 0) throw new AppError('validation.request', `${imageName(image)} is empty, and no image archive`);
}

/** The same pieces, one after another read as an image archive too; ends with an error where they are none. */
async function* checked(pieces: AsyncGenerator<Buffer, void>, name: string): AsyncGenerator<Buffer, void> {
  const read = new PassThrough();
  const hashed = hashSavedImage(read, name, () => {});
  // It is waited for below; a piece that nobody takes any more must not be waited with.
  let over = false;
  const ended = hashed.then(
    () => undefined,
    (thrown: unknown) => toAppError(thrown),
  );
  void ended.then(() => {
    over = true;
    read.resume();
  });
  try {
    for await (const piece of pieces) {
      if (!over && !read.write(piece)) await Promise.race([once(read, 'drain'), ended]);
      yield piece;
    }
  } finally {
    read.end();
  }
  const wrong = await ended;
  if (wrong !== undefined) throw wrong;
}
