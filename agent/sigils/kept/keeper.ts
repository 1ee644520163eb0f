import { rm } from 'node:fs/promises';
import type { Clock } from '../../../common/clock.ts';
import { AppError, toAppError } from '../../../common/errors.ts';
import type { IntegrityStatus } from '../../../common/integrity-report.ts';
import { limits } from '../../../common/limits.ts';
import type { Logger } from '../../../common/log.ts';
import { fsStoreFiles, sameButForStatus } from '../fs-store-files.ts';
import { Pacer } from '../pacer.ts';
import type { ScanState } from '../scan-state.ts';
import { SigilScanner } from '../scanner.ts';
import type { StoreFiles } from '../store-files.ts';
import { keptFiles } from './kept-files.ts';
import { type HeldSnapshot, outdatedSnapshots, type SnapshotRetention } from './retention.ts';
import { heldFiles, type KeptSnapshot, Shelf, snapshotIdAt } from './shelf.ts';
import { Staging } from './staging.ts';

export interface KeeperSettings extends SnapshotRetention {
  readonly by: 'links' | 'copies';
}

export interface KeeperOptions {
  readonly store: string;
  /** Its LevelDB folder. */
  readonly path: string;
  readonly dataDir: string;
  readonly secrets: readonly string[];
  readonly settings: KeeperSettings;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A full scan that was just made of the store. */
export interface FullScan {
  readonly status: IntegrityStatus;
  readonly state: ScanState;
  readonly pause: () => Promise<void>;
  readonly signal: AbortSignal;
}

type Marks = ReadonlyMap<string, string>;

/**
 * Keeps snapshots of one store's clean states. Not to be called while a call is under way.
 *
 * A link changes the status-change time of the file that it is made to, and with it the fingerprint by which scans know that a table
 * needs no second look. So whatever was known before is known after, too: in the state that is given back.
 */
export class SnapshotKeeper {
  private readonly options: KeeperOptions;
  private readonly shelf: Shelf;
  private readonly live: StoreFiles;
  /** What was said of links that cannot be made, so that it is said once. */
  private toldUnlinked: string | null = null;

  constructor(options: KeeperOptions) {
    this.options = options;
    this.shelf = new Shelf(options.dataDir, options.store);
    this.live = fsStoreFiles(options.path);
  }

  /**
   * Keeps a snapshot, if the store was clean, and drops what is to be kept no longer. What goes wrong is logged: it costs the snapshot,
   * not the scan.
   * @returns the state to go on with
   * @throws the signal's reason
   */
  async afterFullScan({ status, state, pause, signal }: FullScan): Promise<ScanState> {
    const { clock, logger, store } = this.options;
    const pacer = new Pacer(clock, pause, signal);
    const known = await this.unchanged(state, pacer);
    try {
      if (status === 'ok') await this.keep(known, { pause, signal, pacer });
      await this.dropOutdated();
    } catch (thrown) {
      signal.throwIfAborted();
      const error = toAppError(thrown);
      logger.error('snapshot.failed', { store, code: error.code, error });
      await this.shelf.clear().catch(() => {});
    }
    return this.marked(state, known, pacer);
  }

  private async keep(
    known: Marks,
    { pause, signal, pacer }: Omit<FullScan, 'status' | 'state'> & { readonly pacer: Pacer },
  ): Promise<void> {
    const { path, store, settings, clock, logger } = this.options;
    const atMs = clock.now();
    const snapshots = await this.shelf.list();
    // Not only the newest: after the clock was set back, that is one of the future.
    if (snapshots.some(({ at }) => Math.abs(atMs - Date.parse(at)) < limits.snapshotGapMs)) return;
    const [before] = snapshots;
    const id = snapshotIdAt(atMs);
    const folder = await this.shelf.stage(id);
    const { by, maxBytes } = settings;
    const staged = await new Staging({ storePath: path, folder, by, before, maxBytes, pacer }).fill();
    if (staged.unlinked !== null && staged.unlinked !== this.toldUnlinked) {
      this.toldUnlinked = staged.unlinked;
      logger.warn('snapshot.copied', { store, reason: staged.unlinked });
    }
    const problem = await this.problemIn(folder, { known, before }, { pause, signal });
    if (problem !== undefined) {
      await rm(folder, { recursive: true, force: true });
      throw new AppError('state.conflict', `no snapshot of ${path} is kept: ${problem}`);
    }
    await this.shelf.publish(folder, id, atMs, staged.copies);
    logger.info('snapshot.kept', { store, snapshot: id, tables: staged.snapshot.tables.size });
  }

