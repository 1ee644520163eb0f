import pg from 'pg';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { fullTileWidth, type TileId } from '../../common/tiles.ts';
import type { StoredStatement } from '../ledger/erasure/record.ts';
import type { FullTile } from '../ledger/store.ts';
import type { Reading, StoredBatch, StoredCheckpoint, StoredExtent, StoredLedger } from '../ledger/verify/source.ts';
import { copyOut, type Turns, turnsOf } from './copy-out.ts';
import { EntryUnpacker, packedRunsBetween } from './packed-entries.ts';
import { Names } from './packed-values.ts';
import type { Queryable } from './pool.ts';

/**
 * The ledger as it lies in the tables, for verification: nothing is cached and nothing is believed. On a pool, several things
 * are read at once; on one connection, within its transaction and as that sees the tables.
 */
export function postgresStoredLedger(db: Queryable): StoredLedger {
  const turns = turnsOf(db);
  const names = new Names();
  return {
    extent: () => turns(() => readExtent(db)),
    read: (from, to) => read({ db, turns, names }, from, to),
    erasures: (size) => turns(() => readErasures(db, size)),
    tiles: (ids) => turns(() => readTiles(db, ids)),
  };
}

/**
 * What a failed statement means when tables or columns are not there as the migrations made them (class 42), or when the server cannot
 * read its own files (XX001, XX002); undefined for any other failure.
 */
export function damageOf(thrown: unknown): AppError | undefined {
  if (!(thrown instanceof pg.DatabaseError)) return undefined;
  const { code = '', message } = thrown;
  if (/^(42P01|42703|42804|42883)$/.test(code)) {
    const said = `the tables of the ledger are not as the migrations made them: ${message}`;
    return new AppError('ledger.tampered', said, { cause: thrown });
  }
  if (!/^XX00[12]$/.test(code)) return undefined;
  const said = `the database cannot read what it has stored: ${message}. Its files are damaged: restore a backup`;
  return new AppError('ledger.tampered', said, { cause: thrown });
}

interface On {
  readonly db: Queryable;
  readonly turns: Turns;
  readonly names: Names;
}

function read(on: On, from: number, to: number): Reading {
  // On one connection these come first, so that nobody waits for them behind entries that nobody takes.
  const batches = on.turns(() => readBatches(on.db, from, to));
  const checkpoints = on.turns(() => readCheckpoints(on.db, from, to));
  const tiles = on.turns(() => readTilesBetween(on.db, from, to));
  const unpacker = new EntryUnpacker(on.names, from, to);
  const entries = copyOut(on, packedRunsBetween(from, to), (piece) => unpacker.unpack(piece));
  // Told to whoever waits for them; who closes before that does not want to hear of it.
  for (const rows of [batches, checkpoints, tiles]) rows.catch(() => {});
  return { batches, checkpoints, tiles, entries, close: entries.close };
}

/** One statement sees one state, so a collector that appends meanwhile does not look like a forger. */
async function readExtent(db: Queryable): Promise<StoredExtent | undefined> {
  const { rows } = await db.query<StoredExtent>(
    `select h.origin, h.size::text as size, coalesce(h.root, '') as root, coalesce(h.edge, '') as edge,
            h.only_row and (select count(*) from ledger_head) = 1 as single,
            (select coalesce(jsonb_agg(jsonb_build_object(
                      'author', author, 'seq', seq::text, 'hash', encode(entry_hash, 'hex'), 'index', index::text)
                      order by author), '[]')
               from author_heads) as heads,
            (select coalesce(jsonb_agg(jsonb_build_object(
                      'node', node, 'publicKey', encode(public_key, 'hex'), 'fingerprint', fingerprint,
                      'enrolledAt', trunc(extract(epoch from enrolled_at) * 1000000)::text,
                      'enrolledIndex', enrolled_index::text, 'firstIndex', first_index::text,
                      'revokedAt', trunc(extract(epoch from revoked_at) * 1000000)::text)
                      order by node), '[]')
               from nodes) as nodes,
            jsonb_build_object(
              'entry', coalesce((select min(index) from entry_runs where index < 0)::text,
                                (select h.size from entry_runs
                                  where index < h.size and index > greatest(h.size, 0) - ${limits.runMaxEntries}
                                    and width > h.size - index limit 1)::text,
                                (select min(index) from entry_runs where index >= h.size)::text,
                                (select 'NULL' from entry_runs where index is null limit 1)),
              'body', coalesce((select min(index) from run_bodies where index < 0),
                               (select min(index) from run_bodies where index >= h.size))::text,
              'batch', coalesce((select min(size) from batches where size <= 0),
                                (select min(size) from batches where size > h.size))::text,
              'checkpoint', coalesce((select min(size) from checkpoints where size <= 0),
                                     (select min(size) from checkpoints where size > h.size))::text,
              'tile', (select jsonb_build_array(level::text, n::text)
                         from tiles
                        where case when level between 0 and 5 then n < 0 or n >= h.size >> (8 * (level + 1)) else true end
                        order by level, n limit 1)) as strays
       from ledger_head h
      limit 1`,
  );
  return rows[0];
}

