import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseCheckpoint } from '../../../common/checkpoint.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { parseNote } from '../../../common/note.ts';
import { readOutline } from '../author-keys.ts';
import type { PublishedCheckpoint } from '../publisher.ts';
import { type ExportSource, exportLines, type Prover, type StoredLeaf } from './export.ts';
import type { MirrorBranch, TreeItem } from './mirror-git.ts';

/*
 * The ledger as files in a git repository, one commit per batch of entries. Where to go on is read from the repository each
 * time, so that a crash at any moment repeats nothing and leaves nothing out.
 */

export interface MirrorNeeds {
  readonly branch: MirrorBranch;
  readonly source: ExportSource;
  readonly prover: Prover;
  /** The checkpoint to write the entries from `from` on with: beyond them, or undefined while there is none to wait for. */
  readonly checkpointBeyond: (from: number) => Promise<PublishedCheckpoint | undefined>;
  /** Holds a checkpoint of the mirror against the ledger. @throws AppError when it is not part of it. */
  readonly confront: (note: string) => Promise<void>;
  /** Undefined while there is no policy to be had. */
  readonly policy: () => Promise<string | undefined>;
  /** Writes a new file whole or not at all. */
  readonly writeFile: (path: string, pieces: AsyncIterable<string>) => Promise<void>;
  readonly maxBatchEntries?: number;
}

export interface MirroredBatch {
  readonly commit: string;
  readonly from: number;
  /** Index after the last entry. */
  readonly to: number;
  /** As large as a batch gets, so that there may be more. */
  readonly full: boolean;
  /** Paths that the commit wrote. */
  readonly files: readonly string[];
}

/** All of it, for a work tree that a crash left behind the branch. */
export const mirroredPaths = ['ledger', 'checkpoint.txt'];

const folder = 'ledger';
const policyFile = 'policy.txt';
const checkpointFile = 'checkpoint.txt';
/** Where an index goes by threes, so that no folder ever has more than a thousand names, as in C2SP tlog-tiles. */
const digits = 12;
const fileName = /^([0-9]{12})-([0-9]{12})\.jsonl$/;

/**
 * Commits the next entries that the repository does not have; undefined when there are none.
 * @throws AppError `ledger.tampered` or `state.conflict` when the repository holds another history than the ledger, which is
 *   for people to look into: nothing is written then.
 */
export async function mirrorBatch(needs: MirrorNeeds): Promise<MirroredBatch | undefined> {
  const { branch, maxBatchEntries = limits.maxMirrorBatchEntries } = needs;
  const head = await branch.head();
  const from = head === undefined ? 0 : await nextIndex(branch, head);
  if (head !== undefined && from > 0) await requireSameHistory(needs, head, from);
  const checkpoint = await needs.checkpointBeyond(from);
  if (checkpoint === undefined || checkpoint.size <= from) return undefined;
  const to = Math.min(checkpoint.size, from + maxBatchEntries);
  const counts = { kinds: new Map<string, number>(), authors: new Map<string, number>() };
  const lines = exportLines({ ...needs, checkpoint, from, to, onEntry: (leaf) => count(leaf, counts) });
  const file = await storeLines(needs, lines);
  const policy = await needs.policy();
  const path = pathOf(from, to);
  const files = new Map([
    [path, file],
    [checkpointFile, await branch.storeText(checkpoint.note)],
    ...(policy === undefined ? [] : [[policyFile, await branch.storeText(policy)] as const]),
  ]);
  const tree = await treeWith(branch, head, '', files);
  const commit = await branch.commit({ tree, parent: head, message: messageOf({ from, to }, checkpoint, counts) });
  await branch.advance(head, commit);
  return { commit, from, to, full: to - from === maxBatchEntries, files: [...files.keys()] };
}

