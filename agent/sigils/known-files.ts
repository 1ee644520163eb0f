import { limits } from '../../common/limits.ts';
import type { ScanState } from './scan-state.ts';
import type { Snapshot } from './snapshot.ts';
import type { StoreFile, StoreFiles } from './store-files.ts';

interface LogMark {
  readonly identity: string;
  readonly resumeAt: number;
}

/** What is known of a store's files, from the scans before and from the one under way: which need no look, and how far logs were read. */
export class KnownFiles {
  private readonly files: StoreFiles;
  /** Fingerprints. */
  private readonly checkedTables: Map<string, string>;
  private readonly readLogs: Map<string, LogMark>;
  /** Files this scan looked at from beginning to end. */
  private readonly examined = new Set<string>();
  /** Live files that were not there when they should have been, once. */
  private readonly absentOnce = new Set<string>();

  /** @param state of the scan before; null when that counts for nothing */
  constructor(files: StoreFiles, state: ScanState | null) {
    const known = state !== null && 'tables' in state ? state : null;
    this.files = files;
    this.checkedTables = new Map(known?.tables);
    this.readLogs = new Map(known?.logs.map(([name, identity, resumeAt]) => [name, { identity, resumeAt }]));
  }

  /** Whether the table has been checked, and is the same as then. @throws AppError `store.unreadable` */
  async isChecked(table: string): Promise<boolean> {
    const known = this.checkedTables.get(table);
    return known !== undefined && (await this.files.stamp(table))?.fingerprint === known;
  }

  checked(table: string, fingerprint: string): void {
    this.checkedTables.set(table, fingerprint);
    this.examined.add(table);
  }

  wasExamined(file: string): void {
    this.examined.add(file);
  }

  /** Where reading the log has to begin. */
  resumeAt({ name, identity, bytes }: StoreFile): number {
    const mark = this.readLogs.get(name);
    const resumes = mark !== undefined && mark.identity === identity && mark.resumeAt <= bytes;
    const startAt = resumes ? mark.resumeAt : 0;
    if (startAt === 0) this.examined.add(name);
    return startAt;
  }

  wasRead({ name, identity }: StoreFile, resumeAt: number): void {
    this.readLogs.set(name, { identity, resumeAt });
  }

  /**
   * LevelDB removes a file only after writing a MANIFEST without it. So a file that is missing from two snapshots in a row
   * which both name it did not go that way.
   */
  isAbsentAgain(name: string): boolean {
    if (this.absentOnce.has(name)) return true;
    this.absentOnce.add(name);
    return false;
  }

  /** A file that was not looked at is as bad as it was: tables do not change, and a changed one is looked at. */
  isFine(file: string, { manifest, tables, logs }: Snapshot): boolean {
    const isLive = file === manifest || tables.has(file) || logs.includes(file);
    return !isLive || this.examined.has(file);
  }

  /** Only what is live: the state cannot outgrow the store. */
  stateAfter(snapshot: Snapshot): ScanState {
    const tables = [...snapshot.tables.keys()].flatMap((name): [string, string][] => {
      const fingerprint = this.checkedTables.get(name);
      return fingerprint === undefined ? [] : [[name, fingerprint]];
    });
    const logs = snapshot.logs.flatMap((name): [string, string, number][] => {
      const mark = this.readLogs.get(name);
      return mark === undefined ? [] : [[name, mark.identity, mark.resumeAt]];
    });
    return { version: 1, tables: tables.slice(0, limits.sigilMaxRememberedTables), logs: logs.slice(-64) };
  }
}
