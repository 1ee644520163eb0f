import type { Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { StagedEntry } from '../ledger/store.ts';
import { CopyRows } from './copy.ts';
import type { Step } from './pipeline.ts';

/*
 * How entries are laid into rows (`0027_entry_runs.sql`): consecutive ones of one author and one kind stand in one row, a run,
 * since what a row costs the server is most of what an entry would.
 */

/** What nodes say all the time. Entries of other kinds are looked for by kind, and have rows of their own. */
export const kindsInRuns: ReadonlySet<Kind> = new Set<Kind>(['report', 'observed', 'sigil.scan']);
/** No run lies in two partitions of bodies, which end at multiples of this. */
export const partitionStep = 65_536;
/** What a row is expected to need at most in COPY's format, beside what it has for each entry. */
const rowBytes = 256;
/** The same for each entry, beside its leaf: two hashes, a time, an offset, and the lengths of the latter. */
const entryBytes = 96;

/** Consecutive entries of one author and one kind; at least one. */
interface Run {
  readonly first: StagedEntry;
  readonly entries: readonly StagedEntry[];
  /** What each entry says of its time, Unix milliseconds. */
  readonly timesMs: readonly number[];
}

/** Entries in the order of their indexes, in the rows they are to stand in. */
function runsOf(entries: readonly StagedEntry[]): Run[] {
  const runs: Run[] = [];
  let run: { first: StagedEntry; entries: StagedEntry[]; timesMs: number[] } | undefined;
  let roomBytes = 0;
  for (const entry of entries) {
    const atMs = Date.parse(entry.entry.at);
    roomBytes -= entry.leaf.length;
    if (run !== undefined && roomBytes >= 0 && goesOn(run, entry, atMs)) {
      run.entries.push(entry);
      run.timesMs.push(atMs);
      continue;
    }
    run = { first: entry, entries: [entry], timesMs: [atMs] };
    roomBytes = limits.runMaxBytes - entry.leaf.length;
    runs.push(run);
  }
  return runs;
}

function goesOn({ first, entries, timesMs }: Run, { index, entry }: StagedEntry, atMs: number): boolean {
  const [firstMs = atMs, lastMs = atMs] = [timesMs[0], timesMs.at(-1)];
  return (
    entries.length < limits.runMaxEntries &&
    entry.author === first.entry.author &&
    entry.kind === first.entry.kind &&
    kindsInRuns.has(entry.kind) &&
    index % partitionStep !== 0 &&
    atMs >= lastMs &&
    atMs <= firstMs + limits.runMaxMs
  );
}

/** What adds entries, in the order of their indexes, to the ledger's tables. */
export function copyInRuns(entries: readonly StagedEntry[]): Step[] {
  const runs = runsOf(entries);
  return [copyEntries(runs), copyBodies(runs)];
}

function copyEntries(runs: readonly Run[]): Step {
  const rows = new CopyRows(runs.reduce((bytes, { entries }) => bytes + rowBytes + entries.length * entryBytes, 0));
  for (const { first, entries, timesMs } of runs) {
    rows.row(8);
    rows.bigint(first.index);
    rows.smallint(entries.length);
    rows.text(first.entry.author);
    rows.bigint(first.entry.seq);
    rows.text(first.entry.kind);
    rows.timestamptzArray(timesMs);
    rows.hex(entries.map(({ hash }) => hash).join(''));
    rows.concat(entries.map(({ leafHash }) => leafHash));
  }
  const columns = 'index, width, author, seq, kind, times, entry_hashes, leaf_hashes';
  return { text: `copy entry_runs (${columns}) from stdin (format binary)`, copy: rows.messages() };
}

function copyBodies(runs: readonly Run[]): Step {
  const rows = new CopyRows(runs.reduce((bytes, { entries }) => bytes + rowBytes + leafBytes(entries), 0));
  for (const { first, entries } of runs) {
    let end = 0;
    const ends = entries.map(({ leaf }) => {
      end += leaf.length;
      return end;
    });
    rows.row(3);
    rows.bigint(first.index);
    rows.intArray(ends);
    rows.concat(entries.map(({ leaf }) => leaf));
  }
  return { text: 'copy run_bodies (index, ends, leaves) from stdin (format binary)', copy: rows.messages() };
}

function leafBytes(entries: readonly StagedEntry[]): number {
  return entries.reduce((bytes, { leaf }) => bytes + leaf.length + entryBytes, 0);
}
