import { toAppError } from '../../common/errors.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { type SigilFinding, sigilFinding } from '../../common/sigil.ts';
import type { AcceptanceFolder } from '../integrity/acceptances.ts';
import { Accepting } from '../integrity/accepting.ts';
import { type LastCheck, lastCheck, rememberedCheck } from '../integrity/last-check.ts';
import type { StoreCheck } from '../integrity/store-check.ts';
import type { Journal, StateChange } from '../ports.ts';
import type { AcceptedChange } from '../sigils/inventory/accepted.ts';
import type { ScanResult } from '../sigils/scan.ts';
import { parseScanState, type ScanState } from '../sigils/scan-state.ts';
import { appendPeriodic, toldPrefixes } from './account.ts';

export interface ToldOfStoreOptions {
  /** The store's. */
  readonly name: string;
  readonly journal: Journal;
  readonly logger: Logger;
  /** Where people leave word of changes that they meant. */
  readonly acceptances?: AcceptanceFolder;
}

/**
 * What the ledger has been told of one sigil store, and up to where that reaches. Kept in the journal, and changed in the
 * same write as the entries.
 *
 * Crash points: findings are told before the scan they are of, and the inventory is kept after both. What a crash leaves out is
 * found, and told, by the next scan; nothing is told twice.
 */
export class ToldOfStore {
  readonly #options: ToldOfStoreOptions;
  readonly #accepting: Accepting | undefined;
  readonly #open = new Map<string, SigilFinding>();
  #state: ScanState | null = null;
  #checkedRecords = 0;
  #lastCheck: LastCheck | undefined;
  /** Whether what was told has been read since the journal was opened or replaced. */
  #restored = false;

  constructor(options: ToldOfStoreOptions) {
    this.#options = options;
    const { name: store, acceptances: folder } = options;
    this.#accepting = folder && new Accepting({ ...options, store, folder });
  }

  /** Findings told and not cleared, by id. */
  get open(): ReadonlyMap<string, SigilFinding> {
    return this.#open;
  }

  /** From where a scan goes on; null when all is to be read. */
  get state(): ScanState | null {
    return this.#state;
  }

  /** Of the last scan that was told. */
  get checkedRecords(): number {
    return this.#checkedRecords;
  }

  /** What the last full check came to, over restarts; undefined when there was none. */
  get lastCheck(): LastCheck | undefined {
    return this.#lastCheck;
  }

  /** The journal was replaced: what it knows is read again, by {@link restore}, before more is said. */
  forget(): void {
    this.#restored = false;
  }

  /** Takes up what the last run told, unless that is done. @throws AppError as `Journal.state` */
  async restore(): Promise<void> {
    if (this.#restored) return;
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

  /** Before a scan, so that it finds none of it again. @throws AppError as `Journal.append` */
  async takeUpAccepted(): Promise<void> {
    const closes = (id: string): StateChange => ({ key: `${this.#findingPrefix}${id}`, value: undefined });
    const closed = (await this.#accepting?.takeUp(this.#open.values(), closes)) ?? [];
    for (const id of closed) this.#open.delete(id);
  }

  /** What the next inventory is to forget. */
  async acceptedChanges(): Promise<readonly AcceptedChange[]> {
    return (await this.#accepting?.changes()) ?? [];
  }

  /**
   * Findings first, a bounded number in one write; the scan's own state last, so that a crash repeats the scan.
   * @returns whether all is told: what was compared with what an earlier journal knew is left to the next scan
   * @throws AppError as `Journal.append`
   */
  async say(result: ScanResult): Promise<boolean> {
    const { name, logger } = this.#options;
    for (let i = 0; i < result.findings.length; i += limits.findingsPerWrite) {
      if (!this.#restored) return false;
      const findings = result.findings.slice(i, i + limits.findingsPerWrite);
      await this.#sayFindings(findings);
      for (const finding of findings) logger.warn('sigil.finding', { store: name, finding });
    }
    return this.#restored && this.#sayScan(result);
  }

  /** Only once all it led to has been told: a crash before that finds the same again, by the inventory before. */
  async keepInventory({ inventory }: ScanResult): Promise<void> {
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

  /**
   * What a full check came to, over restarts; {@link lastCheck} is that at once. @param finishedMs Unix milliseconds
   * @throws AppError as `Journal.append`
   */
  async remember(check: StoreCheck, finishedMs: number): Promise<void> {
    const before = this.#lastCheck;
    const now = rememberedCheck(check, before, finishedMs);
    this.#lastCheck = now;
    // A store that is away is tried every minute, which is not worth a write each.
    if (now.status !== 'unchecked' || before?.status !== 'unchecked') {
      await this.#options.journal.append([], [{ key: this.#checkKey, value: now }]);
    }
  }

  async #sayScan(result: ScanResult): Promise<boolean> {
    const { name, journal } = this.#options;
    const cleared = result.cleared.filter((id) => this.#open.has(id));
    const scanned: StateChange = { key: this.#scanKey, value: result.state };
    await journal.append(
      cleared.map((id): Statement => ({ kind: 'sigil.cleared', body: { store: name, id } })),
      cleared.map((id): StateChange => ({ key: `${this.#findingPrefix}${id}`, value: undefined })),
    );
    for (const id of cleared) this.#open.delete(id);
    if (!this.#restored) return false;
    if (result.mode === 'full') await appendPeriodic(journal, scanStatement(result), [scanned]);
    else await journal.append([], [scanned]);
    this.#state = result.state;
    this.#checkedRecords = result.records;
    return true;
  }

  async #sayFindings(findings: readonly SigilFinding[]): Promise<void> {
    const { name, journal } = this.#options;
    await journal.append(
      findings.map((finding): Statement => ({ kind: 'sigil.finding', body: { store: name, finding } })),
      findings.map((finding): StateChange => ({ key: `${this.#findingPrefix}${finding.id}`, value: finding })),
    );
    for (const finding of findings) this.#open.set(finding.id, finding);
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
