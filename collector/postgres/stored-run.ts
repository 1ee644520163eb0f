import { limits } from '../../common/limits.ts';
import type { StoredBody, StoredEntry } from '../ledger/verify/source.ts';
import { kindsInRuns, partitionStep } from './entry-runs.ts';
import { ArrayReader, int8At, type Names, type RecordReader, timeMicrosAt, timeMsAt, types } from './packed-values.ts';

/*
 * A run as it lies in its two rows (`0027_entry_runs.sql`), taken apart into its entries. Whoever owns the database may have dropped
 * every check: what the rows of a run have to be like is looked at here again, since all that reads them relies on it.
 */

const hashBytes = 32;
const hexChars = 2;
/** What stands in a leaf beside the canonical bytes: a zero byte and the signature. */
const aroundBytes = 1 + 64;
/** In the place of a body that the row does not tell apart from the others. */
const nowhere: StoredBody = { leaf: Buffer.alloc(0), length: 0 };

/** What verification reads of the two rows, in this order. `r` is of `entry_runs`, `b` of `run_bodies`; of huge values nothing. */
export const runColumns = `r.index, r.width, left(r.author, 200), r.seq, left(r.kind, 200),
  case when cardinality(r.times) <= ${limits.runMaxEntries} then r.times end,
  case when octet_length(r.entry_hashes) <= ${limits.runMaxEntries * hashBytes} then r.entry_hashes end,
  case when octet_length(r.leaf_hashes) <= ${limits.runMaxEntries * hashBytes} then r.leaf_hashes end,
  b.index, case when cardinality(b.ends) <= ${limits.runMaxEntries} then b.ends end,
  case when octet_length(b.leaves) <= ${limits.maxEntryBytes + aroundBytes} then b.leaves end`;

/** The bodies' row of a run; undefined for what no such row of ours has. */
interface Bodies {
  readonly ends: ArrayReader | undefined;
  readonly leaves: Buffer | undefined;
}

/** The two rows of a run. What stands in them is anything, but as many of everything as there are entries. */
export interface StoredRun {
  readonly index: number;
  readonly width: number;
  readonly author: string;
  readonly seq: number;
  readonly kind: string;
  readonly times: ArrayReader;
  readonly entryHashes: Buffer;
  readonly leafHashes: Buffer;
  readonly bodies: Bodies | undefined;
}

/** What two rows turned out to be: a run, a row that is none of ours, or bodies that belong to no run. */
export type StoredRows =
  | { readonly is: 'run'; readonly run: StoredRun }
  | { readonly is: 'misfit'; readonly index: number; readonly misfit: string }
  | { readonly is: 'bodies'; readonly index: number };

/** Reads {@link runColumns}. */
export function readRun(record: RecordReader, names: Names): StoredRows {
  const index = record.next(types.int8);
  const width = record.next(types.int2);
  const [author, seq, kind] = [record.next(types.text), record.next(types.int8), record.next(types.text)];
  const times = ArrayReader.over(record.next(types.timestamptzs), types.timestamptz, 8);
  const [entryHashes, leafHashes] = [record.next(types.bytea), record.next(types.bytea)];
  const bodiesIndex = record.next(types.int8);
  const ends = ArrayReader.over(record.next(types.int4s), types.int4, 4);
  const leaves = record.next(types.bytea);
  if (index === undefined)
    return { is: 'bodies', index: bodiesIndex === undefined ? Number.NaN : int8At(bodiesIndex, 0) };
  const misfit = (what: string) => ({ is: 'misfit', index: int8At(index, 0), misfit: what }) as const;
  if (width === undefined || author === undefined || seq === undefined || kind === undefined)
    return misfit('lacks a value');
  if (times === undefined) return misfit('has no list of times');
  if (entryHashes === undefined || leafHashes === undefined) return misfit('has no hashes, or too many');
  const run: StoredRun = {
    index: int8At(index, 0),
    width: width.readInt16BE(0),
    author: names.read(author, 0, author.length),
    seq: int8At(seq, 0),
    kind: names.read(kind, 0, kind.length),
    times,
    entryHashes,
    leafHashes,
    bodies: bodiesIndex && { ends, leaves },
  };
  const wrong = misfitOf(run);
  return wrong === undefined ? { is: 'run', run } : misfit(wrong);
}

function misfitOf({ index, width, kind, times, entryHashes, leafHashes }: StoredRun): string | undefined {
  if (width < 1 || width > limits.runMaxEntries) return `is of ${width} entries`;
  if (times.length !== width) return `is of ${width} entries and has ${times.length} times`;
  for (const hashes of [entryHashes, leafHashes]) {
    if (hashes.length !== width * hashBytes) return `is of ${width} entries and has ${hashes.length} bytes of hashes`;
  }
  if (width === 1) return undefined;
  const kinds: ReadonlySet<string> = kindsInRuns;
  if (!kinds.has(kind)) return `is of ${width} entries of a kind that stands alone`;
  const partition = Math.floor(index / partitionStep);
  return Math.floor((index + width - 1) / partitionStep) === partition ? undefined : 'lies in two partitions of bodies';
}

/** Adds the entries of the run from index `from` up to but not including `to`. */
export function addEntries(entries: StoredEntry[], run: StoredRun, from: number, to: number): void {
  const { index, author, seq, kind, times, leafHashes } = run;
  const entryHashes = run.entryHashes.toString('hex');
  const firstMs = timeMsAt(times.bytes, times.place(0));
  let lastMs = firstMs;
  for (let n = 0; n < times.length; n++) {
    const at = times.place(n);
    const atMs = timeMsAt(times.bytes, at);
    const outOfTime = atMs < lastMs || atMs > firstMs + limits.runMaxMs;
    lastMs = atMs;
    if (index + n < from || index + n >= to) continue;
    entries.push({
      index: index + n,
      author,
      seq: seq + n,
      kind,
      atMs,
      atMicros: timeMicrosAt(times.bytes, at),
      entryHash: entryHashes.slice(n * hashBytes * hexChars, (n + 1) * hashBytes * hexChars),
      leafHash: leafHashes.toString('latin1', n * hashBytes, (n + 1) * hashBytes),
      body: run.bodies && bodyOf(run.bodies, n, times.length),
      misfit: undefined,
      outOfTime,
    });
  }
}

/** The leaves lie one behind the other, and nothing lies behind the last one. */
function bodyOf({ ends, leaves }: Bodies, n: number, width: number): StoredBody {
  if (leaves === undefined || ends?.length !== width) return nowhere;
  const start = n === 0 ? 0 : ends.bytes.readInt32BE(ends.place(n - 1));
  const end = ends.bytes.readInt32BE(ends.place(n));
  const length = end - start - aroundBytes;
  const isThere = length >= 0 && start >= 0 && (n === width - 1 ? end === leaves.length : end <= leaves.length);
  return isThere ? { leaf: leaves.subarray(start, end), length } : nowhere;
}

/** The entry where a row begins that is not one of ours: nothing else about it can be said. */
export function misfitAt(index: number, misfit: string | undefined): StoredEntry {
  const nothing = { author: '', seq: Number.NaN, kind: '', atMs: Number.NaN, atMicros: 0, entryHash: '', leafHash: '' };
  return { index, ...nothing, body: undefined, misfit, outOfTime: false };
}
