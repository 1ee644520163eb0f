import { createHmac } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { setImmediate as immediate } from 'node:timers/promises';
import type { Clock } from '../../common/clock.ts';
import { SigilChecker, type SigilRecord } from '../../common/sigil.ts';
import { version } from '../../common/version.ts';
import { FileWindow } from './file-window.ts';
import { fsStoreFiles } from './fs-store-files.ts';
import { InventoryTaking } from './inventory/taking.ts';
import { oneScanAtATime } from './one-scan.ts';
import { Pacer } from './pacer.ts';
import type { ScanRequest, ScanResult, StoreScanner } from './scan.ts';
import { ScanRun, type ScanRunOptions } from './scan-run.ts';
import { ScanThreads } from './scan-threads.ts';
import { Snapshots } from './snapshot.ts';
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
  /** How many threads check the tables in a full scan; 1 when absent: all of it happens here. Takes the built-in payload and files. */
  readonly threads?: number;
  /** The built thread; the one beside the program when absent. */
  readonly threadFile?: URL;
  /** Called after every few milliseconds of work; lets the event loop turn when absent. A slower one spreads the load. */
  readonly pause?: () => Promise<void>;
}

/**
 * Checks one sigil store that another program may be using: never opens it as a database, never writes, locks or links,
 * only reads its files (`docs/sigil-reading.md`).
 */
export class SigilScanner implements StoreScanner {
  readonly name: string;
  private readonly checker: SigilChecker;
  private readonly files: StoreFiles;
  private readonly clock: Clock;
  /** What verdicts depend on beside the store; null when that cannot be told. */
  private readonly judge: string | null;
  private readonly pause: () => Promise<void>;
  private readonly begin: (request: ScanRequest) => ScanThreads | null;
  private readonly alone: (request: ScanRequest) => Promise<ScanResult>;

  /** @throws AppError `validation.config` for secrets that cannot be used */
  constructor(options: SigilStoreOptions) {
    const { name, path, secrets, payloadOf, clock, files, pause, threads = 1, threadFile } = options;
    this.name = name;
    this.begin = ({ mode, inventory }) => {
      if (threads < 2 || mode !== 'full') return null;
      return new ScanThreads(threads, { path, secrets, versions: inventory !== undefined }, threadFile);
    };
    this.judge = payloadOf === undefined ? judgeOf(secrets) : null;
    this.checker = new SigilChecker(payloadOf === undefined ? { secrets } : { secrets, payloadOf });
    this.files = files ?? fsStoreFiles(path);
    this.clock = clock;
    this.pause = pause ?? (() => immediate());
    this.alone = oneScanAtATime(name, clock, (request) => this.run(request, this.begin(request)));
  }

  /**
   * Damage in the store is in the result, not thrown.
   * @throws AppError `store.missing`, `store.not_a_store`, `store.corrupt` (CURRENT or MANIFEST gone), `store.unreadable`
   *   (folder, CURRENT or MANIFEST), `state.busy` while another scan of this store runs; or the signal's reason
   */
  scan(request: ScanRequest): Promise<ScanResult> {
    return this.alone(request);
  }

  /** Null where no inventory is wanted, or the scan would see too little for one. */
  private async takingFor(
    { mode, inventory }: ScanRequest,
    { pacer, snapshots }: Pick<ScanRunOptions, 'pacer' | 'snapshots'>,
  ): Promise<InventoryTaking | null> {
    if (mode !== 'full' || inventory === undefined) return null;
    const { clock, judge } = this;
    const begin = { ...inventory, store: this.name, pacer };
    // Of payloads of somebody's own nobody can tell whether they are still the same.
    if (judge === null || (inventory.position === undefined && !inventory.keeps)) return InventoryTaking.begin(begin);
    const { tables, logs } = await snapshots.take();
    const numbers = [...tables.keys(), ...logs].map((name) => Number.parseInt(name, 10));
    const highestFile = numbers.reduce((highest, number) => Math.max(highest, number), 0);
    const stands = async (table: string, fingerprint: string) => {
      const stamp = tables.has(table) ? await this.files.stamp(table).catch(() => null) : null;
      return stamp?.fingerprint === fingerprint;
    };
    const folder = await folderIdentity(this.files.path);
    return InventoryTaking.begin({ ...begin, resumption: { clock, judge, folder, highestFile, stands } });
  }

  private async run(request: ScanRequest, threads: ScanThreads | null) {
    const { name: store, files, checker } = this;
    const pacer = new Pacer(this.clock, this.pause, request.signal);
    const window = new FileWindow();
    const reading = { pacer, window, snapshots: new Snapshots(files, window, pacer) };
    const stop = () => void threads?.stop();
    request.signal?.addEventListener('abort', stop);
    let taking: InventoryTaking | null = null;
    try {
      taking = await this.takingFor(request, reading);
      return await new ScanRun({ store, files, checker, ...reading, threads, taking, request }).run();
    } catch (thrown) {
      await taking?.drop();
      request.signal?.throwIfAborted();
      throw thrown;
    } finally {
      request.signal?.removeEventListener('abort', stop);
      await threads?.stop();
    }
  }
}

/** Another one in its place has another, even when the number of its inode is used again. */
async function folderIdentity(path: string): Promise<string> {
  // Of one that is gone meanwhile, the scan says so.
  const found = await stat(path, { bigint: true }).catch(() => null);
  return found === null ? '' : `${found.dev}:${found.ino}:${found.birthtimeNs}`;
}

/** Says no more of the secrets than the signatures in the store do. */
function judgeOf(secrets: readonly string[]): string {
  return secrets.reduce(
    (text, secret) => createHmac('sha256', secret).update(text).digest('hex'),
    createHmac('sha256', 'none').update(`judge ${version}`).digest('hex'),
  );
}
