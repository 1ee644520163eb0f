import type { KeyObject } from 'node:crypto';
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { rootOf } from '../../common/merkle.ts';
import { type KnownAuthors, nothingKnown, Plan } from './plan.ts';
import type { Commit, FullTile, LedgerStore, StagedEntry, TreeHead } from './store.ts';
import { continueTail, loadTail, type Tail, type TreeStore } from './tail.ts';

/** Lays a caller's wish out in a plan; what it returns is called once the plan is committed. */
export type LayOut = (plan: Plan) => Promise<() => void>;

/** Whose chain a wish goes on, and how much it will add to the log, at most. */
export interface WishSize {
  readonly author: string;
  readonly entries: number;
  /** Canonical. */
  readonly bytes: number;
}

interface Waiting extends WishSize {
  readonly layOut: LayOut;
  readonly fail: (error: AppError) => void;
}

/** Judges every end of the log that was read from the store rather than made here; nothing is committed after one it refuses. */
export interface TailGuard {
  /**
   * Called before the end of the log is read: what is published meanwhile may lie behind it.
   * @returns what judges the `tail` that was read from `store`, throwing AppError `ledger.tampered` when it does not
   *   continue what was published.
   */
  admission(): Promise<(tail: Tail, store: TreeStore) => Promise<void>>;
  /** What to throw for a stored head that cannot come after the one `known`. */
  rolledBack(known: TreeHead, found: TreeHead | undefined): Promise<AppError>;
}

export interface SequencerOptions {
  readonly store: LedgerStore;
  readonly clock: Clock;
  /** The collector's: signs when each group was received. */
  readonly privateKey: KeyObject;
  readonly guard: TailGuard;
  /** Hears of tiles that are full now, once they are durable. */
  readonly onTiles: (tiles: readonly FullTile[]) => void;
  /** Passes a number of milliseconds; with 0, lets the process deal with what has come in meanwhile. */
  readonly wait?: ((ms: number) => Promise<unknown>) | undefined;
}

/** Where a plan starts from. */
interface Ground {
  readonly tail: Tail;
  readonly authors: KnownAuthors;
}

/** A group with its place in the log, not yet written. */
interface LaidOut {
  readonly ground: Ground;
  readonly plan: Plan;
  readonly granted: readonly (() => void)[];
  readonly refused: readonly { readonly waiting: Waiting; readonly error: AppError }[];
  /** None when everything in the group is in the ledger already, or refused. */
  readonly commit: Commit | undefined;
  /** The end of the log with it. */
  readonly after: Ground;
}

/** A group that is being written. */
interface Flight {
  readonly staged: readonly StagedEntry[];
  /** Resolves when its callers are answered: whether it is in the log as it was laid out. */
  readonly landed: Promise<boolean>;
}

/**
 * The one writer of the log in this process. Gathers what arrives within a few milliseconds into one transaction (group
 * commit) and moves the tree head by compare-and-swap, so several processes may run one each on the same database:
 * whoever loses the swap waits for its turn, reads the new end of the log and lays its group out again.
 *
 * While one group is being written the next one gathers and, once it is large, is laid out on top of it and sent after it. Should the first one fail, the swap of the
 * second one does too; then it is laid out again, after the first one was answered.
 *
 * What it remembers of the log (tail, chain heads, keys) is only used together with that swap: if anybody else has
 * appended, the swap fails and all of it is read anew.
 */
export class Sequencer {
  readonly #store: LedgerStore;
  readonly #clock: Clock;
  readonly #privateKey: KeyObject;
  readonly #guard: TailGuard;
  readonly #onTiles: SequencerOptions['onTiles'];
  readonly #wait: (ms: number) => Promise<unknown>;
  readonly #queue: Waiting[] = [];
  #queuedEntries = 0;
  /** To be called when what waits is worth a group of its own while others are under way. */
  #enough = (): void => {};
  #running: Promise<void> | undefined;
  #closed = false;
  /** Groups under way, each laid out on the one before. */
  readonly #flights: Flight[] = [];
  /** Being read, or known; durable in any case. */
  #tail: Promise<Tail> | undefined;
  /** The newest one that was durable, also when somebody else has appended since. */
  #before: Tail | undefined;
  /** Size of the tail that was made here; 0 when it is read from the store. */
  #madeSize = 0;
  /** The end of the log once all that is under way is durable; undefined when that has to be found out. */
  #ahead: Ground | undefined;

  constructor({ store, clock, privateKey, guard, onTiles, wait = pass }: SequencerOptions) {
    this.#store = store;
    this.#clock = clock;
    this.#privateKey = privateKey;
    this.#guard = guard;
    this.#onTiles = onTiles;
    this.#wait = wait;
  }

