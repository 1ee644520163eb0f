import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import { type Clock, rfc3339 } from '../common/clock.ts';
import { setDigest } from '../common/entry.ts';
import { AppError, toAppError } from '../common/errors.ts';
import { clip } from '../common/fields.ts';
import type { Body } from '../common/kinds.ts';
import { limits } from '../common/limits.ts';
import type { LastCheck } from './integrity/last-check.ts';
import { storeBytes } from './integrity/progress.ts';
import { checkDone, checkFailed, checkStatus, type StoreCheck } from './integrity/store-check.ts';
import type { SnapshotKeeper } from './sigils/kept/keeper.ts';
import type { ScanMode, ScanResult, StoreScanner } from './sigils/scan.ts';
import type { ScanCounts } from './sigils/scan-counts.ts';
import { storeScanner } from './store-scanner.ts';
import { type StorePlace, shownPlace } from './tables/table-settings.ts';
import { ToldOfStore, type ToldOfStoreOptions } from './told/told-of-store.ts';

export interface StoreWatchOptions extends ToldOfStoreOptions {
  readonly place: StorePlace;
  readonly secrets: readonly string[];
  /** Share of one core a full scan may take, above 0 up to 1. */
  readonly fullScanCpuShare: number;
  readonly clock: Clock;
  /** The file of its inventory, made and compared with by full scans; without, none is. */
  readonly inventoryPath?: string;
  /** Keeps snapshots of its clean states; without, none are. */
  readonly keeper?: Pick<SnapshotKeeper, 'afterFullScan'> | undefined;
  readonly onScan?: (result: ScanResult) => void;
  /** Records that were read since it was called before. */
  readonly onRead?: (store: string, records: number) => void;
}

/** How far the scan under way has come. */
export interface ScanProgress {
  readonly mode: ScanMode;
  readonly records: number;
  readonly bytes: number;
  /** Of tables and logs as a full scan began; null where nobody knows how much there is to read. */
  readonly totalBytes: number | null;
}

export type StoreSummary = Body<'report'>['stores'][number];

/**
 * Watches one sigil store: new records every minute, everything at first and whenever it is asked to, and says each finding once.
 */
export class StoreWatch {
  readonly #options: StoreWatchOptions;
  readonly #scanner: StoreScanner;
  readonly #told: ToldOfStore;
  #mode: ScanMode = 'full';
  /** Somebody asked for a full check that has not been made, and told, yet. */
  #fullIsDue = false;
  #askers: ((check: StoreCheck) => void)[] = [];
  #error: AppError | undefined;
  /** When the scan under way last got on, monotonic milliseconds; undefined while there is none. */
  #progressMs: number | undefined;
  #progress: ScanProgress | undefined;
  #wake: () => void = () => {};

  constructor(options: StoreWatchOptions) {
    this.#options = options;
    const { name, place, secrets, clock } = options;
    this.#told = new ToldOfStore(options);
    this.#scanner = storeScanner({ name, place, secrets, clock, pause: () => this.#pause() });
  }

  get summary(): StoreSummary {
    const trouble = this.#trouble();
    const { open, checkedRecords } = this.#told;
    return {
      store: this.#options.name,
      status: trouble === undefined ? this.#status() : 'unreadable',
      findingsDigest: setDigest(open.keys()),
      openFindings: open.size,
      checkedRecords,
      error: trouble === undefined ? null : clip(trouble),
    };
  }

  /** Why the scan under way does not get on; undefined while it does, and while there is none. */
  get stalled(): string | undefined {
    const stuckMs = this.#options.clock.monotonicMs() - (this.#progressMs ?? Number.POSITIVE_INFINITY);
    if (stuckMs < limits.sigilStallMs) return undefined;
    return `its scan has not got on for ${Math.round(stuckMs / 1_000)} s; does ${this.#where} answer?`;
  }

