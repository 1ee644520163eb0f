import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { SigilChecker } from '../../common/sigil.ts';
import type { FileWindow } from './file-window.ts';
import type { InventoryTaking } from './inventory/taking.ts';
import { KnownFiles } from './known-files.ts';
import { readLog } from './log-scan.ts';
import type { Pacer } from './pacer.ts';
import { RecordSieve } from './record-sieve.ts';
import type { ScanOutcome, ScanRequest } from './scan.ts';
import type { ScanCounts } from './scan-counts.ts';
import { addedCounts, countsSince, noCounts } from './scan-counts.ts';
import { ScanFindings } from './scan-findings.ts';
import type { ScanThreads, TableOutcome } from './scan-threads.ts';
import type { Snapshot, Snapshots } from './snapshot.ts';
import type { StoreFile, StoreFiles } from './store-files.ts';
import { valuePut } from './table-format.ts';
import { type TableProblem, TableReader } from './table-reader.ts';
import { type KeyRange, type TableRecord, TableScan, type TableSink } from './table-scan.ts';
import { asBuffer, type Part } from './thread-messages.ts';
import type { LiveTable } from './version-edit.ts';
import { BatchCursor } from './write-batch.ts';

/** A live file by name; a log has no table entry. */
type Place = readonly [name: string, table: LiveTable | null];

const progressEveryBlocks = 256;
const recordsPerLook = 32;

export interface ScanRunOptions {
  /** The store's name. */
  readonly store: string;
  readonly files: StoreFiles;
  readonly checker: SigilChecker;
  readonly pacer: Pacer;
  /** Nobody else uses it meanwhile, but for `snapshots`. */
  readonly window: FileWindow;
  /** Of the store; what was read of its MANIFEST before the scan is not read again. */
  readonly snapshots: Snapshots;
  /** Who checks the tables; null does it here. */
  readonly threads: ScanThreads | null;
  /** Where all versions go to, in a full scan; its end is the caller's. */
  readonly taking: InventoryTaking | null;
  readonly request: ScanRequest;
}

/** One scan from start to result; not reused. */
export class ScanRun implements TableSink {
  private readonly files: StoreFiles;
  private readonly request: ScanRequest;
  private readonly window: FileWindow;
  private readonly batch = new BatchCursor();
  private readonly pacer: Pacer;
  private readonly snapshots: Snapshots;
  private readonly tableScan: TableScan;
  private readonly findings: ScanFindings;
  private readonly sieve: RecordSieve;
  private readonly threads: ScanThreads | null;
  private readonly taking: InventoryTaking | null;
  /** What one part of a thread's findings has led to is done before the next is looked at. */
  private dealing: Promise<void> = Promise.resolve();

  /** Of the tables that threads have not done with. */
  private readonly partsOf = new Map<string, { readonly isFine: boolean; readonly counts: ScanCounts }>();
  private readonly known: KnownFiles;
  private scanningFile = '';

  private readonly counts: { -readonly [count in keyof ScanCounts]: number };

  constructor(options: ScanRunOptions) {
    const { store, files, checker, pacer, window, snapshots, threads, taking, request } = options;
    this.files = files;
    this.request = request;
    this.threads = threads;
    this.taking = taking;
    this.sieve = new RecordSieve(checker, taking);
    this.pacer = pacer;
    this.window = window;
    this.snapshots = snapshots;
    this.tableScan = new TableScan(new TableReader(window), this.pacer, this);
    this.known = new KnownFiles(files, request.mode === 'incremental' ? request.state : null);
    const { known } = this;
    this.findings = new ScanFindings({ store, files, checker, pacer, known, taking, request });
    this.counts = { ...noCounts, ...taking?.resumed?.counts };
    for (const [name, fingerprint] of taking?.resumed?.tables ?? []) this.known.checked(name, fingerprint);
  }

  async run(): Promise<ScanOutcome> {
    const { snapshot, settled } = await this.scanAll();
    await this.findings.confirm(this.sieve.take());
    const cleared = await this.findings.conclude(snapshot, settled);
    this.request.onProgress?.(this.total);
    return {
      ...this.total,
      findings: this.findings.fresh,
      moreFindings: this.findings.more,
      cleared,
      settled,
      state: this.known.stateAfter(snapshot),
      inventory: this.taking?.result ?? null,
    };
  }

  private get total(): ScanCounts {
    const { counts, sieve } = this;
    return { ...counts, records: counts.records + sieve.records, sigils: counts.sigils + sieve.sigils };
  }

  private async look(): Promise<Snapshot> {
    await this.pacer.rest();
    const snapshot = await this.snapshots.take();
    this.known.wasExamined(snapshot.manifest);
    for (const { offset, detail } of snapshot.problems) {
      this.findings.file({ check: 'manifest', file: snapshot.manifest, offset, range: null, detail });
    }
    return snapshot;
  }

