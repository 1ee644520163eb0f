import { cp, lstat, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { rfc3339 } from '../../common/clock.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/** Where the parts of an outbox live. All are siblings of the LevelDB folder, so moving that aside moves nothing else. */
export interface OutboxPaths {
  /** The LevelDB folder in use. */
  readonly dir: string;
  /** A new outbox being written; worth nothing until it is renamed to `next`. */
  readonly building: string;
  /** A complete new outbox that only needs its name. */
  readonly next: string;
  /** Copy of a damaged outbox that LevelDB's repair may change. */
  readonly repair: string;
  /** Entries taken from the intact blocks of damaged tables. */
  readonly loose: string;
  readonly reserve: string;
  readonly mark: string;
}

export function outboxPaths(dir: string): OutboxPaths {
  return {
    dir,
    building: `${dir}.building`,
    next: `${dir}.next`,
    repair: `${dir}.repair`,
    loose: `${dir}.loose`,
    reserve: `${dir}.reserve`,
    mark: `${dir}.mark`,
  };
}

export type FolderState = { readonly there: false } | { readonly there: true; readonly inode: number };

/** Whether there is anything in the place of the outbox; an empty folder is nothing. */
export async function lookAt(dir: string): Promise<FolderState> {
  try {
    const found = await lstat(dir);
    const empty = found.isDirectory() && (await readdir(dir)).length === 0;
    return empty ? { there: false } : { there: true, inode: found.ino };
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return { there: false };
    throw cause;
  }
}

/** Removes what an interrupted start left, after finishing an installation that lacked only its last rename. */
export async function finishInstallation(paths: OutboxPaths): Promise<void> {
  await remove(paths.building);
  await remove(paths.repair);
  await remove(paths.loose);
  const installed = (await lookAt(paths.dir)).there;
  const ready = (await lookAt(paths.next)).there;
  if (ready && !installed) await renameDurably(paths.next, paths.dir);
  // Crashed before the damaged outbox was moved aside: it is still there and is salvaged again.
  else await remove(paths.next);
}

/**
 * Puts a finished new outbox in the place of the old one, if any, which becomes `quarantine`. A crash before the first
 * rename leaves the old outbox, one after it is completed by {@link finishInstallation}.
 */
export async function install(paths: OutboxPaths, old: FolderState, quarantine: string): Promise<void> {
  await renameDurably(paths.building, paths.next);
  if (old.there) await moveAside(paths.dir, old.inode, quarantine);
  await renameDurably(paths.next, paths.dir);
}

async function moveAside(dir: string, inode: number, quarantine: string): Promise<void> {
  const now = await lookAt(dir);
  if (!now.there || now.inode !== inode) {
    throw new AppError('state.conflict', `${dir} was replaced by another agent while this one was recovering it`, {
      details: { dir },
    });
  }
  await renameDurably(dir, quarantine);
}

/** A free name for a damaged outbox: `outbox.corrupt-20260102T030405.678Z`. */
export async function quarantinePath(dir: string, now: number): Promise<string> {
  for (let at = now; ; at += 1) {
    const path = `${dir}.corrupt-${rfc3339(at).replace(/[-:]/g, '')}`;
    if (!(await lookAt(path)).there) return path;
  }
}

/** Keeps the newest quarantined outboxes. */
export async function pruneQuarantines(dir: string): Promise<void> {
  for (const path of (await quarantines(dir)).slice(0, -limits.outboxQuarantinesKept)) await remove(path);
}

/** Damaged outboxes that were moved aside and are still there, oldest first: their names sort by time. */
export async function quarantines(dir: string): Promise<readonly string[]> {
  const parent = dirname(dir);
  const prefix = `${basename(dir)}.corrupt-`;
  const found = (await readdir(parent)).filter((name) => name.startsWith(prefix)).sort();
  return found.map((name) => join(parent, name));
}

export async function copyFolder(from: string, to: string): Promise<void> {
  await remove(to);
  await cp(from, to, { recursive: true });
}

export function remove(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true });
}

async function renameDurably(from: string, to: string): Promise<void> {
  await rename(from, to);
  const parent = await open(dirname(to), 'r');
  try {
    await parent.sync();
  } finally {
    await parent.close();
  }
}
