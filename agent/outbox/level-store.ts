import { readdir } from 'node:fs/promises';
import { ClassicLevel } from 'classic-level';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { syncFolder } from '../data/durable-file.ts';

/**
 * Adapter: the one LevelDB folder of the outbox. `ClassicLevel` is what `level` is in Node; only under this name are
 * its compaction and repair declared.
 */
export class OutboxDb extends ClassicLevel<string, Buffer> {
  #safeLogs: ReadonlySet<string> = new Set();

  /**
   * LevelDB syncs what it writes into a new log, but not that log's name: without it a power cut takes the log, and all that
   * was synced into it. The names of tables it syncs itself.
   */
  async syncNames(): Promise<void> {
    const logs = (await readdir(this.location)).filter((name) => name.endsWith('.log'));
    if (logs.every((name) => this.#safeLogs.has(name))) return;
    await syncFolder(this.location);
    this.#safeLogs = new Set(logs);
  }
}

export type BatchOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: string };

export type Page = readonly (readonly [key: string, value: Buffer])[];

/**
 * Small on purpose: two write buffers, the cache and the mapped tables are what the queue costs in memory, whatever its
 * length. LevelDB keeps at least 64 tables mapped, so tables are as small as it allows (1 MiB).
 */
const openOptions = {
  keyEncoding: 'utf8',
  valueEncoding: 'buffer',
  writeBufferSize: 1024 * 1024,
  cacheSize: 256 * 1024,
  maxFileSize: 1024 * 1024,
  maxOpenFiles: 74,
} as const;

/** What a LevelDB error means for the outbox. Only `damaged` lets a folder be moved aside. */
export type Trouble = 'locked' | 'disk-full' | 'environment' | 'damaged';

/**
 * Opens an existing database. Never creates one in place: on a folder that has lost its CURRENT file that would delete
 * the tables in it.
 * @throws AppError `state.conflict` when another process has it open; otherwise the error of `level`, see {@link troubleOf}.
 */
export async function openDb(dir: string): Promise<OutboxDb> {
  const db = new OutboxDb(dir, openOptions);
  try {
    await db.open({ ...openOptions, createIfMissing: false });
  } catch (cause) {
    if (troubleOf(cause) !== 'locked') throw cause;
    throw new AppError(
      'state.conflict',
      `${dir} is in use by another agent; stop it, or give this one its own data folder`,
      {
        details: { dir },
        cause,
      },
    );
  }
  return named(db);
}

/** A new database in a folder that must not exist. */
export async function createDb(dir: string): Promise<OutboxDb> {
  const db = new OutboxDb(dir, openOptions);
  await db.open({ ...openOptions, createIfMissing: true, errorIfExists: true });
  return named(db);
}

/** Opening gives new names, that of the list of tables among them, and removes what they replace. */
async function named(db: OutboxDb): Promise<OutboxDb> {
  try {
    await db.syncNames();
    return db;
  } catch (cause) {
    await db.close();
    throw cause;
  }
}

/** LevelDB's own repair: rebuilds the list of tables from what it finds. Changes the folder: give it a copy. */
export function repairDb(dir: string): Promise<void> {
  return ClassicLevel.repair(dir);
}

/** Returns when the batch is on disk, whole or not at all. */
export async function writeDurably(db: OutboxDb, ops: readonly BatchOp[]): Promise<void> {
  await db.batch([...ops], { sync: true });
  await db.syncNames();
}

/** A range in pages bounded in number and bytes. */
export async function* pages(db: OutboxDb, range: { gte?: string; lt?: string; limit?: number }): AsyncGenerator<Page> {
  const iterator = db.iterator({ ...range, highWaterMarkBytes: limits.outboxPageBytes });
  try {
    while (true) {
      const page = await iterator.nextv(limits.outboxPageEntries);
      if (page.length === 0) return;
      yield page;
    }
  } finally {
    await iterator.close();
  }
}

/** `level` gives the reason as text only, inside the cause of the cause. */
export function troubleOf(thrown: unknown): Trouble {
  const text = messages(thrown);
  if (text.includes('LEVEL_LOCKED')) return 'locked';
  if (/No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/.test(text)) return 'disk-full';
  if (/Permission denied|Read-only file system|Too many open files|Cannot allocate memory/.test(text))
    return 'environment';
  if (/EACCES|EPERM|EROFS|EMFILE|ENFILE/.test(text)) return 'environment';
  return 'damaged';
}

function messages(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const code = 'code' in thrown ? String(thrown.code) : '';
  return `${code} ${thrown.message}\n${thrown.cause === undefined ? '' : messages(thrown.cause)}`;
}

/** A failed write as the caller sees it. Nothing of it stays on disk, so it may be tried again. */
export function writeFailure(cause: unknown, dir: string): AppError {
  if (cause instanceof AppError) return cause;
  if (troubleOf(cause) === 'disk-full') {
    return new AppError('outbox.full', `no space left on the disk of ${dir}; free some, nothing acknowledged is lost`, {
      details: { dir },
      cause,
      retryable: true,
    });
  }
  return new AppError('outbox.write_failed', `cannot write to ${dir}: ${messages(cause).trim()}`, {
    details: { dir },
    cause,
    retryable: true,
  });
}
