import type { KeyObject } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { parseCheckpoint } from '../../common/checkpoint.ts';
import type { Clock } from '../../common/clock.ts';
import { rfc3339 } from '../../common/clock.ts';
import { isFromFuture, verifyCosignatureAsync } from '../../common/cosignature.ts';
import type { OrderWitnesses } from '../../common/enforcement/order-witnesses.ts';
import type { LoggedEntry } from '../../common/entry.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { parseNote, type VerifierKey } from '../../common/note.ts';
import { nodeWitnessKey } from '../../common/witnesses.ts';
import type { RoundCheckpoint, Vote, Witnessing } from '../ws/ports.ts';
import { lookInto } from './fork-report.ts';
import type { WitnessMetrics } from './metrics.ts';
import { cosignedBy } from './order-quorum.ts';
import { type Pace, roundEveryMs } from './pace.ts';
import type { StoredCheckpoint, StoredCosignature, WitnessStore } from './ports.ts';
import { isQuorate, type Roster } from './roster.ts';

/** What rounds need of the ledger. */
export interface RoundLedger {
  readonly origin: string;
  checkpoint(): Promise<{ readonly size: number; readonly note: string }>;
  confront(note: string): Promise<void>;
  record(statement: Statement): Promise<LoggedEntry>;
}

export interface RoundsOptions {
  readonly ledger: RoundLedger;
  readonly store: WitnessStore;
  /** Who counts at this moment. */
  readonly roster: () => Promise<Roster>;
  /** Puts a checkpoint to everybody who is connected here. Does not wait for anything. */
  readonly offer: (checkpoint: RoundCheckpoint) => void;
  /** Puts it to outside witnesses; only the collector that began the round does. */
  readonly offerOutside: (checkpoint: RoundCheckpoint, roster: Roster) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: WitnessMetrics;
  readonly orders?: WitnessedOrders;
  /** Ends what waits to begin a round. */
  readonly signal: AbortSignal;
  readonly bounds?: Partial<RoundBounds>;
}

export interface RoundBounds extends Pace {
  readonly witnessGateMs: number;
  readonly witnessGatherMs: number;
  readonly witnessNoticeMs: number;
  readonly maxUnwitnessedMs: number;
}

/** Orders that witnesses have to have seen. */
export interface WitnessedOrders {
  /** Who, by the manifest in force; undefined where it asks for nobody. */
  readonly witnesses: () => OrderWitnesses | undefined;
  /** Hears that enough of them have cosigned something newer. Must not throw. */
  readonly vouched: () => void;
}

/** The rounds in which one checkpoint at a time is put to all witnesses. See `docs/witnesses.md`. */
export interface Rounds extends Witnessing {
  /** Looks whether there is something to cosign. To be called every now and then. */
  tick(): Promise<void>;
  /** Begins a round over the first `size` entries as soon as one may begin, unless there was one. Does not wait. */
  hurry(size: number): void;
  /** The largest checkpoint that was heard to have the quorum that orders need; 0 for none. Only a hint where to look. */
  readonly vouchedSize: number;
  /** A word from another collector, or from this one. */
  heard(word: string): void;
  /** A verified cosignature from elsewhere. */
  add(size: number, cosignature: StoredCosignature): void;
  /** Waits for what is being stored. */
  close(): Promise<void>;
}

/** Words between collectors. */
const words = { notice: 'notice', missed: 'missed', round: 'round ', vouched: 'vouched ' } as const;

/** How much of a round has to pass before the next one begins, so that one that comes on time is not refused. */
const apart = 0.9;

export function createRounds(options: RoundsOptions): Rounds {
  return new RoundKeeper(options);
}

