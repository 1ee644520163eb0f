import type { KeyObject } from 'node:crypto';
import type { Checkpoint } from '../../common/checkpoint.ts';
import { decodeBase64Hash } from '../../common/encoding.ts';
import { collectorAuthor, type Entry, parseEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { verifyBytes } from '../../common/keys.ts';
import { leafHash } from '../../common/merkle.ts';
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
  };
}

/**
 * Takes an order as it came over the wire; promise 3 begins here.
 * @param checkpoint the message's own, which the witness has just accepted.
 * @param collectorKey key of the log, which signs the collector's entries.
 * @throws AppError `ledger.proof` when it is not in the checkpoint's tree, `auth.signature` when the collector has not signed it,
 *   `validation.protocol` when it is no order.
 */
export function readIssued(message: OrderMessage, checkpoint: Checkpoint, collectorKey: KeyObject): IssuedOrder {
  const entry = readLogged(message, checkpoint, collectorKey);
  if (entry.kind !== 'order.issued') throw misplaced(entry, 'an order');
  const { order } = entry.body;
  return {
    hash: orderHash(order),
    order,
    approvals: message.approvals,
    proof: { entry: message.entry, index: message.index, hashes: message.hashes, checkpoint: message.checkpoint.note },
  };
}

/**
 * An entry of the collector, as it came over the wire with its proof.
 * @param checkpoint the message's own, which the witness has just accepted.
 * @throws AppError `ledger.proof`, `auth.signature`, or `validation.protocol` for an entry of somebody else.
 */
export function readLogged(
  message: Pick<OrderMessage, 'entry' | 'index' | 'hashes'>,
  { size, root }: Checkpoint,
  collectorKey: KeyObject,
): Entry {
  const { bytes, signature } = fromWire(message.entry);
  const proof = message.hashes.map(readHash);
  verifyInclusion({ leafHash: leafHash(bytes, signature), index: message.index, size, root, proof });
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

function readHash(text: string): Buffer {
  const hash = decodeBase64Hash(text);
  if (hash === undefined) throw new AppError('validation.protocol', 'a proof hash that is not one');
  return hash;
}
