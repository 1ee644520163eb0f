import { parseCheckpoint } from '../../common/checkpoint.ts';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { parseNote } from '../../common/note.ts';
import { type CollectorMessage, type MessageOf, toWire } from '../../common/protocol.ts';
import type { SessionLedger } from './ports.ts';

export interface WelcomeNeeds {
  readonly ledger: WelcomeLedger;
  readonly clock: Pick<Clock, 'now'>;
}

export type WelcomeLedger = Omit<SessionLedger, 'append' | 'leafAt'>;

/** Who is welcomed. */
export interface Greeted {
  readonly node: string;
  /** The last checkpoint that it accepted. */
  readonly checkpoint: string | null;
}

/**
 * The welcome of a node that has proved who it is, and the size of the tree that it shows.
 * @throws AppError `ledger.tampered` when the ledger does not contain what the node holds.
 */
export async function welcomeFor({ ledger, clock }: WelcomeNeeds, { node, checkpoint: held }: Greeted) {
  // Before anything is shown: if the database was put back, the agent knows more than we do, and must not be lied to.
  if (held !== null) await ledger.confront(held);
  const heldSize = held === null ? 0 : parseCheckpoint(parseNote(held).text).size;
  const head = await ledger.authorHead(node);
  const { size, note } = await ledger.checkpoint();
  const proof = await ledger.consistency(heldSize, size);
  const consistency = proof.map((hash) => hash.toString('base64'));
  const message: MessageOf<CollectorMessage, 'welcome'> = {
    type: 'welcome',
    head: { seq: head.seq, hash: head.hash, proof: await proofOf(ledger, { author: node, seq: head.seq, size }) },
    checkpoint: { note, consistency },
    now: rfc3339(clock.now()),
  };
  return { message, size };
}

/** For an agent that lost its place: it drops and numbers nothing on our word alone. */
async function proofOf(
  ledger: WelcomeLedger,
  { author, seq, size }: { author: string; seq: number; size: number },
): Promise<MessageOf<CollectorMessage, 'welcome'>['head']['proof']> {
  const leaf = seq === 0 ? undefined : await ledger.entryOf(author, seq);
  if (leaf === undefined) return null;
  const { hashes, proofs } = await ledger.inclusion([leaf.index], size);
  return {
    entry: toWire(leaf),
    index: leaf.index,
    proof: [...(proofs[0] ?? [])],
    hashes: hashes.map((hash) => hash.toString('base64')),
  };
}
