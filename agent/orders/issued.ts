import type { KeyObject } from 'node:crypto';
import type { Checkpoint, OpenedCheckpoint } from '../../common/checkpoint.ts';
import { decodeBase64Hash } from '../../common/encoding.ts';
import { cosignersOf, type OrderWitnesses } from '../../common/enforcement/order-witnesses.ts';
import { collectorAuthor, type Entry, parseEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { verifyBytes } from '../../common/keys.ts';
import { leafHash } from '../../common/merkle.ts';
import { formatNote, parseNote } from '../../common/note.ts';
import { type Approval, type Order, orderHash } from '../../common/order.ts';
import { verifyInclusion } from '../../common/proof.ts';
import { type CollectorMessage, fromWire, type MessageOf } from '../../common/protocol.ts';

export type OrderMessage = MessageOf<CollectorMessage, 'order'>;

/** An order that is in the ledger: proved, in a checkpoint that this node has accepted. Whether it is obeyed is another matter. */
export interface IssuedOrder {
  readonly hash: string;
  readonly order: Order;
  /** Not verified yet. */
  readonly approvals: readonly Approval[];
  /** The entry as it is in the ledger, and the proof, so that both can be kept as evidence of what was ordered. */
  readonly proof: {
    readonly entry: { readonly text: string; readonly signature: string };
    readonly index: number;
    readonly hashes: readonly string[];
    /** Signed note. */
    readonly checkpoint: string;
    /** Signed note of an earlier checkpoint with the order in its tree, which witnesses may have cosigned: not verified yet. */
    readonly witnessed?: string;
  };
}

/** What the witness has just accepted of a message. */
export interface AcceptedStates {
  readonly checkpoint: Checkpoint;
  /** The earlier one that came with it. */
  readonly witnessed: OpenedCheckpoint | undefined;
}

/**
 * Takes an order as it came over the wire; promise 3 begins here.
 * @param states the message's own.
 * @param collectorKey key of the log, which signs the collector's entries.
 * @throws AppError `ledger.proof` when it is not in a checkpoint's tree, `auth.signature` when the collector has not signed it,
 *   `validation.protocol` when it is no order.
 */
export function readIssued(message: OrderMessage, states: AcceptedStates, collectorKey: KeyObject): IssuedOrder {
  if (message.witnessed !== undefined && states.witnessed !== undefined) {
    requireIncluded({ ...message, hashes: message.witnessed.hashes }, states.witnessed.checkpoint);
  }
  const entry = readLogged(message, states.checkpoint, collectorKey);
  if (entry.kind !== 'order.issued') throw misplaced(entry, 'an order');
  const { order } = entry.body;
  return {
    hash: orderHash(order),
    order,
    approvals: message.approvals,
    proof: {
      entry: message.entry,
      index: message.index,
      hashes: message.hashes,
      checkpoint: message.checkpoint.note,
      ...(states.witnessed && { witnessed: formatNote(states.witnessed.note) }),
    },
  };
}

/**
 * An entry of the collector, as it came over the wire with its proof.
 * @param checkpoint the message's own, which the witness has just accepted.
 * @throws AppError `ledger.proof`, `auth.signature`, or `validation.protocol` for an entry of somebody else.
 */
export function readLogged(message: ProvedEntry, checkpoint: Checkpoint, collectorKey: KeyObject): Entry {
  const { bytes, signature } = requireIncluded(message, checkpoint);
  const entry = parseEntry(bytes);
  if (entry.author !== collectorAuthor) throw misplaced(entry, 'a word of the collector');
  if (!verifyBytes(collectorKey, bytes, signature)) {
    throw new AppError('auth.signature', `an entry ${entry.kind} is not signed by the collector`);
  }
  return entry;
}

export function misplaced({ kind, author }: Pick<Entry, 'kind' | 'author'>, as: string): AppError {
  return new AppError('validation.protocol', `an entry ${kind} of ${author} came as ${as}`);
}

/**
 * Those of the manifest's witnesses who say that they have seen an order in the ledger; null for one of the node's own, and nobody
 * where nobody is asked.
 */
export function witnessesOf(
  proof: IssuedOrder['proof'] | null,
  wanted: OrderWitnesses | undefined,
): readonly string[] | null {
  if (proof === null) return null;
  if (wanted === undefined || proof.witnessed === undefined) return [];
  return cosignersOf(parseNote(proof.witnessed), wanted.keys);
}

type ProvedEntry = Pick<OrderMessage, 'entry' | 'index' | 'hashes'>;

/** @throws AppError `ledger.proof`. */
function requireIncluded({ entry, index, hashes }: ProvedEntry, { size, root }: Checkpoint) {
  const { bytes, signature } = fromWire(entry);
  verifyInclusion({ leafHash: leafHash(bytes, signature), index, size, root, proof: hashes.map(readHash) });
  return { bytes, signature };
}

function readHash(text: string): Buffer {
  const hash = decodeBase64Hash(text);
  if (hash === undefined) throw new AppError('validation.protocol', 'a proof hash that is not one');
  return hash;
}
