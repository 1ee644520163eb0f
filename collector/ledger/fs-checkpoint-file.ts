import { randomUUID } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseCheckpoint } from '../../common/checkpoint.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { parseNote } from '../../common/note.ts';
import { replaceFile } from '../data/durable-file.ts';
import type { CheckpointFile, KeptCheckpoint } from './checkpoint-file.ts';

/** A copy as of the last sync, beside the checkpoint: what is read where a power cut has left no whole note under the name itself. */
const syncedSuffix = '.synced';

export function checkpointPath(dataDir: string): string {
  return join(dataDir, 'checkpoint');
}

/** Nothing in it is secret, and whoever keeps copies of it elsewhere should not need the collector's rights. */
const fileMode = 0o644;

/** What a disk writes whole or not at all: a sector. */
const sectorBytes = 512;

/**
 * The {@link CheckpointFile} on a file system: a write is a new file renamed over the old one, so that whoever reads or
 * is killed sees one of them, whole. A note as long as the one that this process has put there is written over it, with one call:
 * most are, and ext4 has a rename over another file wait until the disk is asked for the contents. Synced once a second, not
 * each time: an ack would wait for the disk twice. A power cut may leave the new name without its contents and the old file
 * gone, so the one that was synced last has a name of its own; of a sector it leaves the one note or the other.
 *
 * Reads and writes go to the page cache and take microseconds, which is less than a turn in the thread pool behind the
 * signatures of a busy moment; so they are done at once. Syncing waits for the disk and is not.
 *
 * Two processes that write in the same instant may leave the smaller tree there; whoever wrote the larger one sees that
 * when it syncs and puts it right.
 */
export function fsCheckpointFile(path: string, logger: Logger): CheckpointFile {
  return new FsCheckpointFile(path, logger);
}

class FsCheckpointFile implements CheckpointFile {
  readonly path: string;
  readonly #logger: Logger;
  readonly #temporary: string;
  /** The file that was renamed here, open; nobody else writes into it. */
  #own: { readonly file: number; readonly stamp: string; readonly note: string } | undefined;
  #written: KeptCheckpoint | undefined;
  /** One reader or writer at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  /** Whether a note is kept that a power cut cannot take. */
  #fallsBack = false;

  constructor(path: string, logger: Logger) {
    this.path = path;
    this.#logger = logger;
    this.#temporary = `${path}.${randomUUID()}${temporarySuffix}`;
  }

  read(): Promise<string | undefined> {
    return this.#inTurn(async () => this.#read());
  }

