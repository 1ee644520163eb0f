import type { KeyObject } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { Signer } from './chain-check.ts';
import type { OutboxPaths } from './folder.ts';
import { type BatchOp, type OutboxDb, troubleOf, writeDurably, writeFailure } from './level-store.ts';
import { type Loaded, loadOutbox, type Recovery } from './load.ts';
import { createReclaim } from './reclaim.ts';
import { openReserve, type Reserve } from './reserve.ts';
import { emptyStanding, type Standing, standingOps } from './standing.ts';
import { openWriteMark, type WriteMark } from './write-mark.ts';

export interface VaultOptions {
  readonly paths: OutboxPaths;
  readonly signer: Signer;
  readonly privateKey: KeyObject;
  readonly clock: Clock;
  readonly reserveFileBytes: number;
  readonly logger: Logger | undefined;
  /** Called after a damaged outbox was replaced while the agent was running. */
  readonly recovered: (recovery: Recovery) => void;
}

/** A batch that failed, of which LevelDB may still find everything when it is opened again. */
interface InDoubt {
  readonly write: number;
  readonly before: Standing;
  /** Brings every key back to what it was; undefined when that could not be read. */
  readonly undo: readonly BatchOp[] | undefined;
}

/**
 * The database together with what is known to be in it.
 *
 * After any failed write LevelDB may acknowledge later ones and lose them at the next open, so nothing is accepted
 * before it was closed, opened and checked again. A batch that was reported as failed and is found there after all is
 * taken back: the caller was told that it may try again, and would say everything twice.
 */
export class Vault {
  readonly #options: VaultOptions;
  readonly #reserve: Reserve;
  readonly #mark: WriteMark;
  readonly #reclaim = createReclaim();
  #db: OutboxDb | undefined;
  #standing: Standing = emptyStanding;
  #recovery: Recovery | undefined;
  #inDoubt: InDoubt | undefined;
  #trouble: { readonly error: AppError; readonly atMs: number } | undefined;

  private constructor(options: VaultOptions, reserve: Reserve, mark: WriteMark) {
    this.#options = options;
    this.#reserve = reserve;
    this.#mark = mark;
  }

  static async open(options: VaultOptions): Promise<Vault> {
    const { paths, reserveFileBytes, clock } = options;
    await mkdir(dirname(paths.dir), { recursive: true, mode: 0o700 });
    const reserve = await openReserve(paths.reserve, reserveFileBytes, clock);
    const vault = new Vault(options, reserve, openWriteMark(paths.mark));
    try {
      await vault.#start();
    } catch (error) {
      vault.#mark.close();
      throw error;
    }
    return vault;
  }

  get standing(): Standing {
    return this.#standing;
  }

  get recovery(): Recovery | undefined {
    return this.#recovery;
  }

  /** False while the disk is full. */
  get hasReserve(): boolean {
    return this.#reserve.held;
  }

