import { limits } from '../../common/limits.ts';
import type { StoredEntry } from '../ledger/verify/source.ts';
import { type Names, RecordReader } from './packed-values.ts';
import { addEntries, misfitAt, readRun, runColumns } from './stored-run.ts';

/*
 * Entries as the database hands them over for verification: the rows of many runs in one piece, each as its columns one behind the
 * other. So a row costs neither a message nor a buffer of its own, and leaves lie as they are hashed.
 */

/** Runs of one piece begin at so many indexes. */
const pieceEntries = 256;
/** More begin there only where rows claim the same places, which shows at the first of them. */
const pieceRuns = pieceEntries + limits.runMaxEntries;

/**
 * Pieces of the rows that have the entries from `from` up to but not including `to`, in order: of runs, with their bodies, and of
 * bodies without a run. Of the tables themselves, since a view or a function may be anything. Both conditions on the index: with
 * one alone, the other table would be read from its beginning. The order is that of the innermost statement, which an aggregate
 * without an order of its own keeps.
 */
export function packedRunsBetween(from: number, to: number): string {
  // The first one may have begun before.
  const first = `case p when ${from} then ${Math.max(from - limits.runMaxEntries + 1, 0)} else p end`;
  const between = `index >= ${first} and index < least(p + ${pieceEntries}, ${to})`;
  return `select (select string_agg(packed, '')
                    from (select record_send(row(${runColumns})) as packed
                            from (select * from entry_runs where ${between}) r
                            full join (select * from run_bodies where ${between}) b on b.index = r.index
                           order by coalesce(r.index, b.index), r.width desc, cardinality(b.ends) desc limit ${pieceRuns}) as rows)
            from generate_series(${from}::bigint, ${to - 1}::bigint, ${pieceEntries}) as p`;
}

/** Reads the pieces of one {@link packedRunsBetween}, in their order. */
export class EntryUnpacker {
  readonly #names: Names;
  readonly #from: number;
  readonly #to: number;
  /** The entries before this were handed over. */
  #next: number;

  /** @param names kept from one reading to the next. */
  constructor(names: Names, from: number, to: number) {
    this.#names = names;
    this.#from = from;
    this.#to = to;
    this.#next = from;
  }

  unpack(piece: Buffer): readonly StoredEntry[] {
    const entries: StoredEntry[] = [];
    for (let at = 0; at < piece.length; ) {
      const record = new RecordReader(piece, at);
      this.#add(entries, record);
      at = record.at;
    }
    return entries;
  }

  #add(entries: StoredEntry[], record: RecordReader): void {
    const rows = readRun(record, this.#names);
    if (rows.is === 'run') {
      addEntries(entries, rows.run, this.#from, this.#to);
      this.#next = Math.max(this.#next, rows.run.index + rows.run.width);
    } else if (rows.is === 'misfit') {
      entries.push(misfitAt(rows.index, rows.misfit));
    } else if (rows.index < this.#next) {
      // A second body of an entry. Where there is no entry, that is what is told, and not that its body is there.
      entries.push(misfitAt(rows.index, undefined));
    }
  }
}
