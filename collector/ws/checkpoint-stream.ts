import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { expandProof } from '../../common/proof.ts';
import { type CollectorMessage, type MessageOf, toWire } from '../../common/protocol.ts';
import type { MeasureDispatch } from '../enforcement/measure-ports.ts';
import type { CosignedCheckpoint, OrderDispatch } from '../enforcement/ports.ts';
import type { Placed, RoundCheckpoint, SessionLedger, Witnessing } from './ports.ts';

export type Ack = MessageOf<CollectorMessage, 'ack'>;
export type Offer = MessageOf<CollectorMessage, 'checkpoint'>;
type OrderMessage = MessageOf<CollectorMessage, 'order'>;
type Measure = MessageOf<CollectorMessage, 'measure'>;
type Measured = MessageOf<CollectorMessage, 'measured'>;
type Desired = MessageOf<CollectorMessage, 'desired'>;

/** A batch that is in the ledger. */
export interface Appended {
  readonly places: readonly Placed[];
  /** When its frame came, monotonic milliseconds. */
  readonly receivedMs: number;
}

export interface CheckpointStreamOptions {
  readonly ledger: Pick<SessionLedger, 'leafAt' | 'checkpoint' | 'inclusion' | 'consistency'>;
  /** Size of the checkpoint in the welcome: where the first consistency proof starts. */
  readonly startSize: number;
  readonly rounds: Pick<Witnessing, 'forming' | 'missed'>;
  /** Resolves when the message has left for the network. */
  readonly send: (message: Ack | Offer | OrderMessage | Measure | Measured | Desired) => Promise<void>;
  /** Hears which batches an ack was about, once it has left. */
  readonly acknowledged: (batches: readonly Appended[]) => void;
  /** Hears of the first failure; nothing is told after it. */
  readonly fail: (thrown: unknown) => void;
}

/**
 * All tree heads one agent is told after the welcome, one at a time: each comes with a consistency proof from the one
 * before, so acks, orders and offers may not overtake each other. An offer waiting goes out before anything else, since a
 * witness that has seen a larger tree cannot vouch for a smaller one any more; then orders, since something runs that should
 * not; then measures, which are proved the same way; acks, for which nobody waits, come last.
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
  /**
   * Proves and sends an order. One that waits already is not sent twice; one whose entry is not kept any more is not sent.
   * @returns false when too many are waiting.
   */
  order(dispatch: OrderDispatch): boolean;
  /** Proves and sends a measure, after the orders. @returns false when too many are waiting. */
  measure(dispatch: MeasureDispatch): boolean;
  /** Says that what was to be told of measures has been sent before; not all of it where an entry is not kept any more. */
  measured(all: boolean): void;
  /**
   * Hands over a bundle with a commit; only the newest one counts. It goes out in parts, and what waits goes out in between: nobody
   * is to miss an ack for a large one.
   */
  desired(commit: string, bytes: Buffer): void;
  /** Resolves when nothing waits to be told; never rejects. */
  settled(): Promise<void>;
}

/** An offer that the agent has not answered as often as it was asked. */
interface Asked {
  readonly offer: RoundCheckpoint;
  times: number;
}

/** A bundle on its way. */
interface HandedOver {
  readonly commit: string;
  readonly bytes: Buffer;
  sentBytes: number;
}

/** Base64 takes four characters for three bytes. */
const maxPartBytes = Math.floor(limits.maxBundleChars / 4) * 3;

export function createCheckpointStream(options: CheckpointStreamOptions): CheckpointStream {
  return new Teller(options);
}

class Teller implements CheckpointStream {
  readonly #options: CheckpointStreamOptions;
  readonly #placed: Appended[] = [];
  readonly #unanswered: Asked[] = [];
  /** By their hashes, first come first. */
  readonly #orders = new Map<string, OrderDispatch>();
  /** Measures, and words on how far they were told; first come first. */
  readonly #measures: (MeasureDispatch | Measured)[] = [];
  /** One of them could not be proved since the last of these words. */
  #unproved = false;
  #bundle: HandedOver | undefined;
  /** A part of a bundle went out last. */
  #partWasLast = false;
  #waiting: RoundCheckpoint | undefined;
  #working = false;
  #telling: Promise<void> = Promise.resolve();
  #sentSize: number;
  #answeredSize = -1;

