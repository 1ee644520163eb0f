import type { KeyObject } from 'node:crypto';
import { parseEntry, type SignedEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import type { VerifySignature } from '../../common/keys.ts';
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

/** Signatures of a batch that are being checked at once. Batches take turns: a small one does not wait for all of a large one. */
const maxUnderWay = 64;

/** @param verifySignature for all sessions together: first asked, first checked. */
export function createVerifier(verifySignature: VerifySignature): VerifyEntries {
  return async (entries, author) => {
    const signed = entries.map((wire) => readEntry(wire, author.node));
    for (let at = 0; at < signed.length; at += maxUnderWay) {
      await Promise.all(
        signed.slice(at, at + maxUnderWay).map((one) => requireSignature(one, author, verifySignature)),
      );
    }
    return signed;
  };
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

async function requireSignature(
  { entry, bytes, signature }: SignedEntry,
  { node, publicKey }: Author,
  verifySignature: VerifySignature,
): Promise<void> {
  if (await verifySignature(publicKey, bytes, signature)) return;
  throw new AppError('auth.signature', `entry ${entry.seq} is not signed by the key of ${node}`, {
    details: { seq: entry.seq },
  });
}
