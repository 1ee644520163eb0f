import { z } from 'zod';
import type { Drift } from '../drift.ts';
import { AppError, toAppError } from '../errors.ts';
import { clip, nodeName, timestamp } from '../fields.ts';
import { parseImageRef, sameImage } from '../image.ts';
import { limits } from '../limits.ts';

/** The namespace (OpenSSH `PROTOCOL.sshsig`) of signatures that announce changes. */
export const announcementNamespace = 'sigilwatch-change';

/** Stands for all nodes. */
const everyNode = '*';
/** `sha256:` and the id of an image, or a digest that its reference is pinned by. */
const digest = /^sha256:[0-9a-f]{64}$/;

const announcementSchema = z.strictObject({
  node: nodeName.nullable(),
  // As the engine names containers.
  container: z
    .string()
    .max(limits.maxForeignTextChars)
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'the name of a container'),
  image: z
    .string()
    .max(limits.maxForeignTextChars)
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.:/@-]*$/, 'an image reference, or sha256: and 64 lower-case hex digits')
    .refine((text) => !text.startsWith('sha256:') || digest.test(text), 'sha256: and 64 lower-case hex digits'),
  until: timestamp,
});

/** Somebody says that a container will get another image. */
export interface Announcement {
  /** Null for every node. */
  readonly node: string | null;
  readonly container: string;
  /** An image reference, or `sha256:<64 hex>`: the image's id, or the digest that its reference is pinned by. */
  readonly image: string;
  /** RFC 3339 UTC with milliseconds; from then on it says nothing any more. */
  readonly until: string;
}

/**
 * What is signed, byte for byte: one spelling for one announcement, made to be read.
 * @throws AppError `validation.request` for what no announcement can say.
 */
export function announcementText(announcement: Announcement): string {
  const { node, container, image, until } = valid(announcement);
  return `sigilwatch change: ${container} on ${node ?? everyNode} becomes ${image} before ${until}\n`;
}

/**
 * Reads what {@link announcementText} wrote.
 * @throws AppError `validation.request` for any other text.
 */
export function parseAnnouncement(text: string): Announcement {
  const parts = /^sigilwatch change: (\S+) on (\S+) becomes (\S+) before (\S+)\n$/.exec(text);
  if (parts === null)
    throw refused('expected "sigilwatch change: NAME on NODE becomes IMAGE before TIME" and a line end');
  const [, container = '', node = '', image = '', until = ''] = parts;
  return valid({ node: node === everyNode ? null : node, container, image, until });
}

/** The announcement in a text that others wrote; undefined where it announces nothing. */
export function announcementIn(text: string): Announcement | undefined {
  try {
    return parseAnnouncement(text);
  } catch (thrown) {
    if (toAppError(thrown).code === 'validation.request') return undefined;
    throw thrown;
  }
}

function valid(announcement: Announcement): Announcement {
  const parsed = announcementSchema.safeParse(announcement);
  if (parsed.success) return parsed.data;
  throw refused(z.prettifyError(parsed.error));
}

function refused(why: string): AppError {
  return new AppError('validation.request', `not an announced change: ${why}`);
}

/** A drift, and what is known of its container beside it. */
export interface JudgedDrift {
  readonly node: string;
  readonly drift: Drift;
  /** Id of the image that the container runs, where it is known otherwise than by the drift. */
  readonly imageId?: string | undefined;
}

/**
 * Whether a drift is what was announced: the image drift of that container, whose image is exactly the one named, while the
 * announcement holds. Nothing else is: not the container's absence while it is replaced, nor a setting that came with the
 * new image, since an announcement that excused these would excuse whoever hides behind it.
 * @param nowMs Unix milliseconds.
 */
export function isAnnounced(
  { node, container, image, until }: Announcement,
  judged: JudgedDrift,
  nowMs: number,
): boolean {
  const { drift } = judged;
  if (drift.kind !== 'IMAGE_DRIFT' || clip(container) !== drift.container) return false;
  if ((node ?? judged.node) !== judged.node || nowMs >= Date.parse(until)) return false;
  const observed = (field: string) => drift.differences.find((difference) => difference.field === field)?.observed;
  const [reference, imageId] = [observed('image') ?? undefined, observed('image_sha') ?? judged.imageId];
  if (!digest.test(image)) return reference !== undefined && sameImage(image, reference);
  return imageId === image || (reference !== undefined && parseImageRef(reference).digest === image);
}