  constructor(options: CheckpointStreamOptions) {
    this.#options = options;
    this.#sentSize = options.startSize;
  }

  acknowledge(batch: Appended): void {
    this.#placed.push(batch);
    this.#wake();
  }

  offer(checkpoint: RoundCheckpoint): void {
    this.#waiting = checkpoint;
    this.#wake();
  }

  answered(size: number): RoundCheckpoint {
    const at = this.#unanswered.findIndex(({ offer }) => offer.size === size);
    const asked = this.#unanswered[at];
    if (asked === undefined) throw unasked(size, this.#unanswered[0]?.offer.size);
    asked.times -= 1;
    this.#unanswered.splice(0, asked.times === 0 ? at + 1 : at);
    this.#answeredSize = size;
    return asked.offer;
  }

  order(dispatch: OrderDispatch): boolean {
    const isNew = !this.#orders.has(dispatch.hash);
    if (isNew && this.#orders.size >= limits.maxOrdersDispatched) return false;
    this.#orders.set(dispatch.hash, dispatch);
    this.#wake();
    return true;
  }

  measure(dispatch: MeasureDispatch): boolean {
    if (this.#measures.length >= limits.maxMeasuresWaiting) return false;
    this.#measures.push(dispatch);
    this.#wake();
    return true;
  }

  measured(all: boolean): void {
    const last = this.#measures.at(-1);
    // Nothing was added since: one word says both.
    if (last !== undefined && 'all' in last) this.#measures.pop();
    const before = last === undefined || !('all' in last) || last.all;
    this.#measures.push({ type: 'measured', all: all && before });
    this.#wake();
  }

  desired(commit: string, bytes: Buffer): void {
    this.#bundle = { commit, bytes, sentBytes: 0 };
    this.#wake();
  }

  async settled(): Promise<void> {
    await this.#telling;
  }

  #wake(): void {
    if (this.#working) return;
    this.#telling = this.#work().catch(this.#options.fail);
  }

  async #work(): Promise<void> {
    this.#working = true;
    while (await this.#next());
    this.#working = false;
  }

  /** Tells the most urgent thing there is. @returns false when there is none. */
  async #next(): Promise<boolean> {
    const { rounds } = this.#options;
    const offer = this.#takeOffer();
    const [order] = this.#orders.values();
    const bundle = this.#bundle;
    const isAcksTurn = this.#partWasLast && this.#placed.length > 0;
    if (offer !== undefined) await this.#tell(offer);
    else if (bundle !== undefined && order === undefined && !isAcksTurn) await this.#handOver(bundle);
    else if (order === undefined && this.#measures.length === 0 && this.#placed.length === 0) return false;
    // A round is settling on its checkpoint: told of a later one now, the agent could not take part in it. That takes
    // milliseconds, and `limits.witnessGateMs` at most, also for an order.
    else if (rounds.forming !== undefined) await rounds.forming;
    else if (order !== undefined) await this.#command(order);
    else if (this.#measures.length > 0) await this.#tellMeasure();
    else await this.#acknowledgeAll(this.#placed.splice(0));
    return true;
  }

  #takeOffer(): RoundCheckpoint | undefined {
    const offer = this.#waiting;
    this.#waiting = undefined;
    if (offer === undefined || offer.size === this.#answeredSize) return undefined;
    const again = this.#unanswered.at(-1)?.offer.size === offer.size;
    if (offer.size < this.#sentSize) {
      // Asked once, it has an answer on the way.
      if (!again) this.#options.rounds.missed();
      return undefined;
    }
    return again || this.#unanswered.length < limits.maxOffersUnanswered ? offer : undefined;
  }

  async #tell(offer: RoundCheckpoint): Promise<void> {
    const checkpoint = await this.#continued(offer);
    // Noted before it is sent: the answer may be here before the socket says that the frame has left.
    const last = this.#unanswered.at(-1);
    if (last?.offer.size === offer.size) last.times += 1;
    else this.#unanswered.push({ offer, times: 1 });
    await this.#options.send({ type: 'checkpoint', checkpoint });
  }

  async #command(dispatch: OrderDispatch): Promise<void> {
    const { hash, approvals } = dispatch;
    this.#orders.delete(hash);
    const proved = await this.#proved(dispatch, dispatch.witnessed);
    if (proved !== undefined) await this.#options.send({ type: 'order', ...proved, approvals: [...approvals] });
  }

  /**
   * The agent may have been told of more than its witnesses have cosigned, and must not be told of less. So what they have cosigned
   * goes beside the head, with the proof that the head continues it.
   */
  async #witnessed(index: number, { size, note }: CosignedCheckpoint, headSize: number) {
    const [hashes, consistency] = await Promise.all([
      this.#included(index, size),
      this.#options.ledger.consistency(size, headSize),
    ]);
    return { note, hashes, consistency: consistency.map((hash) => hash.toString('base64')) };
  }

  async #tellMeasure(): Promise<void> {
    const next = this.#measures.shift();
    if (next === undefined) return;
    if ('all' in next) {
      const all = next.all && !this.#unproved;
      this.#unproved = false;
      return this.#options.send({ ...next, all });
    }
    const proved = await this.#proved(next);
    if (proved === undefined) this.#unproved = true;
    else await this.#options.send({ type: 'measure', ...proved, order: next.order });
  }