/** Where the mirror ends: the last file says it in its name. */
async function nextIndex(branch: MirrorBranch, head: string): Promise<number> {
  let path = folder;
  for (let depth = 0; depth <= digits / 3; depth++) {
    const items = await branch.list(head, path);
    const last = items.filter(isOurs).sort((a, b) => (a.name < b.name ? 1 : -1))[0];
    if (last === undefined) break;
    const [, , end] = fileName.exec(last.name) ?? [];
    if (end !== undefined) return Number(end) + 1;
    path = `${path}/${last.name}`;
  }
  return 0;
}

function isOurs({ type, name }: TreeItem): boolean {
  return type === 'tree' ? /^[0-9]{3}$/.test(name) : fileName.test(name);
}

async function requireSameHistory({ branch, confront }: MirrorNeeds, head: string, from: number): Promise<void> {
  const note = await branch.read(head, checkpointFile);
  if (note === undefined) throw foreign(`has entries, but no ${checkpointFile} to tell whose`);
  // Only once it is known to be ours is it looked at.
  await confront(note);
  const { size } = parseCheckpoint(parseNote(note).text);
  if (size < from) throw foreign(`has entries up to ${from - 1}, but a checkpoint of only ${size}`);
}

function foreign(what: string): AppError {
  return new AppError('state.conflict', `the repository of ledger.mirror ${what}; it is left alone`);
}

/** Through a file, since a batch may be larger than memory should hold; git reads it from there. */
async function storeLines({ branch, writeFile }: MirrorNeeds, lines: AsyncIterable<string>): Promise<string> {
  const path = join(branch.scratch, `sigilwatch-${process.pid}.jsonl`);
  await rm(path, { force: true });
  try {
    await writeFile(path, lines);
    return await branch.storeFile(path);
  } finally {
    await rm(path, { force: true });
  }
}

/** `ledger/000/003/400/000000003400-000000003519.jsonl` */
function pathOf(from: number, to: number): string {
  const padded = (index: number) => String(index).padStart(digits, '0');
  const shelves = padded(from)
    .slice(0, -3)
    .replace(/[0-9]{3}/g, '$&/');
  return `${folder}/${shelves}${padded(from)}-${padded(to - 1)}.jsonl`;
}

/** The tree of `path` with `files` (paths from the top, and ids) put in; everything else in it stays. */
async function treeWith(
  branch: MirrorBranch,
  head: string | undefined,
  path: string,
  files: ReadonlyMap<string, string>,
): Promise<string> {
  const items = new Map((head === undefined ? [] : await branch.list(head, path)).map((item) => [item.name, item]));
  const prefix = path === '' ? '' : `${path}/`;
  for (const [file, id] of files) {
    if (!file.startsWith(prefix)) continue;
    const [name = '', ...below] = file.slice(prefix.length).split('/');
    const item =
      below.length === 0
        ? { mode: '100644', type: 'blob', id, name }
        : { mode: '040000', type: 'tree', id: await treeWith(branch, head, `${prefix}${name}`, files), name };
    items.set(name, item);
  }
  return branch.storeTree([...items.values()]);
}

interface Counts {
  readonly kinds: Map<string, number>;
  readonly authors: Map<string, number>;
}

function count({ body }: StoredLeaf, { kinds, authors }: Counts): void {
  const outline = body && readOutline(body.bytes.toString('utf8'));
  for (const [map, name] of [
    [kinds, outline?.kind ?? 'without body'],
    [authors, outline?.author ?? 'without body'],
  ] as const) {
    map.set(name, (map.get(name) ?? 0) + 1);
  }
}

function messageOf({ from, to }: { from: number; to: number }, { size, root }: PublishedCheckpoint, counts: Counts) {
  const listed = (map: ReadonlyMap<string, number>) => {
    return [...map].sort(([, a], [, b]) => b - a).map(([name, many]) => `${many} ${name}`);
  };
  const span = to - from === 1 ? `1 entry ${from}` : `${to - from} entries ${from}-${to - 1}`;
  return [
    `ledger: ${span}`,
    '',
    `kinds: ${listed(counts.kinds).join(', ')}`,
    `authors: ${listed(counts.authors).join(', ')}`,
    `tree size: ${size}`,
    `root: ${root.toString('base64')}`,
    '',
  ].join('\n');
}
