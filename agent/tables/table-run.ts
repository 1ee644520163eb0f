import { isUtf8 } from 'node:buffer';
import type { Clock } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import type { FailedCheck, SigilChecker, SigilFinding } from '../../common/sigil.ts';
import { foreignBytes } from '../../common/sigil-text.ts';
import { type FileProblem, FindingList, fileFinding, isFileFinding, recordFinding } from '../sigils/findings.ts';
import { Pacer } from '../sigils/pacer.ts';
import type { ScanOutcome, ScanRequest } from '../sigils/scan.ts';
import type { ScanCounts } from '../sigils/scan-counts.ts';
import { amcheck, amcheckMark, findAmcheck } from './amcheck-store.ts';
import type { TableLook, TablePart } from './catalog-store.ts';
import { isCorruption, serverMessage, sqlStateOf, type TableConnection } from './connection.ts';
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
  readonly request: ScanRequest;
}

/** Local time may be so much ahead of UTC. */
const maxZoneMs = 86_400_000;

/** One scan of a table from start to result; not reused. */
export class TableRun {
  private readonly options: TableRunOptions;
  private readonly rows: TableRows;
  private readonly pacer: Pacer;
  private readonly findings: FindingList;
  private readonly counts = { tables: 0, blocks: 0, bytes: 0, records: 0, sigils: 0 };
  /** Newest `updatedAt` seen, Unix milliseconds. */
  private newestMs = Number.NEGATIVE_INFINITY;
  /** Whether the server could not give a part of the rows. */
  private damaged = false;
  /** What `amcheck` has told all of. */
  private readonly amchecked = new Set<SigilFinding['check']>();

  constructor(options: TableRunOptions) {
    const { connection, place, look, clock, pause, request } = options;
    this.options = options;
    this.rows = new TableRows(connection, place, look);
    this.pacer = new Pacer(clock, pause, request.signal);
    this.findings = new FindingList(request.openFindings);
  }

