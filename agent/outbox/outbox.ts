import { createPublicKey, type KeyObject } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { type ChainHead, type SignedEntry, sealEntry } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint } from '../../common/keys.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { LedgerHead } from '../ports.ts';
import type { Room, Seal } from './admission.ts';
import type { Drops } from './drops.ts';
import { outboxPaths } from './folder.ts';
import { type AppendCall, planGroup, settleGroup } from './group.ts';
import { createLane, type Lane } from './lane.ts';
import { entriesAfter, entryKey, entryRange, recordBytes, sealValue, statePrefix, unsealText } from './layout.ts';
import { type BatchOp, pages } from './level-store.ts';
import type { Recovery } from './load.ts';
import { hashAt, type ReadBounds, readEntries } from './read.ts';
import { rebase } from './rebase.ts';
import type { Standing, Unanchored } from './standing.ts';
import { Vault } from './vault.ts';

export interface OutboxOptions {
  /** The LevelDB folder; `<dir>.reserve`, `<dir>.mark` and quarantined folders stand beside it. */
  readonly dir: string;
  readonly author: string;
  readonly privateKey: KeyObject;
  readonly clock: Clock;
  /** Bound on the queued entries (keys, hashes and signatures included; the state is the agent's to bound). */
  readonly maxBytes: number;
  /** Share of `maxBytes` kept for what is not periodic, 0 to 1. */
  readonly reservedShare: number;
  /** Defaults to `limits.outboxReserveFileBytes`. */
  readonly reserveFileBytes?: number;
  readonly logger?: Logger;
}

/** One change of the told state: a JSON value, or undefined to remove the key. */
export interface StateChange {
  readonly key: string;
  readonly value: unknown;
}

/** The agent's durable queue of entries not yet acknowledged, with what it has told so far. See `docs/outbox.md`. */
export interface Outbox {
  /** The last entry; the next one is numbered and chained after it. */
  readonly head: ChainHead;
  /** The last entry known to be in the ledger. */
  readonly acked: ChainHead;
  /** Entries queued. */
  readonly depth: number;
  /** Bytes they count for. */
  readonly bytes: number;
  /** False until {@link anchor}: entries may be appended, but none is handed out for sending. */
  readonly anchored: boolean;
  /** What was not numbered since the last `outbox.dropped` entry; undefined for nothing. */
  readonly drops: Omit<Drops, 'refused'> | undefined;
  /** What was done about a damaged outbox, at open or since. */
  readonly recovery: Recovery | undefined;
  /**
   * Says `statements` and changes the state, both or neither, in one durable batch; resolves when it is on disk. Calls
   * are numbered in the order they were made. Resolves with the entries, empty when every statement was periodic and
   * there was no room for them (then they are counted and the state is unchanged).
   * @throws AppError `outbox.full` when there is no room: the statements are still the caller's to say;
   * `outbox.write_failed` when the disk failed: nothing of it is kept. Both may be tried again. `validation.entry` for a
   * statement that cannot be an entry.
   */
  append(statements: readonly Statement[], state?: readonly StateChange[]): Promise<readonly SignedEntry[]>;
  /** The state under keys that begin with `prefix`, by key. The values are as durable as the entries they went with. */
  state(prefix?: string): Promise<ReadonlyMap<string, unknown>>;
  /**
   * Entries after `afterSeq`, as many as fit `bounds` and at least one if there is one.
   * @throws AppError `state.conflict` until the outbox is anchored; `outbox.corrupt` when an entry turned out damaged,
   * after what could be salvaged was.
   */
  read(afterSeq: number, bounds: ReadBounds): Promise<readonly SignedEntry[]>;
  /**
   * Entries up to `throughSeq` are in the ledger under the checkpoint of `checkpointNote`, both verified by the caller.
   * With the number of the acknowledged head it only stores the checkpoint.
   * @throws AppError `ledger.sequence` for a number this outbox never gave.
   */
  trim(throughSeq: number, checkpointNote: string): Promise<void>;
  /** The last checkpoint note the agent accepted. */
  checkpoint(): string | undefined;
  /**
   * Compares with where this author's chain is said to stand in the ledger, and drops nothing. An outbox that lost its
   * place re-bases on that head if it was proved, again until an ack has proved that the place was the right one.
   * @throws AppError `ledger.sequence` when the chains differ and this outbox has not lost its place (two agents use one
   * key, or the ledger was set back), or has and the head is not proved. Nothing is changed then.
   */
  anchor(ledgerHead: LedgerHead): Promise<void>;
  /** Calls back after entries became durable. Returns the function that ends it. */
  onAppended(listener: () => void): () => void;
  /** Calls back when a damaged outbox was replaced while running; what the caller remembers as told may be void. */
  onRecovered(listener: (recovery: Recovery) => void): () => void;
  /** Waits for what is under way and closes. */
  close(): Promise<void>;
}

