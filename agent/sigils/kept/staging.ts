import { constants, type FileHandle, link, lstat, open, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, errnoOf } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { FileWindow } from '../file-window.ts';
import { fsStoreFiles } from '../fs-store-files.ts';
import type { Pacer } from '../pacer.ts';
import { type Snapshot, Snapshots, takeSnapshot } from '../snapshot.ts';
import type { StoreFile, StoreFiles } from '../store-files.ts';
import { keptFiles, keptPath } from './kept-files.ts';
import type { KeptSnapshot, SnapshotNote } from './shelf.ts';

export interface StagingOptions {
  /** The store's own folder; nothing in it is written, and nobody's lock is asked for. */
  readonly storePath: string;
  /** An empty folder. */
  readonly folder: string;
  /** Whether tables may be hard links; else they are copied. */
  readonly by: 'links' | 'copies';
  /** What tables may have been copied before. */
  readonly before: KeptSnapshot | undefined;
  readonly maxBytes: number;
  readonly pacer: Pacer;
}

/** A snapshot whose files are all on disk, but which nobody has looked at. */
export interface Staged {
  readonly snapshot: Snapshot;
  readonly copies: SnapshotNote['copies'];
  /** Why tables were copied that were to be linked. */
  readonly unlinked: string | null;
}

/** Errors of link(2) that say that this file cannot have a link there; anything else is trouble. */
const unlinkable: ReadonlySet<string> = new Set([
  'EXDEV',
  'EPERM',
  'EACCES',
  'EMLINK',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
]);

/**
 * Puts together what a store in use consists of, in a folder of ours: its tables, which never change, as links or copies; then copies
 * of its logs; then of the MANIFEST and of CURRENT. A MANIFEST that is copied after the logs names no log older than what was copied, and
 * its tables hold nothing newer; so what is there together is what the store held at one moment. A log is never linked: to the
 * writer it is still open, and a reader that cuts its end off would cut the writer's.
 * @throws AppError `store.*` as a snapshot does, `state.busy` when the store changes faster than it is read, `state.conflict` when
 *   there is no room; the file system's error
 */
export class Staging {
  private readonly live: StoreFiles;
  private readonly staged: StoreFiles;
  private readonly window = new FileWindow();
  private readonly options: StagingOptions;
  private readonly present = new Set<string>();
  private readonly copies = new Map<string, string>();
  /** Bytes of what is no table, in this round. */
  private beside = 0;
  private unlinked: string | null = null;
  private copying: boolean;

  constructor(options: StagingOptions) {
    this.options = options;
    this.live = fsStoreFiles(options.storePath);
    this.staged = keptFiles(options.folder);
    this.copying = options.by === 'copies';
  }

  async fill(): Promise<Staged> {
    const { pacer, folder, storePath } = this.options;
    const snapshots = new Snapshots(this.live, this.window, pacer);
    for (let round = 0; round < limits.sigilLookUpAttempts; round++) {
      const live = await snapshots.take();
      if (this.copying) await this.requireRoom(live);
      for (const name of live.tables.keys()) await this.takeTable(name, live);
      this.beside = 0;
      if ((await this.copyLogs(live)) && (await this.copyManifest())) {
        const snapshot = await takeSnapshot(this.staged, this.window, pacer);
        if (snapshot.problems.length > 0) throw changed(storePath);
        if (await this.isWhole(snapshot)) {
          await this.removeUnnamed(snapshot);
          const copies = [...this.copies].filter(([name]) => snapshot.tables.has(name));
          return { snapshot, copies, unlinked: this.unlinked };
        }
      }
      await pacer.rest();
    }
    throw new AppError('state.busy', `sigil store ${storePath} changed faster than a snapshot of it was made`, {
      retryable: true,
      details: { folder },
    });
  }

  /** What is gone was compacted into others, which the next round's MANIFEST names. */
  private async takeTable(name: string, live: Snapshot): Promise<void> {
    const { pacer } = this.options;
    if (pacer.due) await pacer.rest();
    if (this.present.has(name)) return;
    if (!this.copying) {
      if (await this.linkTable(name)) return;
      this.copying = true;
      await this.requireRoom(live);
    }
    await this.copyTable(name);
  }

  /** Whether that is all there is to do: it is there, or the store has it no more. */
  private async linkTable(name: string): Promise<boolean> {
    const { storePath, folder } = this.options;
    const target = keptPath(folder, name);
    try {
      await link(join(storePath, name), target);
    } catch (thrown) {
      const errno = errnoOf(thrown) ?? '';
      if (errno === 'ENOENT') return true;
      if (!unlinkable.has(errno)) throw thrown;
      this.unlinked = whyUnlinked(errno, storePath, dirname(folder));
      return false;
    }
    // A link to a symbolic link is one, and leads wherever that is made to lead later.
    if (!(await lstat(target)).isFile()) {
      await rm(target);
      throw new AppError('store.unreadable', `${join(storePath, name)} is not a regular file`);
    }
    this.present.add(name);
    return true;
  }

  private async copyTable(name: string): Promise<void> {
    const { before, folder } = this.options;
    const file = await this.live.open(name);
    if (file === null) return;
    try {
      const isCopied = before !== undefined && before.copies.get(name) === file.fingerprint;
      if (!isCopied || !(await linkedAgain(before, name, folder))) await this.copy(file);
      this.copies.set(name, file.fingerprint);
      this.present.add(name);
    } finally {
      await file.close();
    }
  }

  /** Those that counted before, and all that came since; whatever else is called a log is not the store's. */
  private async copyLogs({ logs }: Snapshot): Promise<boolean> {
    const oldest = Math.min(...logs.map((name) => logNumber(name) ?? 0));
    const names = (await this.live.list()).filter((name) => (logNumber(name) ?? -1) >= oldest);
    let whole = true;
    for (const name of names) whole = (await this.copyNamed(name)) && whole;
    return whole;
  }