  async run(): Promise<ScanOutcome> {
    const { request } = this.options;
    const seenMs = request.state !== null && 'rows' in request.state ? request.state.rows.seenMs : null;
    if (request.mode === 'full') await this.everything();
    else await this.whatIsNew(seenMs);
    const cleared = request.mode === 'full' ? this.clearedByAll() : await this.mended();
    request.onProgress?.(this.total);
    return {
      ...this.total,
      findings: this.findings.fresh,
      moreFindings: this.findings.more,
      cleared: cleared.map(({ id }) => id),
      settled: true,
      inventory: null,
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
    for await (const row of this.rowsOf(of)) {
      this.judge(row);
      if (this.pacer.due) await this.pacer.rest();
    }
  }

  /** Page by page; of one that has been looked at, nothing is kept while the next is on its way. */
  private async *rowsOf(of: RowsOf): AsyncGenerator<TableRow> {
    let after: readonly string[] | undefined;
    for (let more = true; more; ) {
      const page = await this.rows.page(of, after);
      yield* page;
      after = page.at(-1)?.at;
      more = after !== undefined;
      this.options.request.onProgress?.(this.total);
      await this.pacer.rest();
    }
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
    const key = this.keyText(row);
    for (const failed of this.failuresOf(row, key)) {
      this.findings.add(recordFinding(this.options.store, key, failed));
    }
  }

  private failuresOf({ record, bytes, columns, updatedMs }: TableRow, key: Buffer): readonly FailedCheck[] {
    if (columns === null) return [tooLong('a column', limits.maxTableColumnBytes, null)];
    if (record === null) {
      return bytes === null ? [noRecord] : [tooLong('the record', limits.maxTableRecordBytes, bytes)];
    }
    const { tenant, symbol = null, authHash = null, ...beside } = columns;
    return this.options.checker.checkRow({
      ...{ key, tenant, symbol, authHash, beside },
      record: typeof record === 'string' ? Buffer.from(record) : record,
      updatedAt: timeOf(updatedMs),
    });
  }

  /** As JSON: to be read, and to find the row by. */
  private keyText({ key }: TableRow): Buffer {
    const { look } = this.options;
    return Buffer.from(JSON.stringify(Object.fromEntries(look.key.map(({ name }, nth) => [name, key[nth]]))));
  }

  /** What {@link keyText} says, or undefined when it is the key of something else. */
  private keyOf(text: string): readonly string[] | undefined {
    const bytes = foreignBytes(text);
    if (bytes === null || !isUtf8(bytes)) return undefined;
    try {
      const parsed: unknown = JSON.parse(bytes.toString('utf8'));
      if (typeof parsed !== 'object' || parsed === null) return undefined;
      const found = new Map<string, unknown>(Object.entries(parsed));
      const names = this.options.look.key.map(({ name }) => name);
      const key = names.map((name) => found.get(name)).filter((value) => typeof value === 'string');
      return key.length === names.length && found.size === names.length ? key : undefined;
    } catch {
      return undefined;
    }
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
        else this.findings.add(fileFinding(store, problem));
        await this.pacer.rest();
      }
    } finally {
      clearInterval(beat);
    }
  }

  /** After a look at everything, what was not seen again is gone; unless it may lie where nothing could be read. */
  private clearedByAll(): SigilFinding[] {
    if (this.damaged || this.findings.more > 0) return [];
    const unseen = this.options.request.openFindings.filter((finding) => !this.findings.wasSeen(finding));
    return unseen.filter(({ check, detail }) => this.amchecked.has(check) || !detail.startsWith(amcheckMark));
  }

  /** Rows with open findings are looked at again, whenever they were changed. */
  private async mended(): Promise<SigilFinding[]> {
    const open = this.options.request.openFindings.flatMap((finding) => {
      const key = isFileFinding(finding) || finding.key === null ? undefined : this.keyOf(finding.key);
      return key === undefined ? [] : [{ finding, key }];
    });
    const gone: SigilFinding[] = [];
    for (let at = 0; at < open.length; at += limits.tableLookUpRows) {
      const asked = open.slice(at, at + limits.tableLookUpRows);
      const failing = await this.failingOf(asked.map(({ key }) => key));
      if (failing === undefined) continue;
      gone.push(...asked.flatMap(({ finding }) => (failing.has(`${finding.check} ${finding.key}`) ? [] : [finding])));
    }
    return gone;
  }

  /** `check key` of every check that these rows fail now; undefined when the server cannot read them. */
  private async failingOf(keys: readonly (readonly string[])[]): Promise<ReadonlySet<string> | undefined> {
    const { store } = this.options;
    const failing = new Set<string>();
    try {
      for await (const row of this.rowsOf({ kind: 'keys', keys })) {
        const key = this.keyText(row);
        for (const failed of this.failuresOf(row, key)) {
          const { check, key: shown } = recordFinding(store, key, failed);
          failing.add(`${check} ${shown}`);
        }
      }
      return failing;
    } catch (thrown) {
      // A key of another type than the table has now names none of its rows.
      if (isCorruption(thrown) || sqlStateOf(thrown)?.startsWith('22')) return undefined;
      throw thrown;
    }
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

const noRecord: FailedCheck = {
  check: 'required_field',
  expected: 'record',
  actual: null,
  detail: 'the row has no record',
};

function tooLong(what: string, maxBytes: number, bytes: number | null): FailedCheck {
  const detail = `${what} is too long to be checked`;
  return {
    check: 'schema',
    expected: `at most ${maxBytes} bytes`,
    actual: bytes === null ? null : `${bytes} bytes`,
    detail,
  };
}

/** RFC 3339, or undefined for a time that has no such form. */
function timeOf(ms: number | null): string | undefined {
  return ms === null || Math.abs(ms) > 8_640_000_000_000_000 ? undefined : new Date(ms).toISOString();
}
