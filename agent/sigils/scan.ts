import type { SigilFinding } from '../../common/sigil.ts';
import type { InventoryRequest, TakenInventory } from './inventory/taking.ts';
import type { ScanCounts } from './scan-counts.ts';
import type { ScanState } from './scan-state.ts';

/** `incremental` checks what the state has not seen, `full` everything. */
export type ScanMode = 'incremental' | 'full';

export interface ScanRequest {
  readonly mode: ScanMode;
  /** The state of the scan before, or null. */
  readonly state: ScanState | null;
  /** Findings reported before and not cleared since. */
  readonly openFindings: readonly SigilFinding[];
  /** What a full scan is compared with; an incremental one sees too little for that. */
  readonly inventory?: InventoryRequest;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ScanCounts) => void;
}

/** Checks one sigil store without doing anything to it. */
export interface StoreScanner {
  /** The store's name in findings and metrics. */
  readonly name: string;
  /**
   * Damage in the store is in the result, not thrown. Not to be called while a scan is under way.
   * @throws AppError `store.*`, `validation.config`, `state.busy`, when the store cannot be looked at; or the signal's reason
   */
  scan(request: ScanRequest): Promise<ScanResult>;
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
  /** To be kept once the findings are told, or else dropped; null when none was asked for. */
  readonly inventory: TakenInventory | null;
}

/** What a scan came to, without when it was and how long it took. */
export type ScanOutcome = Omit<ScanResult, 'store' | 'mode' | 'startedAt' | 'durationMs'>;
