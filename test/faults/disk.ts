import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Random } from '../e2e/random.ts';
import type { Step } from './journal.ts';

/**
 * A disk with a cache, as far as POSIX promises anything: what was written is safe after a sync of the file, and a name after a
 * sync of its folder. Of all else a power cut leaves any part; names in order, and sectors whole, as every disk does.
 */
export interface Disk {
  /** Follows one step of the program. */
  take(step: Step): void;
  /** What the program sees in a file now; undefined when there is none. */
  read(path: string): Buffer | undefined;
  /** Writes what a power cut at this moment leaves into the empty folder `to`: of what is not synced, what `leaves` says. */
  cut(to: string, leaves: Leaves): void;
}

const sectorBytes = 512;

/** Which of the changes that are not safe are on disk after all, and how much of the last one. */
export interface Leaves {
  /** Of the names of one folder; in order, as journaling file systems keep them. */
  names<T>(pending: readonly T[]): T[];
  /** Of one file; in any order. */
  changes<T>(pending: readonly T[]): T[];
  bytes(written: Buffer): Buffer;
}

/** All that a power cut may take. */
export const nothing: Leaves = { names: () => [], changes: () => [], bytes: (written) => written };

/** Of each folder the first few names, of each file any of its changes; at times the last write was under way. */
export function anythingOf(random: Random): Leaves {
  return {
    names: (pending) => pending.slice(0, random.pick([0, pending.length, random.int(0, pending.length)])),
    changes: (pending) => {
      const way = random.pick(['none', 'all', 'first', 'any'] as const);
      if (way === 'first') return pending.slice(0, random.int(0, pending.length));
      return pending.filter(() => way === 'all' || (way === 'any' && random.chance(0.5)));
    },
    bytes: (written) => (random.chance(0.3) ? written.subarray(0, random.int(0, written.length)) : written),
  };
}

/** What was asked for and is in the cache only, oldest first, after what is safe. Applied twice it does the same as once. */
interface Cached<Safe, Change> {
  safe: Safe;
  pending: Change[];
  /** How many changes became safe so far. */
  settled: number;
}

type FileChange =
  | { readonly type: 'write'; readonly at: number; readonly bytes: Buffer }
  | { readonly type: 'size'; readonly size: number };
type File = Cached<Buffer, FileChange> & { readonly kind: 'file' };

/** `from` is the name that a rename took away. */
interface NameChange {
  readonly name?: string;
  readonly node?: Node;
  readonly from?: string;
}
type Names = Map<string, Node>;
type Folder = Cached<Names, NameChange> & { readonly kind: 'folder'; live: Names };
type Node = File | Folder;

const fileOf = (bytes: Buffer): File => ({ kind: 'file', safe: bytes, pending: [], settled: 0 });
const folderOf = (names: Names): Folder => ({
  kind: 'folder',
  safe: names,
  live: new Map(names),
  pending: [],
  settled: 0,
});