  /** Looks at all of it that the full scan has not seen: logs, and tables that are new or were touched since. */
  private async problemIn(
    folder: string,
    { known, before }: { readonly known: Marks; readonly before: KeptSnapshot | undefined },
    { pause, signal }: Pick<FullScan, 'pause' | 'signal'>,
  ): Promise<string | undefined> {
    const { store: name, secrets, clock } = this.options;
    const files = keptFiles(folder);
    const tables: [string, string][] = [];
    for (const [table, fingerprint] of known) {
      const stamp = await files.stamp(table);
      if (stamp === null) continue;
      const isLink = sameButForStatus(stamp.fingerprint, fingerprint);
      if (isLink || (await isCopyOf(before, table, fingerprint, stamp.identity)))
        tables.push([table, stamp.fingerprint]);
    }
    const scanner = new SigilScanner({ name, path: folder, secrets, clock, files, pause });
    const state: ScanState = { version: 1, tables, logs: [] };
    const result = await scanner.scan({ mode: 'incremental', state, openFindings: [], signal });
    const [found] = result.findings;
    if (found !== undefined) return `${found.detail} (${found.check}), which the full scan before did not find`;
    return result.settled ? undefined : 'some of its files are missing';
  }

  private async dropOutdated(): Promise<void> {
    const { settings, clock, logger, store } = this.options;
    await this.shelf.clear();
    const snapshots = await this.shelf.list();
    const outdated = outdatedSnapshots(await heldSnapshots(snapshots), settings, clock.now());
    // Oldest first: whatever a crash leaves are the newest.
    for (const snapshot of snapshots.toReversed()) {
      if (!outdated.includes(snapshot.id)) continue;
      await this.shelf.drop(snapshot);
      logger.info('snapshot.dropped', { store, snapshot: snapshot.id });
    }
  }

  /** Tables that are still as they were when they were checked. */
  private async unchanged(state: ScanState, pacer: Pacer): Promise<Marks> {
    const known = new Map<string, string>();
    for (const [name, fingerprint] of 'tables' in state ? state.tables : []) {
      if (pacer.due) await pacer.rest();
      if ((await this.stampOf(name)) === fingerprint) known.set(name, fingerprint);
    }
    return known;
  }

  private async marked(state: ScanState, known: Marks, pacer: Pacer): Promise<ScanState> {
    if (!('tables' in state)) return state;
    const tables: [string, string][] = [];
    for (const [name, fingerprint] of state.tables) {
      if (pacer.due) await pacer.rest();
      const now = known.has(name) ? await this.stampOf(name) : undefined;
      tables.push([name, now !== undefined && sameButForStatus(now, fingerprint) ? now : fingerprint]);
    }
    return { ...state, tables };
  }

  private async stampOf(name: string): Promise<string | undefined> {
    return (await this.live.stamp(name).catch(() => null))?.fingerprint;
  }
}

/** Whether this very file is the copy that a snapshot has of a table, which was looked at then. */
async function isCopyOf(
  before: KeptSnapshot | undefined,
  table: string,
  fingerprint: string,
  identity: string,
): Promise<boolean> {
  if (before?.copies.get(table) !== fingerprint) return false;
  return (await keptFiles(before.folder).stamp(table))?.identity === identity;
}

/** With what they hold, newest first as they come. */
export async function heldSnapshots(snapshots: readonly KeptSnapshot[]): Promise<HeldSnapshot[]> {
  const held: HeldSnapshot[] = [];
  for (const snapshot of snapshots) {
    held.push({ id: snapshot.id, atMs: Date.parse(snapshot.at), files: await heldFiles(snapshot) });
  }
  return held;
}
