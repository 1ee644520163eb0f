import type { KeyObject } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { rootOf } from '../../common/merkle.ts';
import { type KnownAuthors, nothingKnown, Plan } from './plan.ts';
import type { LedgerStore, TreeHead } from './store.ts';
import { loadTail, type Tail, type TreeStore } from './tail.ts';

/** Lays a caller's wish out in a plan; what it returns is called once the plan is committed. */
export type LayOut = (plan: Plan) => Promise<() => void>;

interface Waiting {
  readonly entries: number;
  readonly layOut: LayOut;
  readonly fail: (error: AppError) => void;
}

/** Judges every end of the log that was read from the store rather than made here; nothing is committed after one it refuses. */
export interface TailGuard {
  /** @throws AppError `ledger.tampered` when `tail`, just read from `store`, does not continue what was published. */
  admit(tail: Tail, store: TreeStore): Promise<void>;
  /** What to throw for a stored head that cannot come after the one `known`. */
  rolledBack(known: TreeHead, found: TreeHead | undefined): Promise<AppError>;
}

/** Where a plan starts from, and who to ask for what it does not say. */
interface Known {
  readonly store: LedgerStore;
  readonly tail: Tail;
  readonly authors: KnownAuthors;
}

/**
 * The one writer of the log in this process. Gathers what arrives within a few milliseconds into one transaction (group
 * commit) and moves the tree head by compare-and-swap, so several processes may run one each on the same database:
 * whoever loses the swap waits for its turn, reads the new end of the log and lays its group out again.
 *
 * What it remembers of the log (tail, chain heads, keys) is only used together with that swap: if anybody else has
 * appended, the swap fails and all of it is read anew.
 */
export class Sequencer {
  readonly #store: LedgerStore;
  readonly #clock: Clock;
  readonly #privateKey: KeyObject;
  readonly #guard: TailGuard;
  readonly #queue: Waiting[] = [];
  #queuedEntries = 0;
  #running: Promise<void> | undefined;
  #closed = false;
  /** Being read, or known. */
  #tail: Promise<Tail> | undefined;
  #authors = nothingKnown;

  /** @param privateKey the collector's: signs when each group was received. */
  constructor(store: LedgerStore, clock: Clock, privateKey: KeyObject, guard: TailGuard) {
    this.#store = store;
    this.#clock = clock;
    this.#privateKey = privateKey;
    this.#guard = guard;
  }

