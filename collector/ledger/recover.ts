import type { KeyObject } from 'node:crypto';
import { parseEntry } from '../../common/entry.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { appendLeaves, type CompactRange, emptyRange, leafHash, rootOf } from '../../common/merkle.ts';
import type { VerifierKey } from '../../common/note.ts';
import { verifyInclusion } from '../../common/proof.ts';
import { type OwnCheckpoint, openOwn, whyNotContained } from './guard.ts';
import { nothingKnown, Plan } from './plan.ts';
import type { LedgerStore } from './store.ts';
import { loadTail, type Tail } from './tail.ts';

/** An entry as an export holds it; nothing about it is believed. */
export interface ExportedEntry {
  readonly index: number;
  /** Null where retention had dropped it. */
  readonly leaf: { readonly bytes: Buffer; readonly signature: Buffer } | null;
  /** What the line says that the leaf hashes to. */
  readonly leafHash?: Buffer | undefined;
  /** That it is in the tree of a signed checkpoint: the hashes of the inclusion proof, the leaf's sibling first. */
  readonly proof: { readonly hashes: readonly Buffer[]; readonly note: string } | undefined;
  /** File and line, for messages. */
  readonly where: string;
}

/** Exported entries in the order of their indexes, those that several files hold told once. Can be read more than once. */
export type ExportedEntries = () => AsyncIterable<ExportedEntry>;

export interface RecoverOptions {
  readonly store: LedgerStore;
  readonly logKey: VerifierKey;
  /** The collector's key, and when the entries are put back, Unix milliseconds: what a batch says. */
  readonly privateKey: KeyObject;
  readonly now: number;
  readonly entries: ExportedEntries;
  /** Every checkpoint signed by the ledger's key that is known: those of the files, of the checkpoint file, of the evidence. */
  readonly known: readonly OwnCheckpoint[];
  readonly onProgress?: (done: number, of: number) => void;
}

export interface RecoverReport {
  /** Tree sizes before and after. */
  readonly from: number;
  readonly to: number;
  readonly root: Buffer;
  /** The signed checkpoint that vouches for what was put back; undefined when nothing was. */
  readonly provenBy: OwnCheckpoint | undefined;
  /** Tree size of the largest checkpoint known; beyond `to` when entries are still missing. */
  readonly published: number;
}

/**
 * Puts lost entries back at exactly their indexes, in one transaction: nothing of it happens unless the whole leads to a
 * checkpoint that the ledger's own key signed. Signs no checkpoint. Nobody else appends meanwhile.
 * @throws AppError `ledger.tampered` when what is in the database is another history than that of the checkpoints, or what
 *   is in the files is; `validation.request` when the files do not begin where the database ends, or nothing vouches for them.
 */
export async function recoverLedger(options: RecoverOptions): Promise<RecoverReport> {
  const start = (await options.store.head())?.range ?? emptyRange;
  // Before the lock is taken: reading long files must not keep a transaction waiting.
  const target = await chooseTarget(options, start);
  return options.store.exclusively(async (store) => {
    const tail = await startingTail(store, options.logKey.name);
    if (!rootOf(tail.head.range).equals(rootOf(start))) throw grown();
    const after = target === undefined ? tail : await putBack(store, tail, { ...options, to: target.size });
    const { range } = after.head;
    // The files were read a second time.
    if (target !== undefined && !rootOf(range).equals(target.root)) throw grown();
    await requireAllContained(options.known, after, store);
    const published = options.known.reduce((most, { size }) => Math.max(most, size), 0);
    return { from: start.size, to: range.size, root: rootOf(range), published, provenBy: target?.checkpoint };
  });
}

async function requireAllContained(known: readonly OwnCheckpoint[], after: Tail, store: LedgerStore): Promise<void> {
  for (const checkpoint of known) {
    if (checkpoint.size > after.head.range.size) continue;
    const why = await whyNotContained(checkpoint, after, store);
    if (why !== undefined) throw anotherHistory(checkpoint, why);
  }
}

/** The end of the log; for a database that lost even its tree head, the beginning of one. */
async function startingTail(store: LedgerStore, origin: string): Promise<Tail> {
  await store.create({ origin, range: emptyRange });
  const head = await store.head();
  if (head === undefined) throw new AppError('ledger.tampered', 'the ledger has no tree head');
  if (head.origin === origin) return loadTail(store, head);
  throw new AppError('state.conflict', `this database holds the ledger ${head.origin}, not ${origin}`);
}

/** How far the ledger can be put back. Verified: `checkpoint` vouches for the tree of `root`. */
interface Target {
  readonly size: number;
  readonly root: Buffer;
  readonly checkpoint: OwnCheckpoint;
}

/** An entry that brings a proof, and the tree before it. */
interface Provable {
  readonly entry: ExportedEntry;
  readonly hash: Buffer;
  readonly before: CompactRange;
}

/**
 * The furthest point that the files reach without a gap and a checkpoint vouches for: its own size, or, since an export may
 * end before its checkpoint does, the last entry with a proof in one. Looks before anything is written.
 */