async function readBatches(db: Queryable, from: number, to: number): Promise<readonly StoredBatch[]> {
  const { rows } = await db.query<StoredBatch>(
    `select size, coalesce(root, '') as root, coalesce(received_ms::text, '') as "receivedMs",
            coalesce(signature, '') as signature
       from batches where size > $1 and size <= $2 order by size`,
    [from, to],
  );
  return rows;
}

async function readCheckpoints(db: Queryable, from: number, to: number): Promise<readonly StoredCheckpoint[]> {
  const { rows } = await db.query<StoredCheckpoint>(
    `select size, coalesce(note, '') as note from checkpoints where size > $1 and size <= $2 order by size`,
    [from, to],
  );
  return rows;
}

/** The tiles of each level that end after `from` and not after `to`. */
async function readTilesBetween(db: Queryable, from: number, to: number): Promise<readonly FullTile[]> {
  const spans: { level: number; first: number; end: number }[] = [];
  for (let level = 0, width = fullTileWidth; width <= to; level++, width *= fullTileWidth) {
    const [first, end] = [Math.floor(from / width), Math.floor(to / width)];
    if (end > first) spans.push({ level, first, end });
  }
  if (spans.length === 0) return [];
  const { rows } = await db.query<FullTile>(
    `select t.level, t.n as index, coalesce(t.hashes, '') as hashes
       from unnest($1::smallint[], $2::bigint[], $3::bigint[]) as x(level, first, "end")
       join tiles t on t.level = x.level and t.n >= x.first and t.n < x."end"
      order by t.level, t.n`,
    [spans.map(({ level }) => level), spans.map(({ first }) => first), spans.map(({ end }) => end)],
  );
  return rows;
}

async function readTiles(db: Queryable, ids: readonly TileId[]): Promise<readonly (Buffer | undefined)[]> {
  const { rows } = await db.query<{ place: number; hashes: Buffer }>(
    `select place, hashes
       from unnest($1::smallint[], $2::bigint[]) with ordinality as x(level, n, place) join tiles using (level, n)`,
    [ids.map(({ level }) => level), ids.map(({ index }) => index)],
  );
  const found = new Map(rows.map(({ place, hashes }) => [place, hashes]));
  return ids.map((_, at) => found.get(at + 1));
}

/** Those entries stand alone; what does not look like one of them is cut to what is certainly too long. */
async function readErasures(db: Queryable, size: number): Promise<readonly StoredStatement[]> {
  const { rows } = await db.query<StoredStatement>(
    `select index, substr(leaf, 2, greatest(octet_length(leaf) - 65, 0)) as bytes,
            substr(leaf, greatest(octet_length(leaf) - 63, 1)) as signature
       from (select r.index, coalesce(substr(b.leaves, 1, ${limits.maxEntryBytes + 66}), '') as leaf
               from entry_runs r join run_bodies b using (index)
              where r.kind = 'ledger.erased' and r.index < $1) as statements
      order by index`,
    [size],
  );
  return rows;
}