  /** What settled is the store as it was at one moment, as long as all its files can be open at once. */
  private async scanAll(): Promise<{ readonly snapshot: Snapshot; readonly settled: boolean }> {
    let missed = 0;
    for (let round = 1; ; round++) {
      const snapshot = await this.look();
      const outcome = await this.scanFiles(snapshot, missed < limits.sigilOpenAttempts);
      if (outcome === 'settled') return { snapshot, settled: true };
      if (outcome === 'missed') missed++;
      else if (round - missed >= limits.sigilScanRounds) return { snapshot, settled: false };
    }
  }

  /**
   * `unsettled` when a file was gone: compacted into others that a newer snapshot will name. The newest go soonest.
   * @param mayMiss whether nothing is to be read then, if all fit together, so that nothing old is among what is: `missed`
   */
  private async scanFiles(snapshot: Snapshot, mayMiss: boolean): Promise<'settled' | 'unsettled' | 'missed'> {
    const tables = [...snapshot.tables].sort(([, left], [, right]) => right.number - left.number);
    const logs = snapshot.logs.map((name): Place => [name, null]);
    if (this.threads === null) {
      const places = [...logs, ...tables];
      const atOnce = mayMiss && places.length <= limits.sigilOpenFiles;
      const settled = await this.scanHere(places, snapshot, atOnce);
      return settled ? 'settled' : atOnce ? 'missed' : 'unsettled';
    }
    const settled = await this.scanHere(logs, snapshot);
    return (await this.scanInThreads(tables, snapshot, this.threads)) && settled ? 'settled' : 'unsettled';
  }

  private async scanHere(places: readonly Place[], snapshot: Snapshot, orNothing = false): Promise<boolean> {
    let settled = true;
    for (let at = 0; at < places.length; at += limits.sigilOpenFiles) {
      const together = places.slice(at, at + limits.sigilOpenFiles);
      settled = (await this.scanTogether(together, snapshot, orNothing)) && settled;
      if (this.pacer.due) await this.pacer.rest();
    }
    return settled;
  }

  private async scanInThreads(
    tables: readonly (readonly [name: string, table: LiveTable])[],
    snapshot: Snapshot,
    threads: ScanThreads,
  ): Promise<boolean> {
    const unknown: (typeof tables)[number][] = [];
    for (const place of tables) if (!(await this.known.isChecked(place[0]))) unknown.push(place);
    let settled = true;
    const outcome = async (name: string, { kind, ...more }: TableOutcome) => {
      if ('fingerprint' in more) await this.tableDoneInThread(name, more.fingerprint);
      else if ('message' in more) this.findings.unreadable(name, snapshot.tables.get(name) ?? null, more.message);
      else settled = this.isLost(name, snapshot) && settled;
    };
    await threads.scan(unknown, { part: (name, part) => this.dealWith(name, part), outcome });
    return settled;
  }

  private async tableDoneInThread(name: string, fingerprint: string): Promise<void> {
    this.tableDone(name, fingerprint);
    const parts = this.partsOf.get(name);
    this.partsOf.delete(name);
    if (parts?.isFine === false) return;
    const read = { ...noCounts, ...parts?.counts, tables: 1 };
    this.dealing = this.dealing.then(() => this.taking?.tableIsFine(name, fingerprint, read));
    await this.dealing;
  }

  private dealWith(file: string, part: Part): Promise<void> {
    const { counts } = this;
    const { blocks, bytes, records, sigils, suspects, problems, versions } = part;
    const before = this.partsOf.get(file);
    this.partsOf.set(file, {
      isFine: (before?.isFine ?? true) && problems.length === 0 && suspects.length === 0,
      counts: addedCounts(before?.counts ?? noCounts, { tables: 0, blocks, bytes, records, sigils }),
    });
    counts.blocks += blocks;
    counts.bytes += bytes;
    counts.records += records;
    counts.sigils += sigils;
    for (const { problem, range } of problems) this.findings.block(file, problem, range);
    this.request.onProgress?.(this.total);
    this.dealing = this.dealing.then(async () => {
      await this.taking?.addAll(asBuffer(versions));
      await this.findings.confirm(suspects);
    });
    return this.dealing;
  }