async function chooseTarget(
  { entries, known, logKey }: RecoverOptions,
  start: CompactRange,
): Promise<Target | undefined> {
  let range = start;
  let best: Target | undefined;
  let first: ExportedEntry | undefined;
  const ends = new Map(known.map((checkpoint) => [checkpoint.size, checkpoint]));
  let provable: Provable | undefined;
  for await (const entry of entries()) {
    if (entry.index < range.size) continue;
    first ??= entry;
    // After a gap only what fills it can be of use.
    if (entry.index > range.size) continue;
    const hash = hashOf(entry);
    if (entry.proof !== undefined) provable = { entry, hash, before: range };
    range = appendLeaves(range, [hash]);
    const checkpoint = ends.get(range.size);
    if (checkpoint === undefined) continue;
    best = { size: range.size, root: rootOf(range), checkpoint };
    if (best.root.equals(checkpoint.root)) continue;
    throw anotherHistory(checkpoint, 'database and files together lead to another root');
  }
  if (first !== undefined && range.size === start.size) throw gapBefore(first, start.size);
  const proven = provable === undefined ? undefined : provenTarget(provable, logKey);
  if (proven !== undefined && proven.size > (best?.size ?? 0)) return proven;
  if (best === undefined && range.size > start.size) throw unvouched(start.size, range.size);
  return best;
}

/** @throws AppError `ledger.tampered` when the proof is not one, or not of what stands before the entry. */
function provenTarget({ entry, hash, before }: Provable, logKey: VerifierKey): Target | undefined {
  if (entry.proof === undefined) return undefined;
  const { hashes: proof, note } = entry.proof;
  const checkpoint = openOwn(note, logKey);
  try {
    verifyInclusion({ leafHash: hash, index: before.size, size: checkpoint.size, root: checkpoint.root, proof });
  } catch (thrown) {
    throw anotherHistory(checkpoint, toAppError(thrown).message);
  }
  // The proof's left-hand hashes are those of the subtrees before the entry (RFC 6962): all that came before is vouched for.
  if (!before.hashes.every((subtree) => proof.some((sibling) => sibling.equals(subtree)))) {
    throw anotherHistory(checkpoint, 'what stands before the last entry is not what was published');
  }
  return { size: before.size + 1, root: rootOf(appendLeaves(before, [hash])), checkpoint };
}

async function putBack(store: LedgerStore, start: Tail, options: RecoverOptions & { to: number }): Promise<Tail> {
  const { entries, to, privateKey, now, onProgress } = options;
  let [tail, authors] = [start, nothingKnown];
  let plan = new Plan(store, tail, authors);
  let staged = 0;
  const commit = async () => {
    const laid = plan.commit({ privateKey, now });
    if (!(await store.commit(laid.commit)))
      throw new AppError('ledger.tampered', 'the stored tree head moved meanwhile');
    [tail, authors, staged] = [laid.tail, plan.authors, 0];
    plan = new Plan(store, tail, authors);
    onProgress?.(tail.head.range.size - start.head.range.size, to - start.head.range.size);
  };
  for await (const entry of entries()) {
    const next = tail.head.range.size + staged;
    if (next === to) break;
    if (entry.index < next) continue;
    await lay(plan, entry, next);
    staged += 1;
    if (staged === limits.recoverBatchEntries) await commit();
  }
  if (staged > 0) await commit();
  return tail;
}

async function lay(plan: Plan, exported: ExportedEntry, index: number): Promise<void> {
  const leaf = leafOf(exported);
  try {
    const [place] = await plan.append([{ ...leaf, entry: parseEntry(leaf.bytes) }]);
    if (place?.index === index) return;
  } catch (thrown) {
    const { code, message, retryable } = toAppError(thrown);
    if (retryable || code === 'internal.error') throw thrown;
    throw wrong(exported, message, thrown);
  }
  throw wrong(exported, 'the database holds this entry at another index');
}

function leafOf({ leaf, index, where }: ExportedEntry): NonNullable<ExportedEntry['leaf']> {
  if (leaf !== null) return leaf;
  throw new AppError(
    'validation.request',
    `${where}: entry ${index} was exported without its body, so it cannot be put back; find an older export`,
  );
}

function hashOf(exported: ExportedEntry): Buffer {
  const { bytes, signature } = leafOf(exported);
  const hash = leafHash(bytes, signature);
  // Proves nothing about the rest, but a line that was changed without thought is named.
  if (exported.leafHash?.equals(hash) === false)
    throw wrong(exported, 'it does not hash to the leaf_hash beside it: the line was changed');
  return hash;
}

function anotherHistory(checkpoint: OwnCheckpoint, why: string): AppError {
  return new AppError(
    'ledger.tampered',
    `nothing was put back: this is not the history of the checkpoint of ${checkpoint.size} entries (${why}). Either the files were changed, ` +
      'or the database has gone its own way since the backup: then put the backup in place once more and keep every collector from it until the entries are back',
    { details: { published: checkpoint.size, why } },
  );
}

function grown(): AppError {
  return new AppError(
    'state.conflict',
    'database or files were changed meanwhile: stop every collector on this database and try again',
  );
}

function gapBefore({ index, where }: ExportedEntry, size: number): AppError {
  return new AppError(
    'validation.request',
    `${where}: the files begin with entry ${index}, but the database ends at ${size}: entries ${size} to ${index - 1} are missing`,
    { details: { size, first: index } },
  );
}

function unvouched(from: number, to: number): AppError {
  return new AppError(
    'validation.request',
    `the files hold entries ${from} to ${to - 1}, but no checkpoint that vouches for them: give the whole export with its last line, or the checkpoint file`,
    { details: { from, to } },
  );
}

function wrong({ index, where }: ExportedEntry, why: string, cause?: unknown): AppError {
  return new AppError('ledger.tampered', `${where}: entry ${index} cannot be put back: ${why}. Nothing was changed`, {
    cause,
    details: { index },
  });
}