/**
 * Opens the outbox in `dir`, making or recovering it as needed.
 * @throws AppError `state.conflict` when another agent has it open or it belongs to another node or key.
 */
export async function openOutbox(options: OutboxOptions): Promise<Outbox> {
  const { dir, author, privateKey, clock, reserveFileBytes = limits.outboxReserveFileBytes, logger } = options;
  const publicKey = createPublicKey(privateKey);
  const recoveredListeners = new Set<(recovery: Recovery) => void>();
  const vault = await Vault.open({
    paths: outboxPaths(dir),
    signer: { author, publicKey, fingerprint: fingerprint(publicKey) },
    privateKey,
    clock,
    reserveFileBytes,
    logger,
    recovered: (recovery) => notify(recoveredListeners, recovery, logger),
  });
  return new LevelOutbox(options, vault, recoveredListeners);
}

class LevelOutbox implements Outbox {
  readonly #options: OutboxOptions;
  readonly #vault: Vault;
  readonly #lane: Lane<AppendCall>;
  readonly #seal: Seal;
  readonly #appended = new Set<(nothing: undefined) => void>();
  readonly #recovered: Set<(recovery: Recovery) => void>;
  #closing: Promise<void> | undefined;

  constructor(options: OutboxOptions, vault: Vault, recovered: Set<(recovery: Recovery) => void>) {
    this.#options = options;
    this.#vault = vault;
    this.#recovered = recovered;
    this.#lane = createLane((take) => this.#commitGroup(take));
    const { author, privateKey } = options;
    this.#seal = (statement, head, now) => sealEntry(statement, { author, head, now, privateKey });
  }

  get head(): ChainHead {
    return this.#vault.standing.head;
  }
  get acked(): ChainHead {
    return this.#vault.standing.acked;
  }
  get depth(): number {
    return this.head.seq - this.acked.seq;
  }
  get bytes(): number {
    return this.#vault.standing.bytes;
  }
  get anchored(): boolean {
    return this.#vault.standing.unanchored?.based ?? true;
  }
  get drops(): Omit<Drops, 'refused'> | undefined {
    return this.#vault.standing.drops ?? undefined;
  }
  get recovery(): Recovery | undefined {
    return this.#vault.recovery;
  }
  checkpoint(): string | undefined {
    return this.#vault.standing.checkpoint ?? undefined;
  }

