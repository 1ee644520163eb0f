import { setImmediate as immediate } from 'node:timers/promises';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { SigilChecker, type SigilFinding, type SigilRecord } from '../../common/sigil.ts';
import { fsStoreFiles } from './fs-store-files.ts';
import { ScanRun } from './scan-run.ts';
import type { ScanState } from './scan-state.ts';
import type { StoreFiles } from './store-files.ts';

export interface SigilStoreOptions {
  /** The store's name in findings and metrics. */
  readonly name: string;
  /** Its LevelDB folder. */
  readonly path: string;
  /** Event secrets in force, none to two. */
  readonly secrets: readonly string[];
  /** What signatures cover; `data` when absent. */
  readonly payloadOf?: (record: SigilRecord) => unknown;
  readonly clock: Clock;
  /** Where the files come from; the folder at `path` when absent. */
  readonly files?: StoreFiles;
  /** Called after every few milliseconds of work; lets the event loop turn when absent. A slower one spreads the load. */
  readonly pause?: () => Promise<void>;
}

/** `incremental` checks what the state has not seen, `full` everything. */
export type ScanMode = 'incremental' | 'full';

export interface ScanRequest {
  readonly mode: ScanMode;
  /** The state of the scan before, or null. */
  readonly state: ScanState | null;
  /** Findings reported before and not cleared since. */
  readonly openFindings: readonly SigilFinding[];
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ScanCounts) => void;
}

/** What was looked at; table blocks and bytes exclude meta blocks, `records` counts stored versions, not keys. */
export interface ScanCounts {
  readonly tables: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly records: number;
  readonly sigils: number;
}

export interface ScanResult extends ScanCounts {
  readonly store: string;
  readonly mode: ScanMode;
  /** RFC 3339 UTC. */
  readonly startedAt: string;
  readonly durationMs: number;
  /** New ones only. */
  readonly findings: readonly SigilFinding[];
  /** How many new findings did not fit `limits.maxOpenFindingsPerStore`. */
  readonly moreFindings: number;
  /** Ids of open findings that are no longer true. */
  readonly cleared: readonly string[];
  /** False when the store rewrote files faster than they were read; the next scan, of either mode, takes up the rest. */
  readonly settled: boolean;
  readonly state: ScanState;
}

/**
 * Checks one sigil store that another program may be using: never opens it as a database, never writes, locks or links,
 * only reads its files (`docs/sigil-reading.md`).
 */
export class SigilScanner {
  readonly name: string;
  private readonly checker: SigilChecker;
  private readonly files: StoreFiles;
  private readonly clock: Clock;
  private readonly pause: () => Promise<void>;
  private scanning = false;

  /** @throws AppError `validation.config` for secrets that cannot be used */
  constructor(options: SigilStoreOptions) {
    const { name, path, secrets, payloadOf, clock, files, pause } = options;
    this.name = name;
    this.checker = new SigilChecker(payloadOf === undefined ? { secrets } : { secrets, payloadOf });
    this.files = files ?? fsStoreFiles(path);
    this.clock = clock;
    this.pause = pause ?? (() => immediate());
  }

  /**
   * Damage in the store is in the result, not thrown.
   * @throws AppError `store.missing`, `store.not_a_store`, `store.corrupt` (CURRENT or MANIFEST gone), `store.unreadable`
   *   (folder, CURRENT or MANIFEST), `state.busy` while another scan of this store runs; or the signal's reason
   */
  async scan(request: ScanRequest): Promise<ScanResult> {
    if (this.scanning)
      throw new AppError('state.busy', `sigil store ${this.name} is being scanned`, { retryable: true });
    this.scanning = true;
    try {
      const startedAt = rfc3339(this.clock.now());
      const startedMs = this.clock.monotonicMs();
      const run = new ScanRun(this.name, this.files, this.checker, this.clock, this.pause, request);
      const outcome = await run.run();
      const durationMs = this.clock.monotonicMs() - startedMs;
      return { store: this.name, mode: request.mode, startedAt, durationMs, ...outcome };
    } finally {
      this.scanning = false;
    }
  }
}
