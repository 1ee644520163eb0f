import type { QueryResultRow } from 'pg';
import { genesis } from '../../common/entry.ts';
import { decodeRange, encodeRange, rootOf } from '../../common/merkle.ts';
import type { Commit, LedgerStore, SignedBatch, StoredEntryRef, TreeHead } from '../ledger/store.ts';
import { type Db, databaseFailure, type Queryable, type Tx, withTransaction } from './pool.ts';
import { applyProjections } from './projection-store.ts';

/** Width of a partition of entry bodies; the same figure stands in migration 0001. */
const bodiesPerPartition = 1_000_000;

/** The {@link LedgerStore} in PostgreSQL. Every commit is one transaction on one connection. */
export function postgresLedgerStore(db: Db): LedgerStore {
  return {
    ...storedLedger(db),
    commit: (commit) => withTransaction(db, (tx) => writeCommit(tx, commit)),
    exclusively: (work) => withTransaction(db, (tx) => workAlone(tx, work)),
  };
}

function storedLedger(db: Queryable): Omit<LedgerStore, 'commit' | 'exclusively'> {
  return {
    head: () => readHead(db),
    create: (head) => insertHead(db, head),
    authorHead: (author) => readAuthorHead(db, author),
    nodeKey: (node) => readNodeKey(db, node),
    refs: (author, fromSeq, toSeq) => readRefs(db, author, fromSeq, toSeq),
    leafHashes: (from, to) => readLeafHashes(db, from, to),
    leaves: (from, to) => readLeaves(db, from, to),
    tiles: (refs) => readTiles(db, refs),
    lastBatch: () => readLastBatch(db),
    addBatch: (received) => insertBatch(db, received),
  };
}

/** All on one connection: one that waited for a second would keep the log locked when there is none to have. */
async function workAlone<T>(tx: Tx, work: (store: LedgerStore) => Promise<T>): Promise<T> {
  await lockHead(tx);
  const store: LedgerStore = {
    ...storedLedger(tx),
    commit: (commit) => writeCommit(tx, commit),
    exclusively: (inner) => inner(store),
  };
  return work(store);
}

async function writeCommit(tx: Tx, commit: Commit): Promise<boolean> {
  // First, because the row lock it takes lets only one collector at a time go on.
  if (!(await moveHead(tx, commit.from, commit.to))) return false;
  await ensurePartition(tx, commit);
  await insertEntries(tx, commit);
  await insertBodies(tx, commit);
  await insertTiles(tx, commit);
  await insertBatch(tx, commit.received);
  await moveAuthorHeads(tx, commit);
  await applyProjections(tx, commit.projections);
  return true;
}

/** One statement. @throws AppError `database.unreachable` (retryable) when nobody answered it. */
async function ask<Row extends QueryResultRow>(db: Queryable, sql: string, values: unknown[] = []): Promise<Row[]> {
  try {
    return (await db.query<Row>(sql, values)).rows;
  } catch (thrown) {
    throw databaseFailure(thrown) ?? thrown;
  }
}

async function readHead(db: Queryable): Promise<TreeHead | undefined> {
  const [row] = await ask<{ origin: string; size: number; edge: Buffer }>(
    db,
    'select origin, size, edge from ledger_head',
  );
  return row === undefined ? undefined : { origin: row.origin, range: decodeRange(row.size, row.edge) };
}

async function insertHead(db: Queryable, { origin, range }: TreeHead): Promise<void> {
  await ask(db, 'insert into ledger_head (origin, size, root, edge) values ($1, $2, $3, $4) on conflict do nothing', [
    origin,
    range.size,
    rootOf(range),
    encodeRange(range),
  ]);
}

/** Until the end of the transaction; the same lock that {@link moveHead} takes. */
async function lockHead(tx: Tx): Promise<void> {
  await tx.query('select from ledger_head for update');
}

async function moveHead(tx: Tx, from: TreeHead, to: TreeHead): Promise<boolean> {
  const { rowCount } = await tx.query(
    'update ledger_head set size = $1, root = $2, edge = $3 where size = $4 and root = $5',
    [to.range.size, rootOf(to.range), encodeRange(to.range), from.range.size, rootOf(from.range)],
  );
  return rowCount === 1;
}

async function ensurePartition(tx: Tx, { from, to }: Commit): Promise<void> {
  const last = to.range.size - 1;
  if (Math.floor(last / bodiesPerPartition) === Math.floor((from.range.size - 1) / bodiesPerPartition)) return;
  await tx.query('select ensure_body_partition($1)', [last]);
}