  /** CURRENT last: a folder without it is no store to anybody. */
  private async copyManifest(): Promise<boolean> {
    const current = await this.live.open('CURRENT');
    if (current === null) return false;
    try {
      const text = Buffer.alloc(64);
      const manifest = text.toString('latin1', 0, await current.read(text, 0)).trimEnd();
      if (!/^MANIFEST-\d{1,20}$/.test(manifest)) throw changed(this.options.storePath);
      if (!(await this.copyNamed(manifest))) return false;
      await this.copyBeside(current);
      return true;
    } finally {
      await current.close();
    }
  }

  private async copyNamed(name: string): Promise<boolean> {
    const file = await this.live.open(name);
    if (file === null) return false;
    try {
      await this.copyBeside(file);
      return true;
    } finally {
      await file.close();
    }
  }

  /** What is no table is small, as long as nobody has made it otherwise. @throws AppError `state.conflict` */
  private async copyBeside(file: StoreFile): Promise<void> {
    const { storePath, folder, maxBytes } = this.options;
    this.beside += file.bytes;
    if (this.beside > maxBytes) {
      throw new AppError(
        'state.conflict',
        `logs and MANIFEST of ${storePath} take ${this.beside} bytes, more than the ${maxBytes} allowed (integrity.snapshots.maxBytes)`,
      );
    }
    await requireFree(folder, file.bytes, `a copy of ${file.name} of ${storePath} takes ${file.bytes} bytes`);
    await this.copy(file);
  }

  /** As far as it went when it was opened. Only what a round before has copied is overwritten: nothing here that is linked. */
  private async copy(file: StoreFile): Promise<void> {
    const { folder, pacer } = this.options;
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const target: FileHandle = await open(keptPath(folder, file.name), flags, 0o600);
    const chunk = Buffer.allocUnsafe(Math.min(limits.sigilWindowBytes, Math.max(file.bytes, 1)));
    try {
      for (let at = 0; at < file.bytes; ) {
        const read = await file.read(chunk.subarray(0, Math.min(chunk.length, file.bytes - at)), at);
        if (read === 0) break;
        await target.writeFile(chunk.subarray(0, read));
        at += read;
        if (pacer.due) await pacer.rest();
      }
      await target.sync();
    } finally {
      await target.close();
    }
  }

  /** Every file that the copied MANIFEST names, at the size it says: a table may have been copied while it was being written. */
  private async isWhole({ tables, logs }: Snapshot): Promise<boolean> {
    let whole = true;
    for (const name of logs) whole = (await this.staged.stamp(name)) !== null && whole;
    for (const [name, { bytes }] of tables) {
      const stamp = await this.staged.stamp(name);
      if (stamp !== null && stamp.bytes === bytes) continue;
      whole = false;
      this.present.delete(name);
      this.copies.delete(name);
      await rm(keptPath(this.options.folder, name), { force: true });
    }
    return whole;
  }

  private async removeUnnamed({ manifest, tables, logs }: Snapshot): Promise<void> {
    const named = new Set(['CURRENT', manifest, ...tables.keys(), ...logs]);
    for (const name of await this.staged.list()) {
      if (!named.has(name)) await rm(keptPath(this.options.folder, name), { force: true });
    }
  }

  /** @throws AppError `state.conflict` */
  private async requireRoom({ tables }: Snapshot): Promise<void> {
    const { before, folder, maxBytes, storePath } = this.options;
    let [all, missing] = [0, 0];
    for (const [name, { bytes }] of tables) {
      all += bytes ?? 0;
      if (!this.present.has(name) && before?.copies.has(name) !== true) missing += bytes ?? 0;
    }
    const because = this.unlinked === null ? '' : `; ${this.unlinked}`;
    if (all > maxBytes) {
      const advice = 'allow more by integrity.snapshots.maxBytes';
      throw new AppError(
        'state.conflict',
        `a copy of ${storePath} takes ${all} bytes, more than the ${maxBytes} allowed: ${advice}${because}`,
      );
    }
    await requireFree(folder, missing, `a copy of ${storePath} takes ${missing} bytes more`, because);
  }
}

/** As much again is to be left. @throws AppError `state.conflict` */
async function requireFree(folder: string, bytes: number, what: string, because = ''): Promise<void> {
  const disk = await statfs(folder);
  const free = disk.bavail * disk.bsize;
  if (free >= 2 * bytes) return;
  throw new AppError('state.conflict', `${what}, and the disk has ${free}${because}`);
}

function logNumber(name: string): number | undefined {
  const digits = /^(\d{1,15})\.log$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** False when the copy made before is gone. */
async function linkedAgain({ folder: from }: KeptSnapshot, name: string, folder: string): Promise<boolean> {
  try {
    await link(keptPath(from, name), keptPath(folder, name));
    return true;
  } catch {
    return false;
  }
}

/** What is in the way of a link, and what takes it away. */
function whyUnlinked(errno: string, storePath: string, folder: string): string {
  if (errno === 'EXDEV') {
    return `${storePath} and ${folder} are on different file systems or mounts (EXDEV): put dataDir on the store's, without a mount between`;
  }
  if (errno === 'EPERM' || errno === 'EACCES') {
    return `the kernel lets this user make no links to files of ${storePath} (${errno}; see fs.protected_hardlinks): run the agent as their owner, or let it write them`;
  }
  return `${storePath} can have no hard links in ${folder} (${errno})`;
}

function changed(storePath: string): AppError {
  return new AppError('store.corrupt', `sigil store ${storePath} has a CURRENT or MANIFEST that cannot be used`);
}
