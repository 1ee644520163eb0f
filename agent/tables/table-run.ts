import type { Clock } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import type { SigilChecker, SigilFinding } from '../../common/sigil.ts';
import { rowFacts } from '../../common/sigil-row.ts';
import { clearedFindings } from '../sigils/clearing.ts';
import { type FileProblem, FindingList, fileFinding, recordFinding } from '../sigils/findings.ts';
import { Doubts } from '../sigils/inventory/doubts.ts';
import { Judge } from '../sigils/inventory/judge.ts';
import type { InventoryTaking } from '../sigils/inventory/taking.ts';
import { VersionTaker } from '../sigils/inventory/versions.ts';
import { Pacer } from '../sigils/pacer.ts';
import type { ScanOutcome, ScanRequest } from '../sigils/scan.ts';
import type { ScanCounts } from '../sigils/scan-counts.ts';
import { amcheck, amcheckMark, findAmcheck } from './amcheck-store.ts';
import type { TableLook, TablePart } from './catalog-store.ts';
import { isCorruption, serverMessage, type TableConnection } from './connection.ts';
import { CurrentRows } from './current-rows.ts';
import { RowChecker } from './row-checker.ts';
import { type RowsOf, type TableRow, TableRows, updatedKindOf } from './rows-store.ts';
import type { TablePlace } from './table-settings.ts';

export interface TableRunOptions {
  /** The store's name. */
  readonly store: string;
  readonly place: TablePlace;
  readonly look: TableLook;
  readonly connection: TableConnection;
  readonly checker: SigilChecker;
  readonly clock: Clock;
  /** Called after every few milliseconds of work. */
  readonly pause: () => Promise<void>;
  /** Where all rows go to, in a full scan; its end is the caller's. */
  readonly taking: InventoryTaking | null;
  readonly request: ScanRequest;
}

/** Local time may be so much ahead of UTC. */
const maxZoneMs = 86_400_000;

/** One scan of a table from start to result; not reused. */
export class TableRun {
  private readonly options: TableRunOptions;
  private readonly rows: TableRows;
  private readonly checker: RowChecker;
  private readonly current: CurrentRows;
  private readonly versions: VersionTaker | null;
  private readonly pacer: Pacer;
  private readonly findings: FindingList;
  private readonly counts = { tables: 0, blocks: 0, bytes: 0, records: 0, sigils: 0 };
  /** Newest `updatedAt` seen, Unix milliseconds. */
  private newestMs = Number.NEGATIVE_INFINITY;
  /** How often a row was read: of one that was read twice, the later reading counts. */
  private readings = 0;
  /** Whether the server could not give a part of the rows. */
  private damaged = false;
  /** Whether `amcheck` found something: an index may lack rows without anything being refused. */
  private complained = false;
  /** What `amcheck` has told all of. */
  private readonly amchecked = new Set<SigilFinding['check']>();

  constructor(options: TableRunOptions) {
    const { connection, place, look, checker, clock, pause, taking, request } = options;
    this.options = options;
    this.rows = new TableRows(connection, place, look);
    this.pacer = new Pacer(clock, pause, request.signal);
    this.checker = new RowChecker(look, checker);
    this.current = new CurrentRows(this.rows, this.checker, this.pacer);
    this.versions = taking && new VersionTaker(taking);
    this.findings = new FindingList(request.openFindings);
  }

  async run(): Promise<ScanOutcome> {
    const { request, taking } = this.options;
    const seenMs = request.state !== null && 'rows' in request.state ? request.state.rows.seenMs : null;
    if (request.mode === 'full') await this.everything();
    else await this.whatIsNew(seenMs);
    const cleared = await this.cleared(await this.compare());
    request.onProgress?.(this.total);
    return {
      ...this.total,
      findings: this.findings.fresh,
      moreFindings: this.findings.more,
      cleared,
      settled: true,
      inventory: taking?.result ?? null,
      state: { version: 1, rows: { seenMs: this.seenAfter(seenMs) } },
    };
  }

  private get total(): ScanCounts {
    return { ...this.counts };
  }

  private async everything(): Promise<void> {
    const { parts } = this.options.look;
    try {
      await this.read({ kind: 'all' });
    } catch (thrown) {
      if (!isCorruption(thrown)) throw thrown;
      // The way along the key ends here. What is damaged, and what is not, is found out block by block.
      Object.assign(this.counts, { bytes: 0, records: 0, sigils: 0 });
      for (const part of parts) await this.readBlocks(part);
      if (!this.damaged) this.report({ check: 'index_corrupt', ...this.whole(thrown) });
    }
    this.counts.tables = parts.length;
    await this.amcheck();
  }

