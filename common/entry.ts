import type { KeyObject } from 'node:crypto';
import { hash } from 'node:crypto';
import { z } from 'zod';
import { canonicalBytes, canonicalText, isPlainlyCanonical, type JsonValue } from './canonical.ts';
import { rfc3339 } from './clock.ts';
import { AppError } from './errors.ts';
import { hex64, nodeName, timestamp } from './fields.ts';
import { signatureBytes, signBytes } from './keys.ts';
import { type Statement, statementSchema } from './kinds.ts';
import { limits } from './limits.ts';

/** `prev` of an author's first entry. */
export const genesisHash = '0'.repeat(64);

/** Author name of the collector itself; no node may carry it. */
export const collectorAuthor = 'collector';

const envelope = z.strictObject({
  v: z.literal(1),
  author: nodeName,
  seq: z.int().positive(),
  prev: hex64,
  at: timestamp,
  kind: z.string(),
  body: z.unknown(),
});

/** The envelope of every entry; `kind` and `body` are one of {@link Statement}. */
export type Entry = Omit<z.infer<typeof envelope>, 'kind' | 'body'> & Statement;

/** The last entry of an author chain: its number and the hash that the next entry's `prev` must carry. */
export interface ChainHead {
  readonly seq: number;
  /** Hex SHA-256 of the canonical bytes; {@link genesisHash} when `seq` is 0. */
  readonly hash: string;
}

export const genesis: ChainHead = { seq: 0, hash: genesisHash };

/** An entry with the exact bytes that were signed. Nothing may be derived from it by serialising `entry` again. */
export interface SignedEntry {
  readonly entry: Entry;
  /** RFC 8785 canonical bytes. */
  readonly bytes: Buffer;
  /** Ed25519 over `bytes`, 64 bytes. */
  readonly signature: Buffer;
}

/** A signed entry that has its place in the ledger. */
export interface LoggedEntry extends SignedEntry {
  readonly index: number;
}

/**
 * Numbers, chains and signs a statement as the next entry after `head`.
 * @throws AppError `validation.entry` for what {@link parseEntry} would refuse: once signed and numbered it could neither
 *   be taken nor taken back, and nothing could follow it.
 */
export function sealEntry(
  statement: Statement,
  by: { author: string; head: ChainHead; now: number; privateKey: KeyObject },
): SignedEntry {
  const valid = statementSchema.safeParse(statement);
  if (!valid.success) {
    throw new AppError('validation.entry', `not a ${statement.kind} statement: ${z.prettifyError(valid.error)}`, {
      cause: valid.error,
      details: { kind: statement.kind },
    });
  }
  const entry: Entry = {
    v: 1,
    author: by.author,
    seq: by.head.seq + 1,
    prev: by.head.hash,
    at: rfc3339(by.now),
    ...statement,
  };
  const bytes = canonicalBytes(entry);
  if (bytes.length > limits.maxEntryBytes) {
    throw new AppError('validation.entry', `a ${entry.kind} entry of ${bytes.length} bytes is over the limit`, {
      details: { kind: entry.kind, bytes: bytes.length, limitBytes: limits.maxEntryBytes },
    });
  }
  return { entry, bytes, signature: signBytes(by.privateKey, bytes) };
}

/** Hex SHA-256 of canonical bytes: the `prev` of the author's next entry. */
export function entryHash(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex');
}

/** The chain head after `entry`. */
export function headAfter(signed: Pick<SignedEntry, 'bytes'> & { entry: Pick<Entry, 'seq'> }): ChainHead {
  return { seq: signed.entry.seq, hash: entryHash(signed.bytes) };
}

/**
 * Reads canonical bytes written by somebody else. The signature is not checked here: whose key counts is the caller's
 * knowledge.
 * @throws AppError `validation.entry` for anything but the canonical bytes of a known entry.
 */
export function parseEntry(bytes: Buffer): Entry {
  if (bytes.length > limits.maxEntryBytes) throw noEntry(`${bytes.length} bytes, at most ${limits.maxEntryBytes}`);
  const text = bytes.toString('utf8');
  const json = parseJson(text);
  const entry = readEntry(json);
  // Two byte forms of one entry would be two leaves and two chain hashes.
  const canonical = isPlainlyCanonical(text, json) || canonicalBytes(entry).equals(bytes);
  if (!canonical) throw noEntry('not in canonical form (RFC 8785)');
  return entry;
}

/**
 * Reads bytes that have passed {@link parseEntry} before, which whoever calls knows from their hash; that they are canonical is
 * most of the work, and not looked at again.
 * @throws AppError `validation.entry` for anything that is no known entry.
 */
export function parseLogged(bytes: Buffer): Entry {
  return readEntry(parseJson(bytes.toString('utf8')));
}

function readEntry(json: JsonValue): Entry {
  const { kind, body, ...rest } = read(envelope, json);
  return { ...rest, ...read(statementSchema, { kind, body }) };
}

function parseJson(text: string): JsonValue {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw noEntry('not JSON', cause);
  }
}

function read<S extends z.ZodType>(schema: S, json: unknown): z.output<S> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw noEntry(z.prettifyError(parsed.error), parsed.error);
}

function noEntry(why: string, cause?: unknown): AppError {
  return new AppError('validation.entry', `not an entry: ${why}`, cause === undefined ? {} : { cause });
}

/** @throws AppError `ledger.sequence` unless `entry` is the one directly after `head`. */
export function assertFollows(head: ChainHead, entry: Pick<Entry, 'author' | 'seq' | 'prev'>): void {
  if (entry.seq === head.seq + 1 && entry.prev === head.hash) return;
  const what = entry.seq === head.seq + 1 ? 'names another predecessor' : `has number ${entry.seq}`;
  throw new AppError('ledger.sequence', `entry of ${entry.author} ${what}; the chain stands at ${head.seq}`, {
    details: { author: entry.author, seq: entry.seq, headSeq: head.seq },
  });
}

/** The leaf of RFC 6962: canonical bytes followed by the signature. */
export function leafData(signed: Pick<SignedEntry, 'bytes' | 'signature'>): Buffer {
  return Buffer.concat([signed.bytes, signed.signature]);
}

/** Splits a leaf into what {@link leafData} joined, without judging the entry. */
export function splitLeaf(leaf: Buffer): { bytes: Buffer; signature: Buffer } {
  if (leaf.length <= signatureBytes) throw new AppError('validation.entry', 'a leaf is an entry and its signature');
  const end = leaf.length - signatureBytes;
  return { bytes: leaf.subarray(0, end), signature: leaf.subarray(end) };
}

/** Hex SHA-256 of the canonical form of several texts: a short name for a set, independent of their order. */
export function setDigest(members: Iterable<string>): string {
  return hash('sha256', canonicalText([...members].sort()), 'hex');
}