  /** The open database, for reading. */
  get db(): OutboxDb {
    if (this.#db === undefined) throw this.#trouble?.error ?? new AppError('state.conflict', 'the outbox is closed');
    return this.#db;
  }

  /** Opens the database again if a failure closed it. @throws AppError `outbox.write_failed`, `outbox.full`. */
  async ready(): Promise<OutboxDb> {
    if (this.#db === undefined) await this.#retry();
    await this.#reserve.ensure();
    return this.db;
  }

  /**
   * Writes `ops` and what `next` changes in the meta records as one batch; when it returns that is on disk.
   * @throws AppError `outbox.write_failed` or `outbox.full` with nothing changed.
   */
  async commit(ops: readonly BatchOp[], next: Standing): Promise<void> {
    const { db } = this;
    const before = this.#standing;
    const after = { ...next, write: before.write + 1 };
    const batch = [...ops, ...standingOps(before, after, this.#options.signer)];
    try {
      await writeDurably(db, batch);
    } catch (cause) {
      const undo = await previousValues(db, batch).catch(() => undefined);
      throw await this.#fail(cause, { write: after.write, before, undo });
    }
    this.#standing = after;
    this.#mark.set(after);
  }

  /** Work on keys that count for nothing (other generations, acknowledged entries), with the same care for failures. */
  async scratch<T>(work: (db: OutboxDb) => Promise<T>): Promise<T> {
    try {
      return await work(this.db);
    } catch (cause) {
      if (cause instanceof AppError && cause.code === 'validation.entry') throw cause;
      throw await this.#fail(cause, undefined);
    }
  }

  /** Accounts for deleted entries, whose space is given back in time: on a full disk at once. */
  freed(bytes: number, end: string): void {
    this.#reclaim.freed(this.db, bytes, end, this.#reserve.held ? limits.outboxCompactAfterBytes : 1);
  }

  setBytes(bytes: number): void {
    this.#standing = { ...this.#standing, bytes };
  }

  /** Closes and opens with all checks, which salvages what can be if something is damaged. */
  async reload(reason: string): Promise<AppError> {
    const error = new AppError('outbox.corrupt', `${this.#options.paths.dir}: ${reason}`, { retryable: true });
    return this.#fail(error, undefined);
  }

  async close(): Promise<void> {
    await this.#takeDown();
    this.#mark.close();
  }

  async #start(): Promise<void> {
    try {
      this.#take(await this.#load());
    } catch (error) {
      if (!this.#reserve.held || toAppError(error).code !== 'outbox.full') throw error;
      await this.#reserve.release();
      this.#take(await this.#load());
    }
  }

  #load(): Promise<Loaded> {
    const { paths, signer, privateKey, clock } = this.#options;
    return loadOutbox({ paths, signer, privateKey, now: () => clock.now(), last: this.#mark.mark });
  }

  #take({ db, standing, recovery }: Loaded): void {
    this.#db = db;
    this.#standing = standing;
    this.#trouble = undefined;
    this.#mark.set(standing);
    if (recovery === undefined) return;
    this.#recovery = recovery;
    this.#options.logger?.warn('outbox.replaced', { ...recovery, dir: this.#options.paths.dir });
  }

  /** What the caller gets for a failed write, after everything was opened and checked again. */
  async #fail(cause: unknown, inDoubt: InDoubt | undefined): Promise<AppError> {
    const error = writeFailure(cause, this.#options.paths.dir);
    this.#options.logger?.warn('outbox.reopened', { error });
    this.#inDoubt = inDoubt;
    if (troubleOf(cause) === 'disk-full') await this.#reserve.release();
    await this.#takeDown();
    await this.#bringUp().catch(() => undefined);
    return error;
  }

  async #retry(): Promise<void> {
    const { error, atMs } = this.#trouble ?? {};
    const { clock } = this.#options;
    if (error !== undefined && atMs !== undefined && clock.monotonicMs() - atMs < limits.backoffMinMs) throw error;
    await this.#bringUp();
  }

  async #bringUp(): Promise<void> {
    try {
      const loaded = await this.#load();
      this.#take(await this.#takeBack(loaded));
      this.#inDoubt = undefined;
      if (loaded.recovery !== undefined) this.#options.recovered(loaded.recovery);
    } catch (cause) {
      const error = writeFailure(cause, this.#options.paths.dir);
      this.#trouble = { error, atMs: this.#options.clock.monotonicMs() };
      throw error;
    }
  }

  async #takeBack(loaded: Loaded): Promise<Loaded> {
    const doubt = this.#inDoubt;
    if (doubt?.undo === undefined || loaded.recovery !== undefined) return loaded;
    if (loaded.standing.write !== doubt.write) return loaded;
    try {
      await writeDurably(loaded.db, doubt.undo);
    } catch (cause) {
      await loaded.db.close();
      throw cause;
    }
    return { ...loaded, standing: doubt.before };
  }

  async #takeDown(): Promise<void> {
    await this.#reclaim.settled();
    const db = this.#db;
    this.#db = undefined;
    await db?.close();
  }
}

/** A batch that turns every key of `batch` back to what it is now. A failed write leaves reading as it was. */
async function previousValues(db: OutboxDb, batch: readonly BatchOp[]): Promise<BatchOp[]> {
  const keys = [...new Set(batch.map(({ key }) => key))];
  const values = await db.getMany(keys);
  return keys.map((key, at) => {
    const value = values[at];
    return value === undefined ? { type: 'del', key } : { type: 'put', key, value };
  });
}