  /** Without `updatedAt` nothing says what is new; the table has been reached, and that is all. */
  private async whatIsNew(seenMs: number | null): Promise<void> {
    const { place, look } = this.options;
    if (updatedKindOf(place, look) === undefined) return;
    try {
      if (seenMs === null) await this.read({ kind: 'all' });
      else await this.read({ kind: 'since', ms: seenMs - limits.tableOverlapMs });
    } catch (thrown) {
      if (!isCorruption(thrown)) throw thrown;
      this.report({ check: 'heap_corrupt', ...this.whole(thrown) });
    }
  }

  private async read(of: RowsOf): Promise<void> {
    const { taking } = this.options;
    for await (const row of this.rows.all(of, () => this.pageDone())) {
      this.judge(row);
      if (taking?.isFull) await taking.relieve();
      if (this.pacer.due) await this.pacer.rest();
    }
  }

  private async pageDone(): Promise<void> {
    this.options.request.onProgress?.(this.total);
    await this.pacer.rest();
  }

  private async readBlocks({ sqlName, bytes }: TablePart): Promise<void> {
    const { blockBytes } = this.options.look;
    for (let block = 0; block * blockBytes < bytes; block++) {
      try {
        await this.read({ kind: 'block', part: sqlName, block });
      } catch (thrown) {
        if (!isCorruption(thrown)) throw thrown;
        const detail = `${serverMessage(thrown)}; the other rows of this block were not all checked`;
        this.report({ check: 'heap_corrupt', file: sqlName, offset: block * blockBytes, detail });
      }
    }
  }

  /** A place that only the server knows, in its own words. */
  private whole(thrown: unknown): Omit<FileProblem, 'check' | 'range'> {
    return { file: this.options.look.sqlName, offset: null, detail: serverMessage(thrown) };
  }

  private report(problem: Omit<FileProblem, 'range'>): void {
    this.damaged = true;
    this.findings.add(fileFinding(this.options.store, { ...problem, range: null }));
  }

  private judge(row: TableRow): void {
    this.counts.records++;
    this.counts.sigils++;
    this.counts.bytes += row.bytes ?? 0;
    if (row.updatedMs !== null) this.newestMs = Math.max(this.newestMs, row.updatedMs);
    const { key, failures, sound } = this.checker.check(row);
    this.versions?.row(key, sound && rowFacts(sound), ++this.readings);
    for (const failed of failures) this.findings.add(recordFinding(this.options.store, key, failed));
  }

  private async amcheck(): Promise<void> {
    const { connection, look, store, pause } = this.options;
    const found = await findAmcheck(connection);
    if (found.index === null && found.heap === null) return;
    if (found.index !== null) this.amchecked.add('index_corrupt');
    if (found.heap !== null) this.amchecked.add('heap_corrupt');
    await connection.allowMs(limits.amcheckTimeoutMs);
    // A statement may take minutes, which is no reason to believe that the scan hangs: it has an end of its own.
    const beat = setInterval(() => void pause(), limits.tableHeartbeatMs);
    try {
      for await (const problem of amcheck(connection, look, found)) {
        if (problem === null) this.amchecked.clear();
        else {
          this.complained = true;
          this.findings.add(fileFinding(store, problem));
        }
        await this.pacer.rest();
      }
    } finally {
      clearInterval(beat);
    }
    await connection.allowMs(limits.tableStatementTimeoutMs);
  }

  /** With the inventory before, if there is one. True when everything was compared. */
  private async compare(): Promise<boolean> {
    const { store, taking } = this.options;
    if (taking === null) return false;
    const [settled, doubts] = [!this.damaged && !this.complained, new Doubts()];
    return taking.compare(new Judge({ store, settled, doubts, findings: this.findings, current: this.current }));
  }

  /**
   * Ids of the open findings that are no longer true: rows are looked at again, whenever they were changed. After a look at everything, nothing is
   * taken back that may lie where nothing could be read.
   */
  private async cleared(compared: boolean): Promise<string[]> {
    const { mode, openFindings } = this.options.request;
    const isFull = mode === 'full';
    if (isFull && this.damaged) return [];
    const sawEverything = isFull && this.findings.more === 0;
    return clearedFindings({
      unseen: openFindings.filter((finding) => !this.findings.wasSeen(finding)),
      fileIsFine: ({ check, detail }) =>
        sawEverything && (this.amchecked.has(check) || !detail.startsWith(amcheckMark)),
      ...{ sawEverything, compared, settled: [] },
      current: () => this.current,
    });
  }

  /** A row that claims to be of the future must not keep those of the present from being seen. */
  private seenAfter(before: number | null): number | null {
    const { place, look } = this.options;
    const kind = updatedKindOf(place, look);
    if (kind === undefined || kind === null) return null;
    const newest = Math.min(this.newestMs, look.nowMs + (kind === 'local' ? maxZoneMs : 0));
    if (this.damaged || !Number.isFinite(newest)) return before;
    return Math.max(newest, before ?? newest);
  }
}