  append(statements: readonly Statement[], state: readonly StateChange[] = []): Promise<readonly SignedEntry[]> {
    if (this.#closing !== undefined) return Promise.reject(closedError(this.#options.dir));
    if (this.#lane.waiting >= limits.outboxWaitingMaxCalls) return Promise.reject(tooManyWaiting());
    // Frozen as bytes now: the caller may go on changing the values it handed over.
    const stateOps = state.map(stateOp);
    const at = this.#options.clock.now();
    return new Promise((resolve, reject) => this.#lane.submit({ statements, at, stateOps, resolve, reject }));
  }

  state(prefix = ''): Promise<ReadonlyMap<string, unknown>> {
    return this.#run(() => this.#readState(prefix));
  }

  read(afterSeq: number, bounds: ReadBounds): Promise<readonly SignedEntry[]> {
    return this.#run(async () => {
      this.#assertAnchored('entries cannot be sent');
      const { generation, acked } = this.#vault.standing;
      const found = await readEntries(this.#vault.db, generation, Math.max(afterSeq, acked.seq), bounds);
      if (found.damaged !== undefined) throw await this.#vault.reload(found.damaged);
      return found.entries;
    });
  }

  trim(throughSeq: number, checkpointNote: string): Promise<void> {
    return this.#run(() => this.#trim(throughSeq, checkpointNote));
  }

  anchor(ledgerHead: LedgerHead): Promise<void> {
    return this.#run(() => this.#anchor(ledgerHead));
  }

  onAppended(listener: () => void): () => void {
    this.#appended.add(listener);
    return () => this.#appended.delete(listener);
  }

  onRecovered(listener: (recovery: Recovery) => void): () => void {
    this.#recovered.add(listener);
    return () => this.#recovered.delete(listener);
  }

  close(): Promise<void> {
    this.#closing ??= this.#lane.run(() => this.#vault.close());
    return this.#closing;
  }

  async #run<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw closedError(this.#options.dir);
    return this.#lane.run(async () => {
      await this.#vault.ready();
      return operation();
    });
  }

  async #commitGroup(take: () => AppendCall | undefined): Promise<void> {
    try {
      await this.#vault.ready();
    } catch (error) {
      for (let call = take(); call !== undefined; call = take()) call.reject(error);
      return;
    }
    const before = this.#vault.standing;
    const plan = planGroup(take, before, this.#room(), this.#seal);
    try {
      if (plan.ops.length > 0 || plan.after.drops !== before.drops) await this.#vault.commit(plan.ops, plan.after);
    } catch (error) {
      for (const { call } of plan.decided) call.reject(error);
      return;
    }
    settleGroup(plan, this.#options.dir);
    if (plan.after.head !== before.head) notify(this.#appended, undefined, this.#options.logger);
  }

  #room(): Room {
    const { maxBytes, reservedShare } = this.#options;
    return {
      ordinaryBytes: Math.floor(maxBytes * (1 - reservedShare)),
      totalBytes: maxBytes,
      disk: this.#vault.hasReserve,
    };
  }

  async #readState(prefix: string): Promise<ReadonlyMap<string, unknown>> {
    const found = new Map<string, unknown>();
    const from = statePrefix + prefix;
    for await (const page of pages(this.#vault.db, { gte: from, lt: `${from}\u{10ffff}` })) {
      for (const [key, value] of page) {
        const text = unsealText(key, value);
        if (text === undefined) throw await this.#vault.reload(`record ${key} is damaged`);
        found.set(key.slice(statePrefix.length), JSON.parse(text));
      }
    }
    return found;
  }

  async #trim(throughSeq: number, note: string): Promise<void> {
    this.#assertAnchored('nothing can have been acknowledged');
    const { standing } = this.#vault;
    if (throughSeq > standing.head.seq) {
      throw sequenceError(`acknowledged up to ${throughSeq}`, this.#options.dir, standing);
    }
    const unanchored = afterAck(standing.unanchored, throughSeq);
    const next = { ...standing, checkpoint: note };
    if (throughSeq > standing.acked.seq)
      return this.#dropThrough(await this.#headAt(throughSeq), { ...next, unanchored });
    if (note !== standing.checkpoint) await this.#vault.commit([], next);
  }

  async #anchor(ledgerHead: LedgerHead): Promise<void> {
    const { standing } = this.#vault;
    const { acked, unanchored } = standing;
    if (await this.#contains(ledgerHead)) {
      if (unanchored === null || unanchored.based) return;
      return this.#vault.commit([], { ...standing, unanchored: { ...unanchored, based: true } });
    }
    // What was acknowledged under a verified checkpoint cannot become unsaid, not even for an outbox that lost its tail.
    if (unanchored === null || (unanchored.ackedKnown && ledgerHead.seq <= acked.seq)) {
      throw sequenceError(`at entry ${ledgerHead.seq} (${ledgerHead.hash})`, this.#options.dir, standing);
    }
    // That there is nothing cannot be proved. Believed wrongly it loses nothing: a proved head comes before any ack.
    if (ledgerHead.proved !== true && ledgerHead.seq > 0) throw unprovedError(ledgerHead, this.#options.dir);
    await this.#rebaseOn({ seq: ledgerHead.seq, hash: ledgerHead.hash }, standing);
  }

  /** Crash points: before the switch the new generation is swept at the next start, after it the old one. */
  async #rebaseOn(ledgerHead: ChainHead, from: Standing): Promise<void> {
    const next = await this.#vault.scratch((db) => rebase(db, from, ledgerHead, this.#seal));
    await this.#vault.commit([], next);
    const end = entryKey(next.generation, 0);
    await this.#vault.scratch((db) => db.clear({ gte: entryRange.gte, lt: end }));
    this.#vault.freed(from.bytes, end);
    this.#options.logger?.info('outbox.rebased', { ledgerHead, renumbered: next.head.seq - ledgerHead.seq });
  }

  /**
   * The first page goes with the new acknowledged head; the rest of a long run counts for nothing from then on, and is
   * swept at the next start if a crash leaves it.
   */
  async #dropThrough(acked: ChainHead, next: Standing): Promise<void> {
    const end = entryKey(next.generation, acked.seq + 1);
    let left = next.bytes;
    let first = true;
    const { gte } = entriesAfter(next.generation, next.acked.seq);
    for await (const page of pages(this.#vault.db, { gte, lt: end })) {
      const ops = page.map(([key]): BatchOp => ({ type: 'del', key }));
      for (const [, value] of page) left -= recordBytes(value);
      if (first) await this.#vault.commit(ops, { ...next, acked, bytes: left });
      else await this.#vault.scratch((db) => db.batch(ops));
      first = false;
    }
    this.#vault.setBytes(left);
    this.#vault.freed(next.bytes - left, end);
  }

  async #contains({ seq, hash }: ChainHead): Promise<boolean> {
    const { acked, head } = this.#vault.standing;
    if (seq === acked.seq) return hash === acked.hash;
    if (seq < acked.seq || seq > head.seq) return false;
    return (await this.#headAt(seq)).hash === hash;
  }

  async #headAt(seq: number): Promise<ChainHead> {
    const hash = await hashAt(this.#vault.db, this.#vault.standing.generation, seq);
    if (hash === undefined) throw await this.#vault.reload(`entry ${seq} is missing or damaged`);
    return { seq, hash };
  }

  #assertAnchored(consequence: string): void {
    if (this.anchored) return;
    throw new AppError('state.conflict', `${consequence} before the outbox is anchored to the collector's chain head`, {
      details: { dir: this.#options.dir },
    });
  }
}

