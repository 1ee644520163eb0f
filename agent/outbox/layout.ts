import { hash } from 'node:crypto';
import type { Entry, SignedEntry } from '../../common/entry.ts';
import { signatureBytes } from '../../common/keys.ts';

/**
 * The key space of the outbox, in key order:
 *
 *     entry!<generation>!<seq>   one signed entry, see {@link packRecord}
 *     meta!chain|tip|drops|checkpoint   sealed JSON, see `standing.ts`
 *     state!<key>                sealed JSON of the agent
 *
 * LevelDB does not verify its block checksums on the way to us, so every value carries its own hash.
 */
export const entryRange = { gte: 'entry!', lt: 'entry!~' } as const;
export const statePrefix = 'state!';

const hashBytes = 32;
const recordOverheadBytes = hashBytes + signatureBytes;

/** Zero-padded, so that key order is number order up to the largest safe integer. */
export function entryKey(generation: number, seq: number): string {
  return `entry!${String(generation).padStart(8, '0')}!${String(seq).padStart(16, '0')}`;
}

/** The generation in an entry's key, or undefined for a key that is none. */
export function generationOf(key: string): number | undefined {
  const match = /^entry!(\d{8})!\d{16}$/.exec(key);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

/** Every entry of one generation numbered after `seq`. */
export function entriesAfter(generation: number, seq: number): { gte: string; lt: string } {
  return { gte: entryKey(generation, seq + 1), lt: entryKey(generation + 1, 0) };
}

/** A stored entry: SHA-256 of the canonical bytes, signature, canonical bytes. */
export interface StoredRecord {
  /** Hex SHA-256 of `bytes`: the `prev` of the next entry. */
  readonly hash: string;
  readonly signature: Buffer;
  readonly bytes: Buffer;
}

export function packRecord(signed: Pick<SignedEntry, 'bytes' | 'signature'>): Buffer {
  return Buffer.concat([hash('sha256', signed.bytes, 'buffer'), signed.signature, signed.bytes]);
}

/** Undefined when the bytes are not the ones that were stored. The signature is not checked. */
export function unpackRecord(value: Buffer): StoredRecord | undefined {
  if (value.length <= recordOverheadBytes) return undefined;
  const bytes = value.subarray(recordOverheadBytes);
  const stored = value.toString('hex', 0, hashBytes);
  if (hash('sha256', bytes, 'hex') !== stored) return undefined;
  return { hash: stored, signature: value.subarray(hashBytes, recordOverheadBytes), bytes };
}

/** Bytes one entry takes in the outbox, key included: the unit `maxBytes` is counted in. */
export function storedBytes(entryBytes: number): number {
  return entryKey(0, 0).length + recordOverheadBytes + entryBytes;
}

/** {@link storedBytes} of a value as {@link packRecord} made it. */
export function recordBytes(value: Buffer): number {
  return storedBytes(value.length - recordOverheadBytes);
}

/**
 * The entry in bytes this agent signed itself. The schema of today is not asked: an upgrade of the agent must not
 * strand what its predecessor queued.
 */
export function ownEntry(bytes: Buffer): Entry | undefined {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  return isEntry(json) ? json : undefined;
}

function isEntry(json: unknown): json is Entry {
  if (typeof json !== 'object' || json === null) return false;
  const { v, author, seq, prev, at, kind, body }: Record<string, unknown> = { ...json };
  return (
    v === 1 &&
    Number.isSafeInteger(seq) &&
    [author, prev, at, kind].every((field) => typeof field === 'string') &&
    typeof body === 'object'
  );
}

/** A JSON value under its own hash. The key is hashed too, so a value cannot turn up under another key. */
export function sealValue(key: string, value: unknown): Buffer {
  const payload = Buffer.from(JSON.stringify(value), 'utf8');
  return Buffer.concat([sealOf(key, payload), payload]);
}

/** The JSON text behind {@link sealValue}, or undefined when it is not what was stored under `key`. */
export function unsealText(key: string, value: Buffer): string | undefined {
  if (value.length <= hashBytes) return undefined;
  const payload = value.subarray(hashBytes);
  return sealOf(key, payload).equals(value.subarray(0, hashBytes)) ? payload.toString('utf8') : undefined;
}

function sealOf(key: string, payload: Buffer): Buffer {
  return hash('sha256', Buffer.concat([Buffer.from(`${key}\0`, 'utf8'), payload]), 'buffer');
}