class RoundKeeper implements Rounds {
  readonly #options: RoundsOptions;
  readonly #bounds: RoundBounds;
  /** What this collector's agents were last asked to cosign. */
  #current: RoundCheckpoint | undefined;
  #forming: { readonly over: Promise<void>; readonly end: () => void } | undefined;
  /** Somebody could not take part in the last round: the next one is announced first. */
  #wantsNotice = false;
  #toldMissed = false;
  /** Witnesses of whose clock it was said that it is ahead; no more than there are keys of nodes. */
  readonly #toldAhead = new Set<string>();
  /** The checkpoint and the roster that were last found to have a quorum between them. */
  #sufficient = '';
  readonly #gathered = new Map<number, StoredCosignature[]>();
  #storing: Promise<void> | undefined;
  #ticking: Promise<void> = Promise.resolve();
  /** When this collector's agents were last asked about a new checkpoint, monotonic milliseconds. */
  #begunMs = Number.NEGATIVE_INFINITY;
  #hurrying = false;
  /** Somebody waits for the round that begins next. */
  #hurried = false;
  #vouchedSize = 0;
  /** The checkpoint whose quorum is on record. */
  #reachedSize = -1;
  /** Made once for each session, and not for each of its cosignatures. */
  readonly #keys = new WeakMap<KeyObject, VerifierKey>();

  constructor(options: RoundsOptions) {
    this.#options = options;
    this.#bounds = { ...limits, ...options.bounds };
  }

  get forming(): Promise<void> | undefined {
    return this.#forming?.over;
  }

  get vouchedSize(): number {
    return this.#vouchedSize;
  }

  /** One after another. */
  tick(): Promise<void> {
    const turn = this.#ticking.then(() => this.#tick());
    this.#ticking = turn.catch(() => {});
    return turn;
  }

  hurry(size: number): void {
    if (this.#hurrying || (this.#current !== undefined && this.#current.size >= size)) return;
    const dueMs = this.#begunMs + this.#bounds.witnessRoundMs * apart;
    this.#hurrying = true;
    this.#tickIn(Math.max(0, dueMs - this.#options.clock.monotonicMs())).catch(this.#unstored);
  }

  async #tickIn(waitMs: number): Promise<void> {
    const { signal } = this.#options;
    await delay(waitMs, undefined, { signal }).catch(() => {});
    this.#hurrying = false;
    this.#hurried = true;
    if (!signal.aborted) await this.tick();
  }