async function insertEntries(tx: Tx, { entries }: Commit): Promise<void> {
  await tx.query(
    `insert into entries (index, author, seq, kind, at, entry_hash, leaf_hash)
     select index, author, seq, kind, at, decode(hash, 'hex'), leaf_hash
       from unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[], $6::text[], $7::bytea[])
         as x(index, author, seq, kind, at, hash, leaf_hash)`,
    [
      entries.map(({ index }) => index),
      entries.map(({ entry }) => entry.author),
      entries.map(({ entry }) => entry.seq),
      entries.map(({ entry }) => entry.kind),
      entries.map(({ entry }) => entry.at),
      entries.map(({ hash }) => hash),
      entries.map(({ leafHash }) => leafHash),
    ],
  );
}

async function insertBodies(tx: Tx, { entries }: Commit): Promise<void> {
  await tx.query(
    `insert into entry_bodies (index, bytes, signature)
     select * from unnest($1::bigint[], $2::bytea[], $3::bytea[])`,
    [entries.map(({ index }) => index), entries.map(({ bytes }) => bytes), entries.map(({ signature }) => signature)],
  );
}

async function insertTiles(tx: Tx, { tiles }: Commit): Promise<void> {
  if (tiles.length === 0) return;
  await tx.query(
    `insert into tiles (level, n, hashes)
     select * from unnest($1::smallint[], $2::bigint[], $3::bytea[])`,
    [tiles.map(({ level }) => level), tiles.map(({ index }) => index), tiles.map(({ hashes }) => hashes)],
  );
}

async function insertBatch(db: Queryable, { batch, signature }: SignedBatch): Promise<void> {
  await ask(
    db,
    'insert into batches (size, root, received_ms, signature) values ($1, $2, $3, $4) on conflict (size) do nothing',
    [batch.size, batch.root, batch.receivedAtMs, signature],
  );
}

async function readLastBatch(db: Queryable) {
  const rows = await ask<{ size: number; root: Buffer; received_ms: number }>(
    db,
    'select size, root, received_ms from batches order by size desc limit 1',
  );
  return rows.map(({ received_ms, ...batch }) => ({ ...batch, receivedAtMs: received_ms }))[0];
}

export async function moveAuthorHeads(tx: Tx, { entries }: Pick<Commit, 'entries'>): Promise<void> {
  const last = [...new Map(entries.map((entry) => [entry.entry.author, entry])).values()];
  await tx.query(
    `insert into author_heads (author, seq, entry_hash, index)
     select author, seq, decode(hash, 'hex'), index
       from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) as x(author, seq, hash, index)
     on conflict (author) do update set seq = excluded.seq, entry_hash = excluded.entry_hash, index = excluded.index`,
    [
      last.map(({ entry }) => entry.author),
      last.map(({ entry }) => entry.seq),
      last.map(({ hash }) => hash),
      last.map(({ index }) => index),
    ],
  );
}

async function readAuthorHead(db: Queryable, author: string) {
  const rows = await ask<{ seq: number; hash: string }>(
    db,
    `select seq, encode(entry_hash, 'hex') as hash from author_heads where author = $1`,
    [author],
  );
  return rows[0] ?? genesis;
}

async function readNodeKey(db: Queryable, node: string): Promise<Buffer | undefined> {
  const rows = await ask<{ public_key: Buffer }>(
    db,
    'select public_key from nodes where node = $1 and revoked_at is null',
    [node],
  );
  return rows[0]?.public_key;
}

async function readRefs(
  db: Queryable,
  author: string,
  fromSeq: number,
  toSeq: number,
): Promise<readonly StoredEntryRef[]> {
  return ask<StoredEntryRef>(
    db,
    `select author, seq, index, encode(entry_hash, 'hex') as hash
       from entries where author = $1 and seq between $2 and $3 order by seq`,
    [author, fromSeq, toSeq],
  );
}

async function readLeafHashes(db: Queryable, from: number, to: number): Promise<Buffer> {
  const rows = await ask<{ leaf_hash: Buffer }>(
    db,
    'select leaf_hash from entries where index >= $1 and index < $2 order by index',
    [from, to],
  );
  return Buffer.concat(rows.map((row) => row.leaf_hash));
}

async function readLeaves(db: Queryable, from: number, to: number): Promise<readonly Buffer[]> {
  const rows = await ask<{ leaf: Buffer }>(
    db,
    'select bytes || signature as leaf from entry_bodies where index >= $1 and index < $2 order by index',
    [from, to],
  );
  return rows.map((row) => row.leaf);
}

async function readTiles(
  db: Queryable,
  refs: readonly { level: number; index: number }[],
): Promise<readonly (Buffer | undefined)[]> {
  const rows = await ask<{ place: number; hashes: Buffer }>(
    db,
    `select place, hashes
       from unnest($1::smallint[], $2::bigint[]) with ordinality as x(level, n, place) join tiles using (level, n)`,
    [refs.map(({ level }) => level), refs.map(({ index }) => index)],
  );
  const tiles = new Array<Buffer | undefined>(refs.length).fill(undefined);
  for (const row of rows) tiles[row.place - 1] = row.hashes;
  return tiles;
}