  /**
   * Puts a wish in line. Resolves when what it laid out is durable.
   * @throws AppError `state.busy` (retryable) when the line is full; whatever laying out refuses; a retryable error when
   *   the database failed, in which case the entries may or may not be in the ledger and should be offered again.
   */
  submit<T>({ author, entries, bytes }: WishSize, layOut: (plan: Plan) => Promise<T>): Promise<T> {
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
      this.#queue.push({ author, entries, bytes, layOut: lay, fail: reject });
      this.#queuedEntries += entries;
      if (this.#queuedEntries >= limits.groupCommitAheadEntries) this.#enough();
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
   * The end of the log as it is now, whoever has appended; or as it was after a commit from here, if that is enough.
   * @param enough size of a tree that will do: the swap of that commit has looked at the stored head already.
   * @throws AppError `ledger.tampered` when that is no continuation of the one known, or refused by the guard.
   */
  async latestTail(enough = Number.POSITIVE_INFINITY): Promise<Tail> {
    if (this.#madeSize >= enough) return this.tail();
    // Known before the head is asked for: what is committed meanwhile can only make the head larger.
    const known = (await this.tail()).head;
    const head = await this.#store.head();
    if (head === undefined || !mayFollow(known, head)) throw await this.#guard.rolledBack(known, head);
    const reached = async () => head.range.size <= (await this.tail()).head.range.size;
    // What is being written from here may be in it before its answer is here; only then somebody else has appended.
    if (!(await reached())) await Promise.all(this.#flights.map(({ landed }) => landed));
    if (!(await reached())) this.#forget();
    return this.tail();
  }

  /** Takes no more wishes and waits for those in line. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
    await this.#allLanded();
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0) {
      while (this.#mayNotLaunch()) await this.#oneLandedOrEnough();
      if (this.#queuedEntries < limits.groupCommitAheadEntries) await this.#wait(limits.groupCommitWaitMs);
      await this.#launch(this.#takeGroup());
    }
    // In the same turn as the look at the queue: a wish that comes in between would wait for the next one.
    this.#running = undefined;
  }

  /** A small group would wait for the one under way in any case; meanwhile it may as well grow. */
  #mayNotLaunch(): boolean {
    const { length } = this.#flights;
    return (
      length >= limits.groupCommitsInFlight || (length > 0 && this.#queuedEntries < limits.groupCommitAheadEntries)
    );
  }

  #takeGroup(): Waiting[] {
    let [count, entries, bytes] = [0, 0, 0];
    for (const waiting of this.#queue) {
      entries += waiting.entries;
      bytes += waiting.bytes;
      const full = entries > limits.groupCommitMaxEntries || bytes > limits.groupCommitMaxBytes;
      if (count > 0 && full) {
        entries -= waiting.entries;
        break;
      }
      count += 1;
    }
    this.#queuedEntries -= entries;
    return this.#queue.splice(0, count);
  }

  /** Resolves as soon as the next group may be laid out. */
  async #launch(group: readonly Waiting[]): Promise<void> {
    const before = this.#flights.at(-1)?.landed ?? Promise.resolve(true);
    const laid = await this.#layOut(group).catch(toAppError);
    if (!(laid instanceof AppError)) this.#ahead = laid.after;
    const staged = laid instanceof AppError ? [] : laid.plan.staged;
    const flight: Flight = { staged, landed: this.#land(group, laid, before) };
    this.#flights.push(flight);
    flight.landed.then(() => this.#flights.splice(this.#flights.indexOf(flight), 1));
    // What has to wait before it is sent must not be overtaken.
    if (laid instanceof AppError || laid.refused.length > 0) await flight.landed;
  }

  async #layOut(group: readonly Waiting[]): Promise<LaidOut> {
    if (this.#ahead === undefined) await this.#allLanded();
    const ground = this.#ahead ?? { tail: await this.tail(), authors: nothingKnown };
    const ahead = this.#flights.map(({ staged }) => staged);
    // The group before this one is on its way to the database meanwhile, and gets there only when it is this process's turn to send.
    const letOthersSend = () => this.#wait(0);
    return this.#layOutOn(group, ground, new Plan(this.#store, ground.tail, ground.authors, ahead), letOthersSend);
  }

  /** @param pause called every now and then. */
  async #layOutOn(
    group: readonly Waiting[],
    ground: Ground,
    plan: Plan,
    pause: () => Promise<unknown> = async () => {},
  ): Promise<LaidOut> {
    await plan.meet(group.map(({ author }) => author));
    const { granted, refused } = await layOutAll(group, plan, pause);
    if (plan.empty) return { ground, plan, granted, refused, commit: undefined, after: ground };
    const { commit, tail } = plan.commit({ privateKey: this.#privateKey, now: this.#clock.now() });
    return { ground, plan, granted, refused, commit, after: { tail, authors: plan.authors } };
  }

  /** Writes a group and answers its callers, in any case. */
  async #land(group: readonly Waiting[], laid: LaidOut | AppError, before: Promise<boolean>): Promise<boolean> {
    try {
      if (laid instanceof AppError) throw laid;
      if (await this.#commit(this.#store, laid, before)) {
        this.#answer(laid);
        return true;
      }
      this.#forget();
      // Whatever came before goes before this time too.
      await before;
      await this.#commitInTurn(group);
    } catch (thrown) {
      this.#forget();
      await before;
      await this.#answerFailure(group, toAppError(thrown));
    }
    return false;
  }

  /** @returns false when the log is not what the group was laid out on; then nothing was written. */
  async #commit(store: LedgerStore, laid: LaidOut, before: Promise<boolean>): Promise<boolean> {
    const { commit, refused, ground } = laid;
    // A commit proves by its swap that all before it is durable; an answer without one has to wait for that.
    if ((commit === undefined || refused.length > 0) && !(await before)) return false;
    // A gap may only seem to be one because somebody else appended meanwhile.
    if (refused.length > 0 && (await isStale(store, ground.tail))) return false;
    return commit === undefined || store.commit(commit);
  }

  #answer({ commit, granted, refused, after }: LaidOut): void {
    if (commit !== undefined) {
      this.#remember(after.tail);
      this.#onTiles(commit.tiles);
    }
    // A crash here loses only the answers: the entries are durable, and offering them again finds them in their place.
    for (const { waiting, error } of refused) waiting.fail(error);
    for (const tell of granted) tell();
  }

  /** One wish that the database cannot take must not fail its neighbours. */
  async #answerFailure(group: readonly Waiting[], error: AppError): Promise<void> {
    if (error.retryable || group.length === 1) for (const waiting of group) waiting.fail(error);
    else for (const waiting of group) await this.#settle(waiting);
  }

  async #settle(waiting: Waiting): Promise<void> {
    try {
      await this.#commitInTurn([waiting]);
    } catch (thrown) {
      this.#forget();
      waiting.fail(toAppError(thrown));
    }
  }