function stateOp({ key, value }: StateChange): BatchOp {
  const stored = statePrefix + key;
  return value === undefined
    ? { type: 'del', key: stored }
    : { type: 'put', key: stored, value: sealValue(stored, value) };
}

function sequenceError(ledger: string, dir: string, { acked, head }: Standing): AppError {
  return new AppError(
    'ledger.sequence',
    `the ledger has this node's chain ${ledger}, the outbox holds ${acked.seq} to ${head.seq} and nothing else: another ` +
      'agent uses the same key, or the ledger was set back; stop the other agent or enrol this node anew',
    { details: { dir, acked, head } },
  );
}

function unprovedError({ seq, hash }: ChainHead, dir: string): AppError {
  return new AppError(
    'ledger.sequence',
    `the collector says that this node's chain stands at entry ${seq} (${hash}), which this outbox lost or never had, and does ` +
      'not prove it: somebody altered what it said, or the body of that entry is not kept any more. Nothing was dropped and ' +
      'nothing is sent; if it stays so, enrol the node under another name (docs/outbox.md)',
    { details: { dir, seq } },
  );
}

/** The numbers given since the place was lost are proved to be right by the first of them that is in the ledger. */
function afterAck(unanchored: Unanchored | null, throughSeq: number): Unanchored | null {
  if (unanchored === null || throughSeq > unanchored.keep) return null;
  return { ...unanchored, ackedKnown: true };
}

function closedError(dir: string): AppError {
  return new AppError('state.conflict', `the outbox ${dir} is closed`, { details: { dir } });
}

function tooManyWaiting(): AppError {
  return new AppError('outbox.full', `${limits.outboxWaitingMaxCalls} calls are waiting for the disk already`, {
    retryable: true,
  });
}

function notify<T>(listeners: ReadonlySet<(value: T) => void>, value: T, logger: Logger | undefined): void {
  for (const listener of listeners) {
    try {
      listener(value);
    } catch (error) {
      // A listener's fault must not stop the lane; the next append would hang.
      logger?.warn('outbox.listener_failed', { error });
    }
  }
}
