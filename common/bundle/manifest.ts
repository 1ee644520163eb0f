import { hash, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { canonicalText, type JsonValue } from '../canonical.ts';
import { decodeBase64 } from '../encoding.ts';
import { AppError } from '../errors.ts';
import { count, hex64, nodeName, ownText, timestamp } from '../fields.ts';
import { signBytes, verifyBytes } from '../keys.ts';
import { limits } from '../limits.ts';
import { heldNote, holding } from '../protocol.ts';

/*
 * What is carried between a node and its collector by hand. A bundle is a folder with a signed manifest, which names every other
 * file by size and SHA-256. See docs/air-gap.md.
 */

export const manifestFile = 'manifest.json';
/** The messages of a return bundle, one a line, as they would come over the socket. */
export const messagesFile = 'messages.jsonl';

const positive = z.int().positive();

const fileStamp = z.strictObject({ file: z.string().max(64), sizeBytes: count, sha256: hex64 });
/** How a file is named in a manifest. */
export type FileStamp = Readonly<z.infer<typeof fileStamp>>;

const part = fileStamp.extend({
  file: z.string().regex(/^part-[0-9]{6}\.entries$/),
  /** Numbers of its first and last entry in the author chain. */
  first: positive,
  last: positive,
});
export type BundlePart = Readonly<z.infer<typeof part>>;

/** An image that a node lacks: as its manifest has it, and the id (`sha256:<64 hex>`) that it is pinned to there. */
export const wantedImage = z.strictObject({
  image: z.string().min(1).max(limits.maxForeignTextChars),
  imageId: z
    .string()
    .regex(/^sha256:[0-9a-f]{64}$/)
    .nullable(),
});
export type WantedImage = Readonly<z.infer<typeof wantedImage>>;

const common = {
  v: z.literal(1),
  node: nodeName,
  /** Of the node's key. */
  fingerprint: z.string().max(64),
  /** Name of the log that the node is enrolled with. */
  origin: z.string().max(256),
  /** By the clock of who made it. */
  madeAt: timestamp,
};

/** From a node: entries of its outbox. */
export const entriesManifest = z.strictObject({
  ...common,
  type: z.literal('entries'),
  /** Of the bundles that this node has made; a number may be left out. */
  number: positive,
  /** The last one that was completed before, by the SHA-256 of its manifest. */
  previous: z.strictObject({ number: positive, sha256: hex64 }).nullable(),
  /** Of the agent. */
  version: z.string().max(64),
  /** The last entry known to be in the ledger: the parts go on after it. */
  acked: z.strictObject({ seq: count, hash: hex64 }),
  /** The last checkpoint the node has accepted. */
  checkpoint: heldNote.nullable(),
  holding: holding.nullable(),
  parts: z.array(part).max(limits.maxBundleParts),
  /** Asked for; left out where none is. */
  images: z.array(wantedImage).min(1).max(limits.maxBundleImages).optional(),
});
export type EntriesManifest = Readonly<z.infer<typeof entriesManifest>>;

/** A checkpoint that a node may hold, and the proof that the one of the bundle continues it. */
const bridge = z.strictObject({ size: count, consistency: z.array(z.base64().length(44)).max(128) });

const returnedFile = fileStamp.extend({
  /** What of an archive does not fit into `image-001.tar` goes on in `image-001.tar.000002`, and so on. */
  file: z.string().regex(/^(messages\.jsonl|image-[0-9]{3}\.tar(\.[0-9]{6})?)$/),
  /** The reference that an image archive was asked for by; null for what is no image. */
  image: ownText.nullable(),
});
export type ReturnedFile = Readonly<z.infer<typeof returnedFile>>;

/** From the collector: its answer to one bundle of entries. */
export const returnManifest = z.strictObject({
  ...common,
  type: z.literal('return'),
  /** Number of the bundle it answers, and the SHA-256 of that one's manifest. */
  number: positive,
  answers: hex64,
  /** The one tree head that everything in it is proved against. */
  checkpoint: heldNote,
  from: z
    .array(bridge)
    .min(1)
    .max(limits.maxReturnedCheckpoints + 1),
  receipts: count,
  orders: count,
  measures: count,
  /** The commit that it brings; null for none. */
  commit: z.string().max(64).nullable(),
  files: z.array(returnedFile).max(limits.maxBundleParts + 1),
});
export type ReturnManifest = Readonly<z.infer<typeof returnManifest>>;

/** A manifest as it was read; nothing of it is believed before {@link requireSignature}. */
export interface OpenedManifest<T> {
  readonly body: T;
  readonly signature: Buffer;
  /** Hex SHA-256 of the file. */
  readonly sha256: string;
}

/** The text of a manifest file, signed. */
export function sealManifest(body: EntriesManifest | ReturnManifest, privateKey: KeyObject): string {
  const signature = signBytes(privateKey, signedBytes(body)).toString('base64');
  return `${canonicalText({ body: jsonOf(body), signature })}\n`;
}

/** Hex SHA-256 of a manifest file. */
export function manifestDigest(text: string): string {
  return hash('sha256', text, 'hex');
}

/**
 * Reads a manifest file. It has one spelling: whatever was changed in it is found, also what means nothing.
 * @throws AppError `bundle.damaged`
 */
export function openManifest<T extends EntriesManifest | ReturnManifest>(
  text: string,
  schema: z.ZodType<T>,
): OpenedManifest<T> {
  const parsed = z.strictObject({ body: schema, signature: z.base64().length(88) }).safeParse(jsonIn(text));
  if (!parsed.success) throw damagedManifest(z.prettifyError(parsed.error));
  const { body, signature } = parsed.data;
  const sealed = `${canonicalText({ body: jsonOf(body), signature })}\n`;
  if (sealed !== text) throw damagedManifest(`it was changed at byte ${firstDifference(sealed, text)}`);
  const bytes = decodeBase64(signature);
  if (bytes === undefined) throw damagedManifest('its signature is not one');
  return { body, signature: bytes, sha256: manifestDigest(text) };
}

/** @throws AppError `bundle.foreign` when it was not signed by this key. */
export function requireSignature(
  { body, signature }: OpenedManifest<EntriesManifest | ReturnManifest>,
  publicKey: KeyObject,
  signer: string,
): void {
  if (verifyBytes(publicKey, signedBytes(body), signature)) return;
  throw new AppError('bundle.foreign', `${manifestFile} is not signed by ${signer}, or it was changed since`, {
    details: { file: manifestFile },
  });
}

/** @throws AppError `bundle.damaged` when parts of entries do not follow each other, beginning after what is acknowledged. */
export function requireConsecutive({ acked, parts }: EntriesManifest): void {
  let after = acked.seq;
  for (const { file, first, last } of parts) {
    if (first !== after + 1 || last < first) {
      throw damagedManifest(`${file} has entries ${first} to ${last}, and ${after + 1} is the next one`);
    }
    after = last;
  }
}

/** The files of each image archive in a return bundle, in their order. @throws AppError `bundle.damaged` where one is missing. */
export function imageParts({ files }: Pick<ReturnManifest, 'files'>): readonly (readonly ReturnedFile[])[] {
  const archives: ReturnedFile[][] = [];
  for (const one of files.filter(({ image }) => image !== null)) {
    const parts = archives.at(-1) ?? [];
    const begins = /^image-[0-9]{3}\.tar$/.test(one.file);
    if (begins) archives.push([one]);
    else if (one.file === imagePartName(parts[0]?.file ?? '', parts.length + 1)) parts.push(one);
    else throw damagedManifest(`${one.file} does not go on from the file before it`);
  }
  if (archives.length <= limits.maxBundleImages) return archives;
  throw damagedManifest(`${archives.length} images are too many`);
}

/** @param number from 1. */
export function imagePartName(archive: string, number: number): string {
  return number === 1 ? archive : `${archive}.${String(number).padStart(6, '0')}`;
}

export function damagedManifest(reason: string): AppError {
  return new AppError('bundle.damaged', `${manifestFile} cannot be used: ${reason}`, {
    details: { file: manifestFile },
  });
}

/** Entries begin with a brace, handshakes and checkpoints with other words: no signature can be taken for one of another kind. */
function signedBytes(body: EntriesManifest | ReturnManifest): Buffer {
  return Buffer.from(`sigilwatch/bundle/v1\n${canonicalText(jsonOf(body))}\n`, 'utf8');
}

/** What a schema of JSON has let through, as JSON: what is left out is not there. */
function jsonOf(body: EntriesManifest | ReturnManifest): JsonValue {
  const json: JsonValue = JSON.parse(JSON.stringify(body));
  return json;
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw damagedManifest('it is not JSON, or was cut off');
  }
}

function firstDifference(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  return Buffer.byteLength(b.slice(0, at));
}
