import type { SigilChecker, SigilFinding } from '../../common/sigil.ts';
import { clearedFindings } from './clearing.ts';
import { CurrentRecords } from './current-records.ts';
import { type FileProblem, FindingList, fileFinding, recordFinding } from './findings.ts';
import { Doubts } from './inventory/doubts.ts';
import { Judge } from './inventory/judge.ts';
import type { InventoryTaking } from './inventory/taking.ts';
import type { KnownFiles } from './known-files.ts';
import type { Pacer } from './pacer.ts';
import type { Suspect } from './record-sieve.ts';
import type { ScanRequest } from './scan.ts';
import type { Snapshot } from './snapshot.ts';
import type { StoreFiles } from './store-files.ts';
import type { TableProblem } from './table-reader.ts';
import type { KeyRange } from './table-scan.ts';
import type { LiveTable } from './version-edit.ts';

export interface ScanFindingsOptions {
  /** The store's name. */
  readonly store: string;
  readonly files: StoreFiles;
  readonly checker: SigilChecker;
  readonly pacer: Pacer;
  readonly known: KnownFiles;
  readonly taking: InventoryTaking | null;
  readonly request: Pick<ScanRequest, 'mode' | 'openFindings'>;
}

/** What the comparison with the inventory says of findings that are open. */
interface InventoryVerdict {
  readonly compared: boolean;
  readonly movedFindings: readonly string[];
}

/** What one scan comes to, of all that it was shown: findings, and which of the open ones are over. */
export class ScanFindings {
  private readonly options: ScanFindingsOptions;
  private readonly list: FindingList;
  private readonly doubts = new Doubts();
  private current: CurrentRecords | null = null;
  private fileProblems = 0;
  /** Suspects that were looked up. */
  private suspects = 0;

  constructor(options: ScanFindingsOptions) {
    this.options = options;
    this.list = new FindingList(options.request.openFindings);
  }

  /** Those that were not open. */
  get fresh(): SigilFinding[] {
    return this.list.fresh;
  }

  /** Findings beyond the bound. */
  get more(): number {
    return this.list.more;
  }

  /** How often there was something to say, of whatever file. */
  get remarks(): number {
    return this.fileProblems + this.suspects;
  }

  file(problem: FileProblem): void {
    this.fileProblems++;
    this.doubts.add(problem.range);
    this.list.add(fileFinding(this.options.store, problem));
  }

  block(file: string, { check, offset, problem }: TableProblem, range: KeyRange | null): void {
    this.file({ check, file, offset, range, detail: problem });
  }

  /** @param table null for a log */
  unreadable(file: string, table: LiveTable | null, detail: string): void {
    this.file({ check: 'file_unreadable', file, offset: null, range: boundsOf(table), detail });
  }

  /** @param table null for a log */
  missing(file: string, table: LiveTable | null): void {
    const detail = 'a file the MANIFEST names is gone';
    this.file({ check: 'file_missing', file, offset: null, range: boundsOf(table), detail });
  }

  /** Takes the suspects that are what a reader of the store gets now; overwritten and deleted versions are history. */
  async confirm(suspects: readonly Suspect[]): Promise<void> {
    if (suspects.length === 0) return;
    this.suspects += suspects.length;
    const current = await this.currentRecords().lookUp(suspects.map((suspect) => suspect.key));
    for (const suspect of suspects) {
      const found = current.get(suspect.key.toString('latin1'));
      if (found === undefined || found.sequence > suspect.sequence) continue;
      if (found.sequence < suspect.sequence && !found.uncertain) continue;
      for (const failed of suspect.failures) this.list.add(recordFinding(this.options.store, suspect.key, failed));
    }
  }

  /**
   * Compares with the inventory before, if there is one, once all has been read.
   * @param settled whether that was the store as it was at one moment
   * @returns ids of the open findings that are over
   */
  async conclude(snapshot: Snapshot, settled: boolean): Promise<string[]> {
    const verdict = await this.compare(settled);
    const { request, known } = this.options;
    const isFull = settled && request.mode === 'full';
    return clearedFindings({
      unseen: request.openFindings.filter((finding) => !this.list.wasSeen(finding)),
      // A file that was not looked at is as bad as it was: tables do not change, and a changed one is looked at.
      fileIsFine: ({ file }) => file === null || known.isFine(file, snapshot),
      sawEverything: isFull && this.fileProblems === 0 && this.list.more === 0,
      compared: verdict.compared,
      settled: verdict.movedFindings,
      current: () => this.currentRecords(),
    });
  }

  private async compare(settled: boolean): Promise<InventoryVerdict> {
    const { store, taking } = this.options;
    if (taking === null) return { compared: false, movedFindings: [] };
    const others = { doubts: this.doubts, findings: this.list, current: this.currentRecords() };
    const judge = new Judge({ store, settled, ...others });
    const compared = await taking.compare(judge);
    return { compared, movedFindings: judge.movedFindings };
  }

  private currentRecords(): CurrentRecords {
    const { files, checker, pacer } = this.options;
    this.current ??= new CurrentRecords(files, checker, pacer);
    return this.current;
  }
}

function boundsOf(table: LiveTable | null): KeyRange | null {
  return table?.bounds == null ? null : { from: table.bounds.smallest, to: table.bounds.largest };
}