  async #tick(): Promise<void> {
    const { store, roster } = this.#options;
    await this.#tellGaps();
    const { ledgerSize, newest } = await store.standing();
    const now = await roster();
    if (now.witnesses.length === 0) return;
    if (newest === undefined || newest.size < ledgerSize) return this.#beginInTime(now);
    if (newest.witnessed && (await this.#suffices(newest.size, now))) return;
    // The quorum may have become smaller or larger, and witnesses that have come meanwhile were not asked.
    this.#options.offerOutside(await this.#adoptStored(newest), now);
    await this.#weigh(newest.size);
  }

  /** Whether what was witnessed once would be by those who count now. Looked at again when they are others. */
  async #suffices(size: number, roster: Roster): Promise<boolean> {
    const counted = roster.witnesses.map(({ key }) => `${key.keyId} ${key.name}`);
    const pinned = this.#options.orders?.witnesses();
    const of = [size, roster.required, ...counted, pinned?.required, ...(pinned?.keys ?? [])].join(' ');
    if (this.#sufficient === of) return true;
    const cosignatures = await this.#options.store.cosignatures(size);
    // A quorum that cannot be said cannot be asked for.
    const enough = roster.required === undefined || isQuorate(roster, cosignatures);
    if (!enough || !this.#vouchesForOrders(cosignatures)) return false;
    this.#sufficient = of;
    return true;
  }

  #vouchesForOrders(cosignatures: readonly StoredCosignature[]): boolean {
    const wanted = this.#options.orders?.witnesses();
    return wanted === undefined || cosignedBy(wanted, cosignatures).length >= wanted.required;
  }

  heard(word: string): void {
    if (word === words.notice) this.#gate();
    else if (word === words.missed) this.#wantsNotice = true;
    else if (word.startsWith(words.vouched)) this.#vouched(Number(word.slice(words.vouched.length)));
    else if (word.startsWith(words.round)) void this.#follow(Number(word.slice(words.round.length)));
  }

  #vouched(size: number): void {
    if (!(size > this.#vouchedSize)) return;
    this.#vouchedSize = size;
    this.#options.orders?.vouched();
  }

  missed(): void {
    this.#options.metrics.round('skipped');
    if (this.#toldMissed) return;
    this.#toldMissed = true;
    this.#options.store.announce(words.missed).catch(this.#unstored);
  }

  async cosigned({ node, publicKey, checkpoint, cosignature }: Vote): Promise<void> {
    const { ledger, metrics, clock } = this.#options;
    const key = this.#keys.get(publicKey) ?? nodeWitnessKey(ledger.origin, node, publicKey);
    this.#keys.set(publicKey, key);
    const line = { name: key.name, keyId: key.keyId, signature: cosignature };
    const timestampSeconds = await verifyCosignatureAsync(checkpoint.text, line, key).catch((thrown: unknown) => {
      metrics.cosignature('node', 'refused');
      throw thrown;
    });
    if (isFromFuture(timestampSeconds, clock.now())) return this.#refuseAhead(node);
    this.#toldAhead.delete(node);
    metrics.cosignature('node', 'accepted');
    this.add(checkpoint.size, { witness: key.name, keyId: key.keyId, cosignature });
  }

  /** Its entries are worth no less for a wrong clock, so that the session goes on. */
  #refuseAhead(node: string): void {
    this.#options.metrics.cosignature('node', 'refused');
    if (this.#toldAhead.has(node)) return;
    this.#toldAhead.add(node);
    this.#options.logger.warn('witness.clock_ahead', { node, maxAheadMs: limits.maxCosignatureAheadMs });
  }

  async forked(report: Parameters<Witnessing['forked']>[0]): Promise<void> {
    const { ledger, logger, metrics } = this.#options;
    metrics.forkReport(await lookInto(report, (note) => ledger.confront(note), logger));
  }

  add(size: number, cosignature: StoredCosignature): void {
    const round = this.#gathered.get(size) ?? [];
    round.push(cosignature);
    this.#gathered.set(size, round);
    this.#storing ??= this.#storeGathered();
  }

  async close(): Promise<void> {
    await this.#ticking;
    while (this.#storing !== undefined) await this.#storing;
  }

  async #beginInTime(roster: Roster): Promise<void> {
    const { witnessRoundMs } = this.#bounds;
    const everyMs = this.#hurried ? witnessRoundMs : roundEveryMs(roster.witnesses.length, this.#bounds);
    if (this.#options.clock.monotonicMs() - this.#begunMs < everyMs * apart) return;
    await this.#begin(roster, everyMs);
  }

  /**
   * Acks wait while the checkpoint is taken and put on record, so that no agent of this collector is told of a larger tree
   * before it is asked about this one.
   */
  async #begin(roster: Roster, everyMs: number): Promise<void> {
    const { ledger, store } = this.#options;
    if (this.#wantsNotice) await this.#giveNotice();
    const gate = this.#gate();
    try {
      const checkpoint = await ledger.checkpoint();
      // Refused when another collector has just begun one: its word is on the way.
      if (!(await store.open(checkpoint, everyMs * apart))) return;
      this.#hurried = false;
      this.#options.metrics.round('begun');
      this.#options.offerOutside(this.#adopt(checkpoint), roster);
      await store.announce(words.round + checkpoint.size);
      if (roster.required === 0) await this.#weigh(checkpoint.size);
    } finally {
      gate.end();
    }
  }

  /** Agents of other collectors must not run ahead either. */
  async #giveNotice(): Promise<void> {
    this.#wantsNotice = false;
    this.#gate();
    await this.#options.store.announce(words.notice);
    await delay(this.#bounds.witnessNoticeMs);
  }

  #gate(): { readonly end: () => void } {
    this.#forming?.end();
    let open: () => void = () => {};
    const over = new Promise<void>((resolve) => {
      open = resolve;
    });
    const late = setTimeout(() => gate.end(), this.#bounds.witnessGateMs);
    const gate = {
      over,
      end: () => {
        clearTimeout(late);
        if (this.#forming === gate) this.#forming = undefined;
        open();
      },
    };
    this.#forming = gate;
    return gate;
  }

  /** Another collector, or this one, has begun a round. */
  async #follow(size: number): Promise<void> {
    try {
      if (this.#current !== undefined && size <= this.#current.size) return;
      const checkpoint = await this.#options.store.checkpoint(size);
      if (checkpoint !== undefined) await this.#adoptStored(checkpoint);
    } catch (thrown) {
      this.#unstored(thrown);
    } finally {
      this.#forming?.end();
    }
  }

  /** What is in the table is only believed once it has been held against the ledger: agents would take it for a fork. */
  async #adoptStored(stored: StoredCheckpoint): Promise<RoundCheckpoint> {
    if (this.#current?.size !== stored.size) {
      await this.#options.ledger.confront(stored.note);
      const { size } = parseCheckpoint(parseNote(stored.note).text);
      if (size !== stored.size)
        throw new AppError('ledger.tampered', `the checkpoint stored as ${stored.size} is of ${size}`);
    }
    return this.#adopt(stored);
  }

  /** Asks our agents. In one go, so that no ack comes in between. */
  #adopt({ size, note }: StoredCheckpoint): RoundCheckpoint {
    if (this.#current?.size !== size) {
      this.#current = { size, note, text: parseNote(note).text };
      this.#begunMs = this.#options.clock.monotonicMs();
      this.#toldMissed = false;
    }
    this.#options.offer(this.#current);
    return this.#current;
  }

  /** Those that come within a few milliseconds are stored together: thousands of agents answer at once. */
  async #storeGathered(): Promise<void> {
    await delay(this.#bounds.witnessGatherMs);
    const rounds = [...this.#gathered];
    this.#gathered.clear();
    try {
      for (const [size, cosignatures] of rounds) {
        await this.#options.store.addCosignatures(size, cosignatures);
        await this.#weigh(size);
      }
    } catch (thrown) {
      this.#unstored(thrown);
    }
    this.#storing = this.#gathered.size === 0 ? undefined : this.#storeGathered();
  }

  async #weigh(size: number): Promise<void> {
    const { store, roster, metrics, clock, orders } = this.#options;
    const isForOrders = orders?.witnesses() !== undefined && size > this.#vouchedSize;
    // The others of a large fleet go on answering, and nothing hangs on their answers any more.
    if (size === this.#reachedSize && !isForOrders) return;
    const cosignatures = await store.cosignatures(size);
    if (isForOrders) await this.#tellVouched(size, cosignatures);
    if (!isQuorate(await roster(), cosignatures)) return;
    const isFirst = await store.reached(size, clock.now(), this.#bounds.maxUnwitnessedMs);
    this.#reachedSize = size;
    if (!isFirst) return;
    metrics.round('quorum');
    await this.#tellGaps();
  }

  /** Orders wait at whichever collector their node is connected to; what is not heard is found when it looks around. */
  async #tellVouched(size: number, cosignatures: readonly StoredCosignature[]): Promise<void> {
    if (size <= this.#vouchedSize || !this.#vouchesForOrders(cosignatures)) return;
    this.#vouched(size);
    await this.#options.store.announce(words.vouched + size);
  }

  /** A crash between the entry and the note that it was told has it told once more; both say the same. */
  async #tellGaps(): Promise<void> {
    const { ledger, store, logger } = this.#options;
    for (let gap = await store.claimGap(); gap !== undefined; gap = await store.claimGap()) {
      const { fromSize, toSize } = gap;
      const body = { fromSize, toSize, since: rfc3339(gap.sinceMs), until: rfc3339(gap.untilMs) };
      const { index } = await ledger.record({ kind: 'witness.gap', body });
      await store.recordedGap(toSize, index);
      logger.warn('witness.gap', body);
    }
  }

  /** The next round asks again. */
  readonly #unstored = (thrown: unknown): void => {
    const { code, message } = toAppError(thrown);
    this.#options.logger.warn('witness.not_stored', { code, message });
  };
}