  /**
   * Puts a wish of `entries` entries in line. Resolves when what it laid out is durable.
   * @throws AppError `state.busy` (retryable) when the line is full; whatever laying out refuses; a retryable error when
   *   the database failed, in which case the entries may or may not be in the ledger and should be offered again.
   */
  submit<T>(entries: number, layOut: (plan: Plan) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new AppError('state.busy', 'the ledger is closing', { retryable: true }));
    if (this.#queuedEntries + entries > limits.sequencerQueueMaxEntries) {
      return Promise.reject(
        new AppError('state.busy', 'too many entries are waiting to be written', { retryable: true }),
      );
    }
    return new Promise<T>((resolve, reject) => {
      const lay: LayOut = async (plan) => {
        const result = await layOut(plan);
        return () => resolve(result);
      };
      this.#queue.push({ entries, layOut: lay, fail: reject });
      this.#queuedEntries += entries;
      this.#running ??= this.#run();
    });
  }

  /** Entries waiting to be written. */
  get queuedEntries(): number {
    return this.#queuedEntries;
  }

  /** The end of the log as last read or written here; another process may be further. */
  tail(): Promise<Tail> {
    if (this.#tail !== undefined) return this.#tail;
    const reading = this.#readTail(this.#store);
    this.#tail = reading;
    reading.catch(() => {
      if (this.#tail === reading) this.#tail = undefined;
    });
    return reading;
  }

  /**
   * The end of the log as it is now, whoever has appended.
   * @throws AppError `ledger.tampered` when that is no continuation of the one known, or refused by the guard.
   */
  async latestTail(): Promise<Tail> {
    // Known before the head is asked for: what is committed meanwhile can only make the head larger.
    const known = (await this.tail()).head;
    const head = await this.#store.head();
    if (head === undefined || !mayFollow(known, head)) throw await this.#guard.rolledBack(known, head);
    const tail = await this.tail();
    if (head.range.size <= tail.head.range.size) return tail;
    this.#forget();
    return this.tail();
  }

  /** Takes no more wishes and waits for those in line. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      if (this.#queuedEntries < limits.groupCommitMaxEntries) await delay(limits.groupCommitWaitMs);
      await this.#settle(this.#takeGroup());
    }
    // In the same turn as the look at the queue: a wish that comes in between would wait for the next one.
    this.#running = undefined;
  }

  /** Commits a group or answers why not. One wish that the database cannot take must not fail its neighbours. */
  async #settle(group: readonly Waiting[]): Promise<void> {
    try {
      await this.#commit(group);
    } catch (thrown) {
      this.#forget();
      const error = toAppError(thrown);
      if (error.retryable || group.length === 1) for (const waiting of group) waiting.fail(error);
      else for (const waiting of group) await this.#settle([waiting]);
    }
  }

  #takeGroup(): Waiting[] {
    let [count, entries] = [0, 0];
    for (const waiting of this.#queue) {
      if (count > 0 && entries + waiting.entries > limits.groupCommitMaxEntries) break;
      count += 1;
      entries += waiting.entries;
    }
    this.#queuedEntries -= entries;
    return this.#queue.splice(0, count);
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const tail = await this.tail();
    const answer =
      (await this.#tryCommit(group, { store: this.#store, tail, authors: this.#authors })) ??
      (await this.#commitInTurn(group));
    answer();
  }

  /** For a group that lost the swap: a collector that has to read first would keep losing to a busier one. */
  #commitInTurn(group: readonly Waiting[]): Promise<() => void> {
    return this.#store.exclusively(async (store) => {
      const tail = await this.#readTail(store);
      this.#remember(tail, nothingKnown);
      const answer = await this.#tryCommit(group, { store, tail, authors: nothingKnown });
      if (answer === undefined) throw new AppError('ledger.tampered', 'the stored tree head contradicts itself');
      return answer;
    });
  }

  /** @returns what answers the callers, to be called once all is durable; undefined when the log has grown meanwhile. */
  async #tryCommit(group: readonly Waiting[], { store, tail, authors }: Known): Promise<(() => void) | undefined> {
    const plan = new Plan(store, tail, authors);
    const { granted, refused } = await layOutAll(group, plan);
    // A gap may only seem to be one because somebody else appended meanwhile.
    if (refused.length > 0 && (await isStale(store, tail))) return undefined;
    const laid = plan.empty ? undefined : plan.commit({ privateKey: this.#privateKey, now: this.#clock.now() });
    if (laid !== undefined && !(await store.commit(laid.commit))) return undefined;
    return () => {
      if (laid !== undefined) this.#remember(laid.tail, plan.authors);
      // A crash here loses only the answers: the entries are durable, and offering them again finds them in their place.
      for (const { waiting, error } of refused) waiting.fail(error);
      for (const tell of granted) tell();
    };
  }

  async #readTail(store: LedgerStore): Promise<Tail> {
    const tail = await readTail(store);
    await this.#guard.admit(tail, store);
    return tail;
  }

  #remember(tail: Tail, authors: KnownAuthors): void {
    this.#tail = Promise.resolve(tail);
    this.#authors = authors;
  }

  #forget(): void {
    this.#tail = undefined;
    this.#authors = nothingKnown;
  }
}

async function isStale(store: LedgerStore, tail: Tail): Promise<boolean> {
  const head = await store.head();
  return head?.range.size !== tail.head.range.size;
}

/** What two heads alone can tell; whether the larger tree contains the smaller one takes a proof. */
function mayFollow({ range: known }: TreeHead, { range }: TreeHead): boolean {
  return known.size === range.size ? rootOf(known).equals(rootOf(range)) : known.size < range.size;
}

async function readTail(store: LedgerStore): Promise<Tail> {
  const head = await store.head();
  if (head === undefined) throw new AppError('ledger.tampered', 'the ledger has no tree head');
  return loadTail(store, head);
}

async function layOutAll(group: readonly Waiting[], plan: Plan) {
  const granted: (() => void)[] = [];
  const refused: { waiting: Waiting; error: AppError }[] = [];
  for (const waiting of group) {
    try {
      granted.push(await waiting.layOut(plan));
    } catch (thrown) {
      const error = toAppError(thrown);
      // What cannot even be read says nothing about this wish: the whole group fails and may be offered again.
      if (error.retryable || error.code === 'internal.error') throw error;
      refused.push({ waiting, error });
    }
  }
  return { granted, refused };
}
