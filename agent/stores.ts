import { setTimeout as delay, setImmediate as immediate } from 'node:timers/promises';
import { type Clock, rfc3339 } from '../common/clock.ts';
import { setDigest } from '../common/entry.ts';
import { AppError, toAppError } from '../common/errors.ts';
import { clip } from '../common/fields.ts';
import type { Body, Statement } from '../common/kinds.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import { type SigilFinding, sigilFinding } from '../common/sigil.ts';
import { appendPeriodic, toldPrefixes } from './account.ts';
import type { AcceptanceFolder } from './integrity/acceptances.ts';
import { Accepting } from './integrity/accepting.ts';
import { type LastCheck, lastCheck, rememberedCheck } from './integrity/last-check.ts';
import { storeBytes } from './integrity/progress.ts';
import { checkDone, checkFailed, checkStatus, type StoreCheck } from './integrity/store-check.ts';
import type { Journal, StateChange } from './ports.ts';
import type { SnapshotKeeper } from './sigils/kept/keeper.ts';
import type { ScanMode, ScanResult, StoreScanner } from './sigils/scan.ts';
import type { ScanCounts } from './sigils/scan-counts.ts';
import { parseScanState, type ScanState } from './sigils/scan-state.ts';
import { storeScanner } from './store-scanner.ts';
import { type StorePlace, shownPlace } from './tables/table-settings.ts';

export interface StoreWatchOptions {
  readonly name: string;
  readonly place: StorePlace;
  readonly secrets: readonly string[];
  /** Share of one core a full scan may take, above 0 up to 1. */
  readonly fullScanCpuShare: number;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The file of its inventory, made and compared with by full scans; without, none is. */
  readonly inventoryPath?: string;
  /** Keeps snapshots of its clean states; without, none are. */
  readonly keeper?: Pick<SnapshotKeeper, 'afterFullScan'> | undefined;
  /** Where people leave word of changes that they meant. */
  readonly acceptances?: AcceptanceFolder;
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
  readonly #accepting: Accepting | undefined;
  readonly #open = new Map<string, SigilFinding>();
  #state: ScanState | null = null;
  #mode: ScanMode = 'full';
  /** Somebody asked for a full check that has not been made, and told, yet. */
  #fullIsDue = false;
  #askers: ((check: StoreCheck) => void)[] = [];
  #lastCheck: LastCheck | undefined;
  #error: AppError | undefined;
  #checkedRecords = 0;
  /** When the scan under way last got on, monotonic milliseconds; undefined while there is none. */
  #progressMs: number | undefined;
  #progress: ScanProgress | undefined;
  #wake: () => void = () => {};
  /** Whether what was told has been read since the journal was opened or replaced. */
  #restored = false;

  constructor(options: StoreWatchOptions) {
    this.#options = options;
    const { name, place, secrets, clock, acceptances: folder } = options;
    this.#accepting = folder && new Accepting({ ...options, store: name, folder });
    this.#scanner = storeScanner({ name, place, secrets, clock, pause: () => this.#pause() });
  }