  /** For a group that lost the swap: a collector that has to read first would keep losing to a busier one. */
  async #commitInTurn(group: readonly Waiting[]): Promise<void> {
    const laid = await this.#store.exclusively(async (store) => {
      const tail = await this.#readTail(store);
      const again = await this.#layOutOn(group, { tail, authors: nothingKnown }, new Plan(store, tail));
      if (await this.#commit(store, again, Promise.resolve(true))) return again;
      throw new AppError('ledger.tampered', 'the stored tree head contradicts itself');
    });
    this.#answer(laid);
  }

  async #allLanded(): Promise<void> {
    while (this.#flights.length > 0) await Promise.all(this.#flights.map(({ landed }) => landed));
  }

  async #oneLandedOrEnough(): Promise<void> {
    const enough = new Promise<void>((resolve) => {
      this.#enough = resolve;
    });
    // With all flights in the air, more entries change nothing.
    const full = this.#flights.length >= limits.groupCommitsInFlight;
    await Promise.race([...this.#flights.map(({ landed }) => landed), ...(full ? [] : [enough])]);
  }

  async #readTail(store: LedgerStore): Promise<Tail> {
    const admit = await this.#guard.admission();
    const tail = await readTail(store, this.#before);
    await admit(tail, store);
    // Nothing is answered or signed on the ground of what a failover could still take back.
    await store.settle();
    this.#before = tail;
    return tail;
  }

  #remember(tail: Tail): void {
    // The answer to a later commit may come first.
    if (tail.head.range.size < this.#madeSize) return;
    this.#tail = Promise.resolve(tail);
    this.#before = tail;
    this.#madeSize = tail.head.range.size;
  }

  #forget(): void {
    this.#tail = undefined;
    this.#madeSize = 0;
    this.#ahead = undefined;
  }
}

function pass(ms: number): Promise<unknown> {
  return ms === 0 ? nextTurn() : delay(ms);
}

async function isStale(store: LedgerStore, tail: Tail): Promise<boolean> {
  const head = await store.head();
  return head?.range.size !== tail.head.range.size;
}

/** What two heads alone can tell; whether the larger tree contains the smaller one takes a proof. */
function mayFollow({ range: known }: TreeHead, { range }: TreeHead): boolean {
  return known.size === range.size ? rootOf(known).equals(rootOf(range)) : known.size < range.size;
}

/** @param before an end of the log from earlier: mostly all that has to be read is what came after it. */
async function readTail(store: LedgerStore, before: Tail | undefined): Promise<Tail> {
  const head = await store.head();
  if (head === undefined) throw new AppError('ledger.tampered', 'the ledger has no tree head');
  return (before && (await continueTail(store, before, head))) ?? loadTail(store, head);
}

async function layOutAll(group: readonly Waiting[], plan: Plan, pause: () => Promise<unknown>) {
  const granted: (() => void)[] = [];
  const refused: { waiting: Waiting; error: AppError }[] = [];
  let entries = 0;
  for (const waiting of group) {
    try {
      granted.push(await waiting.layOut(plan));
    } catch (thrown) {
      const error = toAppError(thrown);
      // What cannot even be read says nothing about this wish: the whole group fails and may be offered again.
      if (error.retryable || error.code === 'internal.error') throw error;
      refused.push({ waiting, error });
    }
    entries += waiting.entries;
    if (entries < limits.layOutMaxEntries) continue;
    entries = 0;
    await pause();
  }
  return { granted, refused };
}