  /** All are opened before the first is read: an open file stays readable when the store drops it. */
  private async scanTogether(places: readonly Place[], snapshot: Snapshot, orNothing: boolean): Promise<boolean> {
    const opened: StoreFile[] = [];
    let settled = true;
    try {
      for (const [name, table] of places) {
        const there = await this.unlessUnreadable(name, table, () => this.openUnlessKnown(name, opened));
        settled = (there || this.isLost(name, snapshot)) && settled;
      }
      if (orNothing && !settled) return false;
      for (const file of opened) {
        const table = snapshot.tables.get(file.name) ?? null;
        await this.unlessUnreadable(file.name, table, () => this.scanOpen(file, table));
      }
    } finally {
      for (const file of opened) await file.close();
    }
    return settled;
  }

  /** False when there is no such file. */
  private async openUnlessKnown(name: string, opened: StoreFile[]): Promise<boolean> {
    if (await this.known.isChecked(name)) return true;
    const file = await this.files.open(name);
    if (file !== null) opened.push(file);
    return file !== null;
  }

  private async scanOpen(file: StoreFile, table: LiveTable | null): Promise<boolean> {
    if (table === null) await this.scanLog(file);
    else await this.scanTable(file, table);
    return true;
  }

  /** What the disk refuses is a finding, and as good as scanned. */
  private async unlessUnreadable(
    name: string,
    table: LiveTable | null,
    work: () => Promise<boolean>,
  ): Promise<boolean> {
    this.scanningFile = name;
    try {
      return await work();
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'store.unreadable') throw thrown;
      this.findings.unreadable(name, table, error.message);
      return true;
    }
  }

  /** False when it was probably compacted away. */
  private isLost(name: string, snapshot: Snapshot): boolean {
    if (snapshot.problems.length > 0) return true;
    if (!this.known.isAbsentAgain(name)) return false;
    this.findings.missing(name, snapshot.tables.get(name) ?? null);
    return true;
  }

  private async scanTable(file: StoreFile, table: LiveTable): Promise<void> {
    const { total, remarks } = this;
    await this.tableScan.scan(file, table);
    this.tableDone(file.name, file.fingerprint);
    if (this.remarks === remarks) {
      await this.taking?.tableIsFine(file.name, file.fingerprint, countsSince(total, this.total));
    }
  }

  /** How often there was something to say, of whatever file. */
  private get remarks(): number {
    return this.findings.remarks + this.sieve.kept;
  }

  private tableDone(name: string, fingerprint: string): void {
    this.counts.tables++;
    this.known.checked(name, fingerprint);
  }

  private async scanLog(file: StoreFile): Promise<void> {
    const { name } = file;
    const startAt = this.known.resumeAt(file);
    const reading = await readLog(this.window, file, startAt, (record, endsAt) => this.scanBatch(name, record, endsAt));
    for (const { check, offset, detail } of reading.problems) {
      this.findings.file({ check, file: name, offset, range: null, detail });
    }
    this.counts.bytes += reading.resumeAt - startAt;
    this.known.wasRead(file, reading.resumeAt);
  }

  private async scanBatch(log: string, record: Buffer, endsAt: number): Promise<void> {
    const { batch } = this;
    batch.open(record);
    for (let operations = 1; batch.next(); operations++) {
      if (batch.type === valuePut) this.record(batch);
      else this.deletion(batch);
      if (operations % recordsPerLook === 0) {
        if (this.isFull) await this.relieve();
        if (this.pacer.due) await this.pacer.rest();
      }
    }
    if (batch.problem !== null) {
      const detail = `${batch.problem}; the record ends here`;
      this.findings.file({ check: 'log_format', file: log, offset: endsAt, range: null, detail });
    }
    // Most batches hold one operation, so the look inside the loop is not enough.
    if (this.isFull) await this.relieve();
    if (this.sieve.kept >= limits.sigilConfirmBatch) await this.findings.confirm(this.sieve.take());
    if (this.pacer.due) await this.pacer.rest();
  }

  /** {@link TableSink} */
  record(record: TableRecord): void {
    this.sieve.look(record);
  }

  /** {@link TableSink} */
  deletion(record: TableRecord): void {
    this.sieve.deletion(record.userKey(), record.sequence);
  }

  /** {@link TableSink} */
  get isFull(): boolean {
    return this.taking?.isFull ?? false;
  }

  /** {@link TableSink} */
  async relieve(): Promise<void> {
    await this.taking?.relieve();
  }

  /** {@link TableSink} */
  problem(problem: TableProblem, range: KeyRange | null): void {
    this.findings.block(this.scanningFile, problem, range);
  }

  /** {@link TableSink} */
  blockDone(storedBytes: number): Promise<void> | undefined {
    this.counts.blocks++;
    this.counts.bytes += storedBytes;
    if (this.counts.blocks % progressEveryBlocks === 0) this.request.onProgress?.(this.total);
    return this.sieve.kept >= limits.sigilConfirmBatch ? this.findings.confirm(this.sieve.take()) : undefined;
  }
}