  get summary(): StoreSummary {
    const trouble = this.#trouble();
    return {
      store: this.#options.name,
      status: trouble === undefined ? this.#status() : 'unreadable',
      findingsDigest: setDigest(this.#open.keys()),
      openFindings: this.#open.size,
      checkedRecords: this.#checkedRecords,
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
    return this.#lastCheck;
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
    this.#restored = false;
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
      if (!this.#restored) await this.#restore();
      await this.#takeUpAccepted();
      this.#mode = this.#fullIsDue || this.#state === null ? 'full' : 'incremental';
      const begun = { startedAt: rfc3339(this.#options.clock.now()), ms: this.#options.clock.monotonicMs() };
      const read = await this.#read(signal);
      if (read === undefined) return;
      const check = this.#mode === 'full' ? this.#checkOf(read, begun) : undefined;
      const result = check === undefined ? read : await this.#kept(read, check, signal);
      try {
        if (!(result instanceof AppError)) {
          await this.#say(result);
          await this.#keepInventory(result);
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
    const accepted = this.#mode === 'full' ? ((await this.#accepting?.changes()) ?? []) : [];
    const request = {
      ...{ mode: this.#mode, state: this.#state, openFindings: [...this.#open.values()], signal },
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
    const open = [...this.#open.values()];
    if (result instanceof AppError) {
      return checkFailed({ store, startedAt, durationMs: clock.monotonicMs() - ms }, result, open);
    }
    const cleared = new Set(result.cleared);
    return checkDone(result, [...open.filter(({ id }) => !cleared.has(id)), ...result.findings]);
  }

  async #checked(check: StoreCheck): Promise<void> {
    const { journal, clock } = this.#options;
    const before = this.#lastCheck;
    const now = rememberedCheck(check, before, clock.now());
    this.#lastCheck = now;
    const askers = this.#askers;
    this.#askers = [];
    for (const answer of askers) answer(check);
    // A store that is away is tried every minute, which is not worth a write each.
    if (now.status !== 'unchecked' || before?.status !== 'unchecked') {
      await journal.append([], [{ key: this.#checkKey, value: now }]);
    }
  }

  /** Takes up the findings told and the scan state of the last run. */
  async #restore(): Promise<void> {
    this.#restored = true;
    try {
      const { journal } = this.#options;
      const findings = await journal.state(this.#findingPrefix);
      const state = (await journal.state(this.#scanKey)).get(this.#scanKey);
      const check = lastCheck.safeParse((await journal.state(this.#checkKey)).get(this.#checkKey));
      this.#open.clear();
      for (const value of findings.values()) {
        const finding = sigilFinding.safeParse(value);
        if (finding.success) this.#open.set(finding.data.id, finding.data);
      }
      this.#state = parseScanState(state);
      this.#lastCheck = check.data ?? this.#lastCheck;
    } catch (thrown) {
      this.#restored = false;
      throw thrown;
    }
  }

  /** Before a scan, so that it finds none of it again. */
  async #takeUpAccepted(): Promise<void> {
    const closes = (id: string): StateChange => ({ key: `${this.#findingPrefix}${id}`, value: undefined });
    const closed = (await this.#accepting?.takeUp(this.#open.values(), closes)) ?? [];
    for (const id of closed) this.#open.delete(id);
  }

  /** Findings first, a bounded number in one write; the scan's own state last, so that a crash repeats the scan. */
  async #say(result: ScanResult): Promise<void> {
    const { name, logger } = this.#options;
    for (let i = 0; i < result.findings.length; i += limits.findingsPerWrite) {
      // Was compared with what an earlier journal was told: the next scan tells the rest.
      if (!this.#restored) return;
      const findings = result.findings.slice(i, i + limits.findingsPerWrite);
      await this.#sayFindings(findings);
      for (const finding of findings) logger.warn('sigil.finding', { store: name, finding });
    }
    if (this.#restored) await this.#sayScan(result);
  }

  /** Only once all it led to has been told: a crash before that finds the same again, by the inventory before. */
  async #keepInventory({ inventory }: ScanResult): Promise<void> {
    if (inventory === null) return;
    const { name: store, logger } = this.#options;
    const { anew, failed, keys, resumed } = inventory;
    if (resumed !== null) logger.info('sigil.scan_resumed', { store, ...resumed });
    if (anew !== null) logger.error('inventory.anew', { store, code: anew.code, error: anew });
    if (failed !== null) logger.error('inventory.failed', { store, code: failed.code, error: failed });
    if (failed !== null || !this.#restored) return;
    try {
      await inventory.keep();
      logger.info('inventory.taken', { store, keys });
    } catch (thrown) {
      // The one before stands, and the next full scan is compared with that.
      const error = toAppError(thrown);
      logger.error('inventory.failed', { store, code: error.code, error });
      return;
    }
    await this.#accepting?.forget(inventory.spent);
  }

  async #sayScan(result: ScanResult): Promise<void> {
    const { name, journal } = this.#options;
    const cleared = result.cleared.filter((id) => this.#open.has(id));
    const scanned: StateChange = { key: this.#scanKey, value: result.state };
    await journal.append(
      cleared.map((id): Statement => ({ kind: 'sigil.cleared', body: { store: name, id } })),
      cleared.map((id): StateChange => ({ key: `${this.#findingPrefix}${id}`, value: undefined })),
    );
    for (const id of cleared) this.#open.delete(id);
    if (!this.#restored) return;
    if (result.mode === 'full') {
      await appendPeriodic(journal, scanStatement(result), [scanned]);
      this.#fullIsDue = false;
    } else await journal.append([], [scanned]);
    this.#state = result.state;
    this.#checkedRecords = result.records;
  }

  async #sayFindings(findings: readonly SigilFinding[]): Promise<void> {
    const { name, journal } = this.#options;
    await journal.append(
      findings.map((finding): Statement => ({ kind: 'sigil.finding', body: { store: name, finding } })),
      findings.map((finding): StateChange => ({ key: `${this.#findingPrefix}${finding.id}`, value: finding })),
    );
    for (const finding of findings) this.#open.set(finding.id, finding);
  }

  /** Why nothing is known of the store as it is now: the last scan failed, or the one under way hangs. */
  #trouble(): string | undefined {
    return this.#error?.message ?? this.stalled;
  }

  #status(): StoreSummary['status'] {
    if (this.#state === null) return 'pending';
    return this.#open.size > 0 ? 'findings' : 'ok';
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

  get #scanKey(): string {
    return `${toldPrefixes.scan}${this.#options.name}`;
  }

  /** Outside of what is told: it holds whatever the ledger believes. */
  get #checkKey(): string {
    return `checked/${this.#options.name}`;
  }

  get #findingPrefix(): string {
    return `${toldPrefixes.finding}${this.#options.name}/`;
  }
}

function scanStatement(result: ScanResult): Statement {
  const { store, mode, startedAt, tables, blocks, bytes, records, sigils } = result;
  return {
    kind: 'sigil.scan',
    body: {
      store,
      mode,
      startedAt,
      durationMs: Math.round(result.durationMs),
      tables,
      blocks,
      bytes,
      records,
      sigils,
      findings: result.findings.length + result.moreFindings,
    },
  };
}
