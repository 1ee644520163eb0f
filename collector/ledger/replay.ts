import type { KeyObject } from 'node:crypto';
import { entryHash, parseLogged } from '../../common/entry.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { leafHash } from '../../common/merkle.ts';
import { newestErasureTo, type StoredStatement } from './erasure/record.ts';
import type { StorableEntry } from './store.ts';

/*
 * Projections derived again from the entries, by the very code and statements that derived the stored ones, and compared
 * with them row by row.
 */

/** An entry as it is read back: what was signed, and the leaf hash that was logged for it. */
export interface StoredBody {
  readonly index: number;
  readonly leafHash: Buffer;
  /** Undefined where the body was dropped. */
  readonly body: { readonly bytes: Buffer; readonly signature: Buffer } | undefined;
}

/** What is kept of the projections as of an erasure: everything later is rebuilt from there. */
export interface StoredBase {
  /** Tree size it holds for; entries from this index on still have their bodies. */
  readonly boundary: number;
  /** Hex SHA-256 of its rows as they are stored now. */
  readonly digest: string;
}

/** One row that is not what the entries say. Values are as PostgreSQL writes them, null for SQL NULL. */
export interface RowDifference {
  readonly problem: 'missing' | 'extra' | 'changed';
  readonly key: Readonly<Record<string, string | null>>;
  /** The entry that the right value comes from, or a row that should not be there claims to; null where none is named. */
  readonly index: number | null;
  /** Empty unless `changed`. */
  readonly columns: readonly {
    readonly column: string;
    readonly stored: string | null;
    readonly rebuilt: string | null;
  }[];
}

export interface TableComparison {
  readonly table: string;
  readonly stored: number;
  readonly rebuilt: number;
  readonly differing: number;
  /** The first differing rows by key; not all when there are many. */
  readonly rows: readonly RowDifference[];
}

/**
 * One transaction in which every projection has an empty double that the usual statements write to instead. Nothing of it
 * stays.
 */
export interface ReplaySpace {
  /** The tree size as of now: for checks that of the one moment they see, for repairs it grows. */
  size(): Promise<number>;
  /** Entries with indexes from `from` up to but not including `to`, in order. */
  entries(from: number, to: number): Promise<readonly StoredBody[]>;
  /** Signed `ledger.erased` entries, in order. */
  erasures(): Promise<readonly StoredStatement[]>;
  base(): Promise<StoredBase | undefined>;
  /** Fills the doubles with the rows of the base. */
  loadBase(boundary: number): Promise<void>;
  /** Projects the next entries into the doubles. */
  apply(entries: readonly StorableEntry[]): Promise<void>;
  compare(): Promise<readonly TableComparison[]>;
}

/** A space that sees what is appended meanwhile, until it forbids it. */
export interface RepairSpace extends ReplaySpace {
  /** From here to the end of the transaction nothing is appended. */
  lock(): Promise<void>;
  /** Makes the stored rows equal to the rebuilt ones. */
  replace(): Promise<void>;
}

/** Opens spaces; `repair` keeps what its space replaced when `work` resolves. One repair or erasure at a time. */
export interface Replays {
  check<T>(work: (space: ReplaySpace) => Promise<T>): Promise<T>;
  repair<T>(work: (space: RepairSpace) => Promise<T>): Promise<T>;
}

/** Told after every batch: entries done and to do. What it throws ends the replay. */
export type ReplayProgress = (done: number, of: number) => void;

export interface ReplayNeeds {
  /** The collector's: what the base is measured by is signed with it. */
  readonly collectorKey: KeyObject;
  readonly onProgress?: ReplayProgress | undefined;
}

export interface ReplayReport {
  readonly size: number;
  /** Where rebuilding began: 0, or the boundary of the last erasure. */
  readonly from: number;
  readonly tables: readonly TableComparison[];
}

const batchEntries = 1_000;
/** A repair catches up without stopping the appends until no more than this is left, or it does not come nearer. */
const lastStretchEntries = 2_000;
const maxCatchUps = 8;

/**
 * Rebuilds all projections and compares them with the stored ones, as of one moment.
 * @throws AppError `ledger.tampered` when an entry cannot be read or the base is not the signed one.
 */
export function checkProjections(replays: Pick<Replays, 'check'>, needs: ReplayNeeds): Promise<ReplayReport> {
  return replays.check(async (space) => {
    const size = await space.size();
    const from = await rebuildTo(space, size, needs);
    return { size, from, tables: await space.compare() };
  });
}

