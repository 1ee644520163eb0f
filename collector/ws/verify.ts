import type { KeyObject } from 'node:crypto';
import pLimit from 'p-limit';
import { parseEntry, type SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { verifyBytesAsync } from '../../common/keys.ts';
import { nodeKinds } from '../../common/kinds.ts';
import { type AgentMessage, fromWire, type MessageOf } from '../../common/protocol.ts';

export type WireEntries = MessageOf<AgentMessage, 'append'>['entries'];

/** Whose session it is: the one author whose entries are accepted. */
export interface Author {
  readonly node: string;
  readonly publicKey: KeyObject;
}

/**
 * Judges entries as they come from the wire, all of a batch or none.
 * @throws AppError `validation.entry` for what is not an entry a node may write, `auth.signature` for another author
 *   or a signature that is not the author's.
 */
export type VerifyEntries = (entries: WireEntries, author: Author) => Promise<readonly SignedEntry[]>;

/** A batch has so many places in the line for the thread pool, each for a few entries at a time. */
const lanes = 4;
const runEntries = 10;

/**
 * Signatures are checked on the thread pool, those of at most `concurrency` entries at once for all sessions together. Batches
 * take turns there: a small one does not wait until all of a large one is through.
 */
export function createVerifier(concurrency: number): VerifyEntries {
  const limit = pLimit(concurrency);
  return async (entries, author) => {
    const signed = entries.map((wire) => readEntry(wire, author.node));
    let next = 0;
    const lane = async (): Promise<void> => {
      for (let at = next; at < signed.length; at = next) {
        next += runEntries;
        await limit(() => requireSignatures(signed.slice(at, at + runEntries), author));
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return signed;
  };
}

async function requireSignatures(run: readonly SignedEntry[], author: Author): Promise<void> {
  for (const signed of run) await requireSignature(signed, author);
}

/** Everything that can be judged without the signature comes first: it is cheaper. */
function readEntry(wire: WireEntries[number], node: string): SignedEntry {
  const { bytes, signature } = fromWire(wire);
  const entry = parseEntry(bytes);
  if (entry.author !== node) {
    throw new AppError('auth.signature', `an entry of ${entry.author} in the session of ${node}`, {
      details: { author: entry.author, seq: entry.seq },
    });
  }
  if (!nodeKinds.has(entry.kind)) {
    throw new AppError('validation.entry', `entry ${entry.seq}: ${entry.kind} is not a node's to state`, {
      details: { kind: entry.kind, seq: entry.seq },
    });
  }
  return { entry, bytes, signature };
}

async function requireSignature({ entry, bytes, signature }: SignedEntry, { node, publicKey }: Author): Promise<void> {
  if (await verifyBytesAsync(publicKey, bytes, signature)) return;
  throw new AppError('auth.signature', `entry ${entry.seq} is not signed by the key of ${node}`, {
    details: { seq: entry.seq },
  });
}