  write(checkpoint: KeptCheckpoint): Promise<void> {
    return this.#inTurn(async () => {
      // Before the first of a data directory there is none to fall back on.
      if (!this.#fallsBack) await this.#keepSynced(checkpoint);
      this.#write(checkpoint);
      this.#syncLater();
    });
  }

  async close(): Promise<void> {
    await this.#inTurn(async () => {
      clearTimeout(this.#timer);
      if (this.#written !== undefined) await this.#sync(this.#written);
      this.#letGo();
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  #read(): string | undefined {
    const found = this.#unlessAbsent(() => statSync(this.path, { bigint: true }));
    if (found === undefined) return undefined;
    if (this.#own?.stamp === stampOf(found)) return this.#own.note;
    if (found.size > limits.maxNoteChars) throw this.#failure('read', `${found.size} bytes are no checkpoint`);
    const text = this.#unlessAbsent(() => readSettled(this.path));
    return text === undefined ? undefined : this.#whole(text);
  }

  /**
   * What some file systems leave of a rename that a power cut came after: a name without its contents, or with some of them. Who
   * takes the name away means it; then nothing stands in for it.
   */
  #whole(text: string): string | undefined {
    if (sizeOf(text) >= 0) return text;
    const synced = this.#unlessAbsent(() => readFileSync(this.path + syncedSuffix, 'utf8'));
    if (sizeOf(synced) >= 0) {
      this.#logger.warn('ledger.checkpoint_file_cut_off', { path: this.path });
      return synced;
    }
    return /^\0*$/.test(text) ? undefined : text;
  }

  #unlessAbsent<T>(look: () => T): T | undefined {
    try {
      return look();
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT') return undefined;
      throw this.#failure('read', errnoOf(thrown) ?? String(thrown), thrown);
    }
  }

  #write(checkpoint: KeptCheckpoint): void {
    try {
      if (!this.#overwritten(checkpoint.note)) this.#replace(checkpoint.note);
    } catch (thrown) {
      removeIfPossible(this.#temporary);
      throw this.#failure('written', errnoOf(thrown) ?? String(thrown), thrown);
    }
    this.#written = checkpoint;
  }

  /** @returns false when it has to be a new file: another one is there, the length differs, or a backup links to this one. */
  #overwritten(note: string): boolean {
    const own = this.#own;
    const bytes = Buffer.from(note);
    if (own === undefined || bytes.length !== Buffer.byteLength(own.note) || bytes.length > sectorBytes) return false;
    const there = statSync(this.path, { bigint: true, throwIfNoEntry: false });
    if (there === undefined || stampOf(there) !== own.stamp || there.nlink !== 1n) return false;
    // Whatever becomes of this, what is there is not known until it is read.
    this.#own = { ...own, stamp: '' };
    if (writeSync(own.file, bytes, 0, bytes.length, 0) !== bytes.length) return false;
    this.#own = { file: own.file, stamp: stampOf(fstatSync(own.file, { bigint: true })), note };
    return true;
  }

  #replace(note: string): void {
    this.#letGo();
    const file = openSync(this.#temporary, 'w', fileMode);
    try {
      writeFileSync(file, note);
      renameSync(this.#temporary, this.path);
      this.#own = { file, stamp: stampOf(fstatSync(file, { bigint: true })), note };
    } finally {
      if (this.#own === undefined) closeSync(file);
    }
  }

  #letGo(): void {
    if (this.#own !== undefined) closeSync(this.#own.file);
    this.#own = undefined;
  }

  async #keepSynced({ note }: KeptCheckpoint): Promise<void> {
    try {
      await replaceFile(this.path + syncedSuffix, note, fileMode);
      this.#fallsBack = true;
    } catch (thrown) {
      throw this.#failure('written', errnoOf(thrown) ?? String(thrown), thrown);
    }
  }

  #syncLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#inTurn(async () => this.#written && this.#sync(this.#written)).catch((error: unknown) =>
        this.#logger.error('ledger.checkpoint_file_failed', { path: this.path, error }),
      );
    }, limits.checkpointFileSyncMs).unref();
  }

  async #sync(written: KeptCheckpoint): Promise<void> {
    if (sizeOf(this.#read()) < written.size) this.#write(written);
    const file = await open(this.path, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
    // The folder is synced with it.
    await this.#keepSynced(written);
  }

  #failure(done: string, why: string, cause?: unknown): AppError {
    const message = `the checkpoint file ${this.path} cannot be ${done}: ${why}`;
    const details = { path: this.path };
    return new AppError('ledger.checkpoint_file', message, { cause, details, retryable: done === 'written' });
  }
}

/** What is left of it is tidied away later. */
function removeIfPossible(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // What kept it from being written is told.
  }
}

const temporarySuffix = '.tmp';

/** Removes what killed processes left of writes they had begun. */
export async function tidyCheckpointFiles(path: string, olderThanMs: number): Promise<void> {
  const folder = dirname(path);
  const prefix = `${basename(path)}.`;
  const names = (await readdir(folder)).filter((name) => name.startsWith(prefix) && name.endsWith(temporarySuffix));
  for (const name of names) {
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (found !== undefined && found.mtimeMs < olderThanMs) await rm(join(folder, name), { force: true });
  }
}

/** Another process may write over it just then, and a read may be of both its notes. */
function readSettled(path: string): string {
  let text = readFileSync(path, 'utf8');
  for (let again = readFileSync(path, 'utf8'); again !== text; again = readFileSync(path, 'utf8')) text = again;
  return text;
}

/** Tells one file under the same name from another, and whether somebody else has written into it; a rename leaves it as it is. */
function stampOf({ ino, mtimeNs, size }: BigIntStats): string {
  return `${ino}/${mtimeNs}/${size}`;
}

/** Tree size of the note, which nobody has verified; -1 for what is none. */
function sizeOf(note: string | undefined): number {
  if (note === undefined) return -1;
  try {
    return parseCheckpoint(parseNote(note).text).size;
  } catch {
    return -1;
  }
}
