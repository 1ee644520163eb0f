import { limits } from '../../common/limits.ts';
import type { StoredBody, StoredEntry } from '../ledger/verify/source.ts';
import { int8At, Names, RecordReader, timeMicrosAt, timeMsAt } from './packed-values.ts';

/*
 * Entries as the database hands them over for verification: many in one piece, each as its columns one behind the other. So a row
 * costs neither a message nor a buffer of its own, and leaf and signature lie as they are hashed.
 */

/** Entries of one piece. */
const pieceEntries = 128;
/** Names of authors and kinds are shorter than this, in bytes. */
const maxNameBytes = 200;
/** Before the names: index, seq, time, and the lengths of author, kind and body. */
const fixedBytes = 36;
const hashBytes = 32;
const signatureBytes = 64;
/** In the place of the author's length: the row has values that no row of ours has, and comes as what `record_send` makes of it. */
const foreign = -1;
/** In front of what is hashed (RFC 6962). */
const leafPrefix = Buffer.of(0);

/**
 * Pieces of the entries from `from` up to but not including `to`, in order. Both conditions on the index: with one alone, the
 * other table would be read from its beginning. The order is that of the innermost statement, which an aggregate without an order of
 * its own keeps.
 */
export function packedEntriesBetween(from: number, to: number): string {
  const between = (index: string) => `${index} >= p and ${index} < least(p + ${pieceEntries}, ${to})`;
  return `select (select string_agg(packed, '')
                    from (select coalesce(case when ${isOrdinary} then ${ordinary} end, ${asForeign}) as packed
                            from entries e left join entry_bodies b on b.index = e.index and ${between('b.index')}
                           where ${between('e.index')}
                           order by e.index) as rows)
            from generate_series(${from}::bigint, ${to - 1}::bigint, ${pieceEntries}) as p`;
}

const isOrdinary = `octet_length(e.author) < ${maxNameBytes} and octet_length(e.kind) < ${maxNameBytes}
  and octet_length(e.entry_hash) = ${hashBytes} and octet_length(e.leaf_hash) = ${hashBytes}
  and (b.index is null or octet_length(b.bytes) <= ${limits.maxEntryBytes} and octet_length(b.signature) = ${signatureBytes})`;

const ordinary = `int8send(e.index) || int8send(e.seq) || timestamptz_send(e.at)
  || int4send(octet_length(e.author)) || int4send(octet_length(e.kind)) || int4send(coalesce(octet_length(b.bytes), -1))
  || textsend(e.author || e.kind) || e.entry_hash || e.leaf_hash
  || coalesce('\\x00'::bytea || b.bytes || b.signature, '')`;

/** Cut to what is certainly too long: whoever owns the database may have put anything there, and much of it. */
const asForeign = `(select int8send(e.index) || int8send(0) || int8send(0) || int4send(${foreign})
    || int4send(octet_length(columns)) || int4send(0) || columns
  from record_send(row(e.seq, left(e.author, ${maxNameBytes}), left(e.kind, ${maxNameBytes}), e.at,
    substr(e.entry_hash, 1, ${2 * hashBytes}), substr(e.leaf_hash, 1, ${2 * hashBytes}),
    substr(b.bytes, 1, ${limits.maxEntryBytes + 1}), substr(b.signature, 1, ${2 * signatureBytes}))) as columns)`;

/** Reads pieces. */
export class EntryUnpacker {
  readonly #names = new Names();

  unpack(piece: Buffer): readonly StoredEntry[] {
    const entries: StoredEntry[] = [];
    for (let at = 0; at < piece.length; ) {
      const isForeign = piece.readInt32BE(at + 24) === foreign;
      at = isForeign ? addForeign(entries, piece, at) : this.#add(entries, piece, at);
    }
    return entries;
  }

  /** @returns where the next one begins. */
  #add(entries: StoredEntry[], piece: Buffer, at: number): number {
    const namesAt = at + fixedBytes;
    const kindAt = namesAt + piece.readInt32BE(at + 24);
    const hashesAt = kindAt + piece.readInt32BE(at + 28);
    const leafAt = hashesAt + 2 * hashBytes;
    const length = piece.readInt32BE(at + 32);
    const end = length < 0 ? leafAt : leafAt + 1 + length + signatureBytes;
    entries.push({
      index: int8At(piece, at),
      author: this.#names.read(piece, namesAt, kindAt),
      seq: int8At(piece, at + 8),
      kind: this.#names.read(piece, kindAt, hashesAt),
      atMs: timeMsAt(piece, at + 16),
      atMicros: timeMicrosAt(piece, at + 16),
      entryHash: piece.toString('hex', hashesAt, hashesAt + hashBytes),
      leafHash: piece.toString('latin1', hashesAt + hashBytes, leafAt),
      body: length < 0 ? undefined : { leaf: piece.subarray(leafAt, end), length },
    });
    return end;
  }
}

function addForeign(entries: StoredEntry[], piece: Buffer, at: number): number {
  const end = at + fixedBytes + piece.readInt32BE(at + 28);
  const record = new RecordReader(piece.subarray(at + fixedBytes, end));
  const seq = record.next();
  const author = record.next()?.toString('utf8') ?? '';
  const kind = record.next()?.toString('utf8') ?? '';
  const time = record.next();
  const entryHash = record.next()?.toString('hex') ?? '';
  const leafHash = record.next()?.toString('latin1') ?? '';
  const [bytes, signature] = [record.next(), record.next()];
  const body: StoredBody | undefined = bytes &&
    signature && { leaf: Buffer.concat([leafPrefix, bytes, signature]), length: bytes.length };
  const atMs = time === undefined ? Number.NaN : timeMsAt(time, 0);
  const atMicros = time === undefined ? 0 : timeMicrosAt(time, 0);
  const index = int8At(piece, at);
  entries.push({
    index,
    author,
    seq: seq ? int8At(seq, 0) : Number.NaN,
    kind,
    atMs,
    atMicros,
    entryHash,
    leafHash,
    body,
  });
  return end;
}