  get #where(): string {
    const { place } = this.#options;
    return typeof place === 'string' ? `the disk of ${place}` : `the database of ${shownPlace(place)}`;
  }

  /** How far the scan under way has come; undefined while there is none. */
  get progress(): ScanProgress | undefined {
    return this.#progress;
  }

  /** What the last full check came to, over restarts; undefined when there was none. */
  get lastCheck(): LastCheck | undefined {
    return this.#told.lastCheck;
  }

  get name(): string {
    return this.#options.name;
  }

  /**
   * Has everything checked, at once or directly after what is under way; a full scan under way will do. One that fails, or that cannot
   * be told, is made again with the next scans until it is done, but its result is given at once. Settles only while the watch runs.
   */
  check(): Promise<StoreCheck> {
    return new Promise((resolve) => {
      this.#askers.push(resolve);
      this.#fullIsDue = true;
      this.wake();
    });
  }

  /** The journal was replaced: the findings told are read again, and everything is checked anew, before more is said. */
  forget(): void {
    this.#told.forget();
    this.wake();
  }

  /** Asks for a scan; at once, or directly after the one under way. */
  wake(): void {
    this.#wake();
  }

  /** Scans at once and then whenever woken, until the signal. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    while (!signal.aborted) {
      // Made before the scan, so that a call during it is not lost.
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await this.#scan(signal);
      if (!signal.aborted) await woken;
    }
  }

  async #scan(signal: AbortSignal): Promise<void> {
    try {
      await this.#told.restore();
      await this.#told.takeUpAccepted();
      this.#mode = this.#fullIsDue || this.#told.state === null ? 'full' : 'incremental';
      const begun = { startedAt: rfc3339(this.#options.clock.now()), ms: this.#options.clock.monotonicMs() };
      const read = await this.#read(signal);
      if (read === undefined) return;
      const check = this.#mode === 'full' ? this.#checkOf(read, begun) : undefined;
      const result = check === undefined ? read : await this.#kept(read, check, signal);
      try {
        if (!(result instanceof AppError)) {
          const isTold = await this.#told.say(result);
          if (isTold && result.mode === 'full') this.#fullIsDue = false;
          await this.#told.keepInventory(result);
          this.#options.onScan?.(result);
        }
      } finally {
        if (!(result instanceof AppError)) await result.inventory?.drop();
        if (check !== undefined) await this.#checked(check);
      }
    } catch (thrown) {
      if (signal.aborted) return;
      // The store is as readable as it was. The next scan finds the same again.
      const error = toAppError(thrown);
      this.#options.logger.error('sigil.unsaid', { store: this.#options.name, code: error.code, error });
    }
  }

  /** Scans. An error when the store could not be read, undefined when the watch was stopped. */
  async #read(signal: AbortSignal): Promise<ScanResult | AppError | undefined> {
    const { name: store, inventoryPath, logger } = this.#options;
    const onRefused = (reason: string) => logger.info('sigil.scan_anew', { store, reason });
    const accepted = this.#mode === 'full' ? await this.#told.acceptedChanges() : [];
    const { state, open } = this.#told;
    const request = {
      ...{ mode: this.#mode, state, openFindings: [...open.values()], signal },
      onProgress: (done: ScanCounts) => this.#cameOn(done),
      ...(inventoryPath !== undefined && { inventory: { path: inventoryPath, keeps: true, accepted, onRefused } }),
    };
    this.#progressMs = this.#options.clock.monotonicMs();
    this.#progress = { mode: this.#mode, records: 0, bytes: 0, totalBytes: await this.#bytesToRead() };
    try {
      const result = await this.#scanner.scan(request);
      this.#error = undefined;
      return result;
    } catch (thrown) {
      if (signal.aborted) return undefined;
      const error = toAppError(thrown);
      if (this.#error?.message !== error.message) {
        this.#options.logger.error('sigil.scan_failed', { store: this.#options.name, code: error.code, error });
      }
      this.#error = error;
      return error;
    } finally {
      this.#progress = undefined;
      this.#progressMs = undefined;
    }
  }

  /** The result, with the state as it is after a snapshot was made of what was scanned. */
  async #kept(result: ScanResult | AppError, check: StoreCheck, signal: AbortSignal): Promise<ScanResult | AppError> {
    const { keeper } = this.#options;
    if (keeper === undefined || result instanceof AppError) return result;
    const { state } = result;
    this.#progressMs = this.#options.clock.monotonicMs();
    try {
      const pause = () => this.#pause();
      return { ...result, state: await keeper.afterFullScan({ status: checkStatus(check), state, pause, signal }) };
    } catch (thrown) {
      await result.inventory?.drop();
      throw thrown;
    } finally {
      this.#progressMs = undefined;
    }
  }

  /** What a full scan came to. Findings that were open and are still true stand beside the new ones. */
  #checkOf(result: ScanResult | AppError, { startedAt, ms }: { startedAt: string; ms: number }): StoreCheck {
    const { name: store, clock } = this.#options;
    const open = [...this.#told.open.values()];
    if (result instanceof AppError) {
      return checkFailed({ store, startedAt, durationMs: clock.monotonicMs() - ms }, result, open);
    }
    const cleared = new Set(result.cleared);
    return checkDone(result, [...open.filter(({ id }) => !cleared.has(id)), ...result.findings]);
  }

  async #checked(check: StoreCheck): Promise<void> {
    const remembered = this.#told.remember(check, this.#options.clock.now());
    const askers = this.#askers;
    this.#askers = [];
    for (const answer of askers) answer(check);
    await remembered;
  }

  /** Why nothing is known of the store as it is now: the last scan failed, or the one under way hangs. */
  #trouble(): string | undefined {
    return this.#error?.message ?? this.stalled;
  }

  #status(): StoreSummary['status'] {
    if (this.#told.state === null) return 'pending';
    return this.#told.open.size > 0 ? 'findings' : 'ok';
  }

  /** A damaged table of PostgreSQL is read a second time, and counted anew. */
  #cameOn({ records, bytes }: ScanCounts): void {
    const before = this.#progress ?? { mode: this.#mode, records: 0, totalBytes: null };
    this.#options.onRead?.(this.#options.name, Math.max(records - before.records, 0));
    this.#progress = { ...before, records, bytes };
  }

  async #bytesToRead(): Promise<number | null> {
    const { place } = this.#options;
    return this.#mode === 'full' && typeof place === 'string' ? storeBytes(place) : null;
  }

  /** After every few milliseconds of work. A full scan of a large store is in no hurry. */
  #pause(): Promise<void> {
    this.#progressMs = this.#options.clock.monotonicMs();
    const share = this.#mode === 'full' ? this.#options.fullScanCpuShare : 1;
    return share < 1 ? delay(limits.sigilScanSliceMs * (1 / share - 1)) : immediate();
  }
}