/** A disk that holds what is in the folder `root` (absolute) now, all of it safe; the steps to come are about what is below it. */
export function diskOf(root: string): Disk {
  const top = folderFrom(root);
  const opened = new Map<bigint, Node>();
  const syncing = new Map<string, number>();

  const find = (path: string): Node | undefined => {
    if (path === root) return top;
    const folder = find(dirname(path));
    return folder?.kind === 'folder' ? folder.live.get(basename(path)) : undefined;
  };
  const parentOf = (path: string): Folder | undefined => {
    const found = path === root ? undefined : find(dirname(path));
    return found?.kind === 'folder' ? found : undefined;
  };
  const put = (path: string, node: Node, from?: string): void => {
    const folder = parentOf(path);
    const source = from === undefined ? undefined : parentOf(from);
    if (folder === undefined) return;
    if (from !== undefined && source !== folder && source !== undefined) rename(source, { from: basename(from) });
    rename(folder, { name: basename(path), node, ...(source === folder && from ? { from: basename(from) } : {}) });
  };
  const rename = (folder: Folder, change: NameChange): void => {
    folder.pending.push(change);
    applyName(folder.live, change);
  };
  const open = (step: Extract<Step, { type: 'open' }>): void => {
    let node = find(step.path);
    if (node === undefined) {
      if (!step.creates) return;
      node = fileOf(Buffer.alloc(0));
      put(step.path, node);
    }
    if (step.truncates && node.kind === 'file') node.pending.push({ type: 'size', size: 0 });
    opened.set(step.file, node);
  };
  const take = (step: Step): void => {
    switch (step.type) {
      case 'open':
        open(step);
        return;
      case 'write':
      case 'size': {
        const file = opened.get(step.file);
        if (file?.kind === 'file') file.pending.push(step);
        return;
      }
      case 'sync-begins': {
        const node = opened.get(step.file);
        if (node !== undefined) syncing.set(`${step.file} ${step.thread}`, node.settled + node.pending.length);
        return;
      }
      case 'sync-ends': {
        const node = opened.get(step.file);
        if (node !== undefined) settle(node, syncing.get(`${step.file} ${step.thread}`) ?? 0);
        return;
      }
      case 'folder':
        put(step.path, folderOf(new Map()));
        return;
      case 'remove': {
        const folder = parentOf(step.path);
        if (folder !== undefined) rename(folder, { from: basename(step.path) });
        return;
      }
      case 'link':
      case 'rename': {
        const node = find(step.from);
        // What came by ways that are not followed counts for nothing.
        if (node !== undefined) put(step.path, node, step.type === 'rename' ? step.from : undefined);
      }
    }
  };
  return {
    take,
    read: (path) => {
      const found = find(path);
      return found?.kind === 'file' ? changed(found.safe, found.pending) : undefined;
    },
    cut: (to, leaves) => writeOut(top, to, leaves),
  };
}

function folderFrom(path: string): Folder {
  const names: Names = new Map();
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const below = join(path, entry.name);
    names.set(entry.name, entry.isDirectory() ? folderFrom(below) : fileOf(readFileSync(below)));
  }
  return folderOf(names);
}

/** Everything up to the change with this number is on disk. */
function settle(node: Node, through: number): void {
  const count = Math.max(0, through - node.settled);
  if (node.kind === 'file') node.safe = changed(node.safe, node.pending.splice(0, count));
  else for (const change of node.pending.splice(0, count)) applyName(node.safe, change);
  node.settled += count;
}

function applyName(names: Names, { name, node, from }: NameChange): void {
  if (from !== undefined) names.delete(from);
  if (name !== undefined && node !== undefined) names.set(name, node);
}

/** A file after these changes. Between an old end and what is written beyond it are zeros. */
function changed(bytes: Buffer, changes: readonly FileChange[]): Buffer {
  const ends = changes.map((change) => (change.type === 'size' ? change.size : change.at + change.bytes.length));
  const room = Buffer.alloc(ends.reduce((most, end) => Math.max(most, end), bytes.length));
  bytes.copy(room);
  let size = bytes.length;
  for (const change of changes) {
    if (change.type === 'write') change.bytes.copy(room, change.at);
    else room.fill(0, change.size);
    size = change.type === 'size' ? change.size : Math.max(size, change.at + change.bytes.length);
  }
  return room.subarray(0, size);
}

function writeOut(folder: Folder, to: string, leaves: Leaves): void {
  const names = new Map(folder.safe);
  for (const change of leaves.names(folder.pending)) applyName(names, change);
  for (const [name, node] of names) {
    const path = join(to, name);
    if (node.kind === 'folder') {
      mkdirSync(path, { mode: 0o700 });
      writeOut(node, path, leaves);
    } else {
      writeFileSync(path, leftOf(node, leaves), { mode: 0o600 });
    }
  }
}

function leftOf(file: File, leaves: Leaves): Buffer {
  const kept = leaves.changes(file.pending);
  const last = kept.pop();
  if (last === undefined) return changed(file.safe, kept);
  const before = changed(file.safe, kept);
  return changed(before, [last.type === 'write' ? { ...last, bytes: torn(last, before, leaves) } : last]);
}

/** What a disk has of a write. It puts sectors down whole, so of what was there before it changes whole ones only. */
function torn({ at, bytes }: { readonly at: number; readonly bytes: Buffer }, before: Buffer, leaves: Leaves): Buffer {
  const left = leaves.bytes(bytes);
  const end = at + left.length;
  if (left.length === bytes.length || end >= before.length) return left;
  return left.subarray(0, Math.max(0, end - (end % sectorBytes) - at));
}
