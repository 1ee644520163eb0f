import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { CollectorMessage, MessageOf } from '../../common/protocol.ts';
import type { Placed, RoundCheckpoint, SessionLedger, Witnessing } from './ports.ts';

export type Ack = MessageOf<CollectorMessage, 'ack'>;
export type Offer = MessageOf<CollectorMessage, 'checkpoint'>;

/** A batch that is in the ledger. */
export interface Appended {
  readonly places: readonly Placed[];
  /** When its frame came, monotonic milliseconds. */
  readonly receivedMs: number;
}

export interface CheckpointStreamOptions {
  readonly ledger: Pick<SessionLedger, 'checkpoint' | 'inclusion' | 'consistency'>;
  /** Size of the checkpoint in the welcome: where the first consistency proof starts. */
  readonly startSize: number;
  readonly rounds: Pick<Witnessing, 'forming' | 'missed'>;
  /** Resolves when the message has left for the network. */
  readonly send: (message: Ack | Offer) => Promise<void>;
  /** Hears which batches an ack was about, once it has left. */
  readonly acknowledged: (batches: readonly Appended[]) => void;
  /** Hears of the first failure; nothing is told after it. */
  readonly fail: (thrown: unknown) => void;
}

/**
 * All tree heads one agent is told after the welcome, one at a time: each comes with a consistency proof from the one
 * before, so acks and offers may not overtake each other. An offer waiting goes out before any ack, since a witness
 * that has seen a larger tree cannot vouch for a smaller one any more.
 */
export interface CheckpointStream {
  /** Proves and acknowledges a batch that is in the ledger; batches that come meanwhile share the next ack. */
  acknowledge(batch: Appended): void;
  /**
   * Asks the agent to cosign; only the newest offer counts, and none that it cannot answer any more. What it has not answered
   * is asked again: an agent passes over what comes sooner than it cosigns, and nobody else asks it for the last checkpoint
   * of a ledger that nothing is added to.
   */
  offer(checkpoint: RoundCheckpoint): void;
  /**
   * The offer that an answer of this size is to. Older ones will not be answered any more.
   * @throws AppError `validation.protocol` when there is none.
   */
  answered(size: number): RoundCheckpoint;
}

/** An offer that the agent has not answered as often as it was asked. */
interface Asked {
  readonly offer: RoundCheckpoint;
  times: number;
}

export function createCheckpointStream(options: CheckpointStreamOptions): CheckpointStream {
  const { ledger, rounds, send, fail } = options;
  const placed: Appended[] = [];
  const unanswered: Asked[] = [];
  let waiting: RoundCheckpoint | undefined;
  let working = false;
  let sentSize = options.startSize;
  let answeredSize = -1;

  async function work(): Promise<void> {
    if (working) return;
    working = true;
    for (;;) {
      const offer = takeOffer();
      if (offer !== undefined) await tell(offer);
      else if (placed.length === 0) break;
      // A round is settling on its checkpoint: told of a later one now, the agent could not take part in it.
      else if (rounds.forming !== undefined) await rounds.forming;
      else await acknowledgeAll(placed.splice(0));
    }
    working = false;
  }

  function takeOffer(): RoundCheckpoint | undefined {
    const offer = waiting;
    waiting = undefined;
    if (offer === undefined || offer.size === answeredSize) return undefined;
    const again = unanswered.at(-1)?.offer.size === offer.size;
    if (offer.size < sentSize) {
      // Asked once, it has an answer on the way.
      if (!again) rounds.missed();
      return undefined;
    }
    return again || unanswered.length < limits.maxOffersUnanswered ? offer : undefined;
  }

  async function tell(offer: RoundCheckpoint): Promise<void> {
    const checkpoint = await continued(offer);
    // Noted before it is sent: the answer may be here before the socket says that the frame has left.
    const last = unanswered.at(-1);
    if (last?.offer.size === offer.size) last.times += 1;
    else unanswered.push({ offer, times: 1 });
    await send({ type: 'checkpoint', checkpoint });
  }

  async function acknowledgeAll(batches: readonly Appended[]): Promise<void> {
    const places = batches.flatMap((batch) => batch.places);
    const indexes = places.map(({ index }) => index);
    const needed = 1 + Math.max(...indexes);
    // Entries that were there before may be gone again with the database; only those that are new have just been committed.
    const head = await ledger.checkpoint(needed > sentSize ? needed : undefined);
    const [{ hashes, proofs }, checkpoint] = await Promise.all([ledger.inclusion(indexes, head.size), continued(head)]);
    await send({
      type: 'ack',
      entries: places.map(({ seq, index }, at) => ({ seq, index, proof: [...(proofs[at] ?? [])] })),
      hashes: hashes.map((hash) => hash.toString('base64')),
      checkpoint,
    });
    options.acknowledged(batches);
  }

  async function continued({ size, note }: Pick<RoundCheckpoint, 'size' | 'note'>): Promise<Ack['checkpoint']> {
    const proof = await ledger.consistency(sentSize, size);
    sentSize = size;
    return { note, consistency: proof.map((hash) => hash.toString('base64')) };
  }

  return {
    acknowledge: (batch) => {
      placed.push(batch);
      work().catch(fail);
    },
    offer: (checkpoint) => {
      waiting = checkpoint;
      work().catch(fail);
    },
    answered: (size) => {
      const at = unanswered.findIndex(({ offer }) => offer.size === size);
      const asked = unanswered[at];
      if (asked === undefined) throw unasked(size, unanswered[0]?.offer.size);
      asked.times -= 1;
      unanswered.splice(0, asked.times === 0 ? at + 1 : at);
      answeredSize = size;
      return asked.offer;
    },
  };
}

function unasked(size: number, due: number | undefined): AppError {
  const awaited = due === undefined ? 'none was asked for' : `the one of ${due} is due`;
  return new AppError('validation.protocol', `a cosignature for size ${size}, while ${awaited}`);
}