  /** An entry with the proof that it is in the tree of the head; undefined when it was erased: nobody could check it. */
  async #proved({ index, leaf: atHand }: Pick<MeasureDispatch, 'index' | 'leaf'>, cosigned?: CosignedCheckpoint) {
    const { ledger } = this.#options;
    const leaf = atHand ?? (await ledger.leafAt(index));
    if (leaf === undefined) return undefined;
    const head = await (cosigned === undefined ? this.#headWith(index) : ledger.checkpoint());
    const [hashes, checkpoint, witnessed] = await Promise.all([
      this.#included(index, head.size),
      this.#continued(head),
      cosigned && this.#witnessed(index, cosigned, head.size),
    ]);
    return { entry: toWire(leaf), index, hashes, checkpoint, ...(witnessed && { witnessed }) };
  }

  async #included(index: number, size: number): Promise<string[]> {
    return expandProof(await this.#options.ledger.inclusion([index], size), 0).map((hash) => hash.toString('base64'));
  }

  async #handOver(bundle: HandedOver): Promise<void> {
    const { commit, bytes, sentBytes: offset } = bundle;
    const part = bytes.subarray(offset, offset + maxPartBytes);
    bundle.sentBytes += part.length;
    if (bundle.sentBytes === bytes.length) this.#bundle = undefined;
    this.#partWasLast = true;
    const said = { commit, sizeBytes: bytes.length, offset, bundle: part.toString('base64') };
    await this.#options.send({ type: 'desired', ...said });
  }

  async #acknowledgeAll(batches: readonly Appended[]): Promise<void> {
    this.#partWasLast = false;
    const { ledger, send } = this.#options;
    const places = batches.flatMap((batch) => batch.places);
    const indexes = places.map(({ index }) => index);
    const head = await this.#headWith(Math.max(...indexes));
    const [{ hashes, proofs }, checkpoint] = await Promise.all([
      ledger.inclusion(indexes, head.size),
      this.#continued(head),
    ]);
    await send({
      type: 'ack',
      entries: places.map(({ seq, index }, at) => ({ seq, index, proof: [...(proofs[at] ?? [])] })),
      hashes: hashes.map((hash) => hash.toString('base64')),
      checkpoint,
    });
    this.#options.acknowledged(batches);
  }

  /** A tree head that covers an entry and that the agent may be told next. */
  #headWith(index: number): Promise<Pick<RoundCheckpoint, 'size' | 'note'>> {
    // Entries that were there before may be gone again with the database; only those that are new have just been committed.
    return this.#options.ledger.checkpoint(index >= this.#sentSize ? index + 1 : undefined);
  }

  async #continued({ size, note }: Pick<RoundCheckpoint, 'size' | 'note'>): Promise<Ack['checkpoint']> {
    const proof = await this.#options.ledger.consistency(this.#sentSize, size);
    this.#sentSize = size;
    return { note, consistency: proof.map((hash) => hash.toString('base64')) };
  }
}

function unasked(size: number, due: number | undefined): AppError {
  const awaited = due === undefined ? 'none was asked for' : `the one of ${due} is due`;
  return new AppError('validation.protocol', `a cosignature for size ${size}, while ${awaited}`);
}