/**
 * Rebuilds all projections and puts the rebuilt rows in the place of stored ones that differ. The report says what was
 * different before. Appends wait only for the last stretch.
 * @throws as {@link checkProjections}; `state.busy` while another repair or an erasure is under way.
 */
export function repairProjections(replays: Replays, needs: ReplayNeeds): Promise<ReplayReport> {
  return replays.repair(async (space) => {
    let reached = await space.size();
    const from = await rebuildTo(space, reached, needs);
    for (let round = 0; round < maxCatchUps; round++) {
      const size = await space.size();
      if (size - reached <= lastStretchEntries) break;
      await replayEntries(space, { from: reached, to: size });
      reached = size;
    }
    await space.lock();
    const size = await space.size();
    await replayEntries(space, { from: reached, to: size });
    const tables = await space.compare();
    if (!matches(tables)) await space.replace();
    return { size, from, tables };
  });
}

/** Whether the stored projections are the rebuilt ones. */
export function matches(tables: readonly TableComparison[]): boolean {
  return tables.every(({ differing }) => differing === 0);
}

/**
 * Fills the doubles with the projections of the first `size` entries.
 * @returns where rebuilding began.
 */
export async function rebuildTo(space: ReplaySpace, size: number, needs: ReplayNeeds): Promise<number> {
  const base = await space.base();
  if (base !== undefined) {
    await requireSigned(base, space, needs.collectorKey);
    await space.loadBase(base.boundary);
  }
  const from = base?.boundary ?? 0;
  if (from > size) {
    throw new AppError('resource.gone', `what the first ${size} entries said was erased up to ${from}`);
  }
  await replayEntries(space, { from, to: size }, needs.onProgress);
  return from;
}

/**
 * The base decides what all later rows are built on, so it counts only as far as a signed entry vouches for it.
 * @throws AppError `ledger.tampered`.
 */
export async function requireSigned(
  base: StoredBase,
  from: Pick<ReplaySpace, 'erasures'>,
  collectorKey: KeyObject,
): Promise<void> {
  const erased = newestErasureTo(await from.erasures(), base.boundary, collectorKey);
  if (erased === undefined) {
    throw new AppError('ledger.tampered', `no signed entry says that anything was erased up to ${base.boundary}`);
  }
  if (erased.base === base.digest) return;
  throw new AppError(
    'ledger.tampered',
    `the projections kept from the erasure up to ${base.boundary} are not those that entry ${erased.index} vouches for`,
    { details: { index: erased.index } },
  );
}

interface Span {
  readonly from: number;
  readonly to: number;
}

async function replayEntries(space: ReplaySpace, { from, to }: Span, onProgress?: ReplayProgress): Promise<void> {
  for (let at = from; at < to; ) {
    const end = Math.min(at + batchEntries, to);
    await space.apply(readable(await space.entries(at, end), { from: at, to: end }));
    at = end;
    onProgress?.(at - from, to - from);
  }
}

/** The entries of a span, whole: nothing that is missing or not what was logged gets into a projection. */
function readable(stored: readonly StoredBody[], { from, to }: Span): readonly StorableEntry[] {
  const entries = stored.map((entry, at) => {
    if (entry.index !== from + at) throw unreadable(from + at, 'it is missing');
    return storableEntry(entry);
  });
  if (entries.length < to - from) throw unreadable(from + entries.length, 'it is missing');
  return entries;
}

/** @throws AppError `ledger.tampered` for a body that is missing, not what was logged, or no entry. */
export function storableEntry({ index, leafHash: logged, body }: StoredBody): StorableEntry {
  if (body === undefined) throw unreadable(index, 'its body is missing, and no erasure accounts for that');
  const { bytes, signature } = body;
  if (!leafHash(bytes, signature).equals(logged)) throw unreadable(index, 'its body is not the one that was logged');
  try {
    return { index, entry: parseLogged(bytes), bytes, signature, leafHash: logged, hash: entryHash(bytes) };
  } catch (thrown) {
    throw unreadable(index, toAppError(thrown).message);
  }
}

function unreadable(index: number, why: string): AppError {
  return new AppError(
    'ledger.tampered',
    `entry ${index} cannot be replayed: ${why}; see what "sigilwatch-collector ledger verify" says`,
    { details: { index } },
  );
}
