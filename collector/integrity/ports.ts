import type { CollectedReport } from '../../common/collected-report.ts';
import type { SigilFinding } from '../../common/sigil.ts';

/** Kinds of entries that say what an integrity run came to. Literals for SQL too: an index covers them by name. */
export const reportKinds = ['integrity.report', 'ledger.checked'] as const;

/** When checks by the schedule begin; times by one clock for all collectors, Unix milliseconds. */
export interface Turn {
  readonly nowMs: number;
  /** When the last one began, or somebody was there to make them for the first time. */
  readonly lastMs: number;
}

/** What is remembered of the last checks, whoever made them. */
export interface LastLedgerCheck {
  readonly status: CollectedReport['status'];
  readonly finishedMs: number;
  readonly durationMs: number;
  /** Entries. */
  readonly checked: number;
  readonly failed: number;
  /** Of the last one that found nothing. */
  readonly lastOkMs: number | null;
}

/** A report on its way into the archive. */
export interface NewReport {
  readonly report: CollectedReport;
  /** As it is archived, and hashed. */
  readonly document: string;
  readonly checked: number;
  readonly failed: number;
}

/** Where checks and their reports are kept. Durable, and shared by all collectors of a database. */
export interface IntegrityStore {
  turn(): Promise<Turn>;
  /** Remembers when a check by the schedule has begun, once it is on record. */
  begun(lastMs: number): Promise<void>;
  alerted(): Promise<boolean>;
  setAlerted(alerted: boolean): Promise<void>;
  /** The same report again changes nothing. */
  archive(report: NewReport): Promise<void>;
  /** Removes reports that are too old, and the oldest of too many. */
  tidy(kept: { readonly keepDays: number; readonly keepReports: number }): Promise<void>;
  last(): Promise<LastLedgerCheck | undefined>;
}

/** The right to make a check, which one collector or command has at a time. */
export interface Alone {
  /** @throws AppError `database.unreachable` when it was lost meanwhile: another one may be making a check by now. */
  confirm(): Promise<void>;
}

/** Runs `work` alone; undefined, and nothing is done, while somebody else has the right. It ends with the process at the latest. */
export type RunAlone = <T>(work: (alone: Alone) => Promise<T>) => Promise<T | undefined>;

/** An entry of one of {@link reportKinds}. */
export interface ReportEntry {
  readonly index: number;
  readonly author: string;
  readonly kind: string;
  /** Canonical bytes; null once retention has dropped them. */
  readonly bytes: Buffer | null;
}

/** A finding that stood at some entry. */
export interface StandingFinding {
  readonly store: string;
  readonly finding: SigilFinding;
  /** RFC 3339, by the node's clock. */
  readonly openedAt: string;
}

export interface ReportFilter {
  readonly author: string | undefined;
  readonly status: CollectedReport['status'] | undefined;
}

/** What reports are read from. */
export interface ReportSources {
  /** Newest first. */
  entries(
    filter: ReportFilter,
    page: { readonly after: number | undefined; readonly limit: number },
  ): Promise<readonly ReportEntry[]>;
  entry(index: number): Promise<ReportEntry | undefined>;
  /** The newest entry of the collector that vouches for its report of this name, while its body is there. */
  ownEntry(id: string): Promise<ReportEntry | undefined>;
  /** Of these stores, those that stood when the entry was put on record, oldest first; at most `perStore` of each. */
  standing(
    entry: { readonly author: string; readonly index: number },
    stores: readonly string[],
    perStore: number,
  ): Promise<readonly StandingFinding[]>;
  /** The archived document of this name. */
  archived(id: string): Promise<string | undefined>;
}
