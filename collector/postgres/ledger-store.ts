import pg, { type QueryResultRow } from 'pg';
import { genesis } from '../../common/entry.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { decodeRange, encodeRange, rootOf } from '../../common/merkle.ts';
import type {
  Commit,
  LedgerStore,
  SignedBatch,
  StorableEntry,
  StoredAuthor,
  StoredEntryRef,
  TreeHead,
} from '../ledger/store.ts';
import { CopyRows } from './copy.ts';
import { copyInRuns } from './entry-runs.ts';
import { readErasureStatements } from './erasure-store.ts';
import { appendedChannel } from './event-store.ts';
import { jobSteps } from './job-queue.ts';
import { measuresChannel } from './measure-store.ts';
import { runTogether, type Step } from './pipeline.ts';
import {
  commitFailure,
  committing,
  type Db,
  databaseFailure,
  type Queryable,
  type Tx,
  withClient,
  withTransaction,
} from './pool.ts';
import { projectionSteps } from './projection-store.ts';

/** How often room is made for the bodies that come next, and for how many; more than a commit holds. */
const bodiesMadeRoomFor = 8_192;
/** `division_by_zero`: what {@link moveHead} fails with when the tree head is another one. */
const headMoved = '22012';

/** The {@link LedgerStore} in PostgreSQL. Every commit is one transaction on one connection. */
export function postgresLedgerStore(db: Db): LedgerStore {
  return {
    ...storedLedger(db),
    commit: commitsInOrder(db),
    settle: () => withClient(db, (client) => committing(client, () => settle(client))),
    exclusively: (work) => withTransaction(db, (tx) => workAlone(tx, work)),
  };
}

function storedLedger(db: Queryable): Omit<LedgerStore, 'commit' | 'exclusively' | 'settle'> {
  return {
    head: () => readHead(db),
    create: (head) => insertHead(db, head),
    authorHead: (author) => readAuthorHead(db, author),
    authors: (names) => readAuthors(db, names),
    nodeKey: (node) => readNodeKey(db, node),
    refs: (author, fromSeq, toSeq) => readRefs(db, author, fromSeq, toSeq),
    leafHashes: (from, to) => readLeafHashes(db, from, to),
    leaves: (from, to) => readLeaves(db, from, to),
    erasures: () => readErasureStatements(db),
    tiles: (refs) => readTiles(db, refs),
    lastBatch: () => readLastBatch(db),
  };
}

/**
 * Whose server commits only with a standby: writes something without a meaning, whose commit waits for the standby as any other and so
 * for all that was written before it. A write that nobody waits for any more can be read before its standby has it.
 */
async function settle(client: Tx): Promise<void> {
  await client.query(
    `select case when current_setting('synchronous_standby_names') <> ''
            then pg_logical_emit_message(true, 'sigilwatch', '') end`,
  );
}

/** All on one connection: one that waited for a second would keep the log locked when there is none to have. */
async function workAlone<T>(tx: Tx, work: (store: LedgerStore) => Promise<T>): Promise<T> {
  await lockHead(tx);
  const store: LedgerStore = {
    ...storedLedger(tx),
    commit: async (commit) => writeCommit(tx, await commitSteps(commit)),
    // The lock of the head is written, so the commit of this transaction waits for all that was written before it.
    settle: async () => {},
    exclusively: (inner) => inner(store),
  };
  return work(store);
}

/**
 * A commit may be laid out on one that is still being written, which it would not find if it got to the server first. So
 * it is sent once the one before holds the tree head, or is over; the server then lets it wait for the outcome.
 */
function commitsInOrder(db: Db): LedgerStore['commit'] {
  let before: Promise<void> = Promise.resolve();
  return async (commit) => {
    const turn = before;
    let begun = (): void => {};
    before = new Promise((resolve) => {
      begun = resolve;
    });
    try {
      const steps = await commitSteps(commit);
      await turn;
      return await withClient(db, (client) => writeCommit(client, steps, begun));
    } finally {
      begun();
    }
  };
}

/** All of a commit; one transaction, or part of the one around it. */
async function commitSteps(commit: Commit): Promise<Step[]> {
  return [
    // The lock lets only one go on at a time. It has a statement to itself, so that the next one sees what it waited for.
    { text: lockHeadText },
    moveHead(commit),
    ...ensurePartition(commit),
    ...copyInRuns(commit.entries),
    ...copyTiles(commit),
    addBatchOf(commit.received),
    moveAuthorHeadsStep(commit.entries),
    ...projectionSteps(commit.projections),
    ...announceMeasures(commit),
    ...(await jobSteps(commit.projections)),
    announceAppended,
  ];
}

/** Nodes are told at once, by whichever collector has their sessions. Heard once the commit is there to be read. */
function announceMeasures({ projections: { measures, orderEvents } }: Commit): Step[] {
  const isOne = measures.some(({ kind }) => kind !== 'desired.adopted');
  const isRejection = orderEvents.some(({ kind }) => kind === 'order.rejected');
  return isOne || isRejection ? [{ text: `select pg_notify('${measuresChannel}', '')` }] : [];
}

/** Whoever follows what is appended reads on, here and in other collectors. Heard once the commit is there to be read. */
const announceAppended: Step = { text: `select pg_notify('${appendedChannel}', '')` };

/** @param begun called once the tree head is held. */
async function writeCommit(client: Tx, steps: readonly Step[], begun?: () => void): Promise<boolean> {
  try {
    await committing(client, () => runTogether(client, steps, begun));
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === headMoved) return false;
    throw placeTaken(thrown) ?? saidBefore(thrown) ?? commitFailure(thrown) ?? thrown;
  }
}

/** Whoever holds the tree head is alone behind it: a row that is there already was not written by a commit. */
function placeTaken(thrown: unknown): AppError | undefined {
  if (!(thrown instanceof pg.DatabaseError) || !placeViolations.has(thrown.code ?? '')) return undefined;
  if (!places.test(thrown.constraint ?? '')) return undefined;
  return new AppError(
    'ledger.tampered',
    `rows of ${thrown.table} stand where the next ones belong, and no collector wrote them. "sigilwatch-collector ledger verify" ` +
      'names them; whoever owns the tables has to remove them (docs/tamper-resistance.md). Until then nothing can be recorded',
    { cause: thrown },
  );
}

/** Of an enforcement, what may be said once only. */
function saidBefore(thrown: unknown): AppError | undefined {
  if (!(thrown instanceof pg.DatabaseError) || thrown.constraint !== 'enforcement_facts_pkey') return undefined;
  return new AppError('state.conflict', 'that was put on record before, and holds once only', { cause: thrown });
}

/** `unique_violation`, and what `refuse_gap` raises (`integrity_constraint_violation`). */
const placeViolations = new Set(['23505', '23000']);
const places = /^((entry_runs|run_bodies_[0-9]+|tiles|batches)_pkey|entry_runs_follow)$/;

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
  await tx.query(lockHeadText);
}

const lockHeadText = 'select from ledger_head for update';

/** The compare-and-swap. Nobody looks at its answer before the rest is sent, so it must fail when there is nothing to move. */
function moveHead({ from, to }: Commit): Step {
  return {
    text: `with moved as (update ledger_head set size = $1, root = $2, edge = $3 where size = $4 and root = $5 returning 1)
           select 1 / count(*) from moved`,
    values: [to.range.size, rootOf(to.range), encodeRange(to.range), from.range.size, rootOf(from.range)],
  };
}

function ensurePartition({ from, to }: Commit): Step[] {
  const last = to.range.size - 1;
  if (Math.floor(last / bodiesMadeRoomFor) === Math.floor((from.range.size - 1) / bodiesMadeRoomFor)) return [];
  return [{ text: 'select ensure_body_partition($1)', values: [last + bodiesMadeRoomFor] }];
}

function copyTiles({ tiles }: Commit): Step[] {
  if (tiles.length === 0) return [];
  const rows = new CopyRows();
  for (const { level, index, hashes } of tiles) {
    rows.row(3);
    rows.smallint(level);
    rows.bigint(index);
    rows.bytea(hashes);
  }
  return [{ text: 'copy tiles (level, n, hashes) from stdin (format binary)', copy: rows.messages() }];
}

function addBatchOf({ batch, signature }: SignedBatch): Step {
  return {
    text: 'insert into batches (size, root, received_ms, signature) values ($1, $2, $3, $4)',
    values: [batch.size, batch.root, batch.receivedAtMs, signature],
  };
}

async function readLastBatch(db: Queryable) {
  const rows = await ask<{ size: number; root: Buffer; received_ms: number }>(
    db,
    'select size, root, received_ms from batches order by size desc limit 1',
  );
  return rows.map(({ received_ms, ...batch }) => ({ ...batch, receivedAtMs: received_ms }))[0];
}

export function moveAuthorHeads(tx: Tx, entries: readonly StorableEntry[]): Promise<void> {
  return runTogether(tx, [moveAuthorHeadsStep(entries)]);
}

function moveAuthorHeadsStep(entries: readonly StorableEntry[]): Step {
  const last = new Map(entries.map((logged) => [logged.entry.author, logged]));
  const rows = [...last.values()].map(({ entry, hash, index }) => ({
    author: entry.author,
    seq: entry.seq,
    hash,
    index,
  }));
  return {
    text: `insert into author_heads (author, seq, entry_hash, index)
           select author, seq, decode(hash, 'hex'), index
             from jsonb_to_recordset($1) as x(author text, seq bigint, hash text, index bigint)
           on conflict (author) do update
              set seq = excluded.seq, entry_hash = excluded.entry_hash, index = excluded.index`,
    values: [JSON.stringify(rows)],
  };
}

async function readAuthorHead(db: Queryable, author: string) {
  const rows = await ask<{ seq: number; hash: string }>(
    db,
    `select seq, encode(entry_hash, 'hex') as hash from author_heads where author = $1`,
    [author],
  );
  return rows[0] ?? genesis;
}

interface AuthorRow {
  readonly author: string;
  readonly seq: number | null;
  readonly hash: string | null;
  readonly public_key: Buffer | null;
}

async function readAuthors(db: Queryable, names: readonly string[]): Promise<ReadonlyMap<string, StoredAuthor>> {
  const rows = await ask<AuthorRow>(
    db,
    `select x.author, h.seq, encode(h.entry_hash, 'hex') as hash, n.public_key
       from unnest($1::text[]) as x(author)
       left join author_heads h on h.author = x.author
       left join nodes n on n.node = x.author and n.revoked_at is null`,
    [names],
  );
  return new Map(
    rows.map(({ author, seq, hash, public_key }) => {
      const head = seq === null || hash === null ? genesis : { seq, hash };
      return [author, { head, key: public_key ?? undefined }];
    }),
  );
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
       from chain_between($1, $2, $3) order by seq`,
    [author, fromSeq, toSeq + 1],
  );
}

async function readLeafHashes(db: Queryable, from: number, to: number): Promise<Buffer> {
  const rows = await ask<{ leaf_hash: Buffer }>(db, 'select leaf_hash from entries_between($1, $2) order by index', [
    from,
    to,
  ]);
  return Buffer.concat(rows.map((row) => row.leaf_hash));
}

async function readLeaves(db: Queryable, from: number, to: number): Promise<readonly Buffer[]> {
  const rows = await ask<{ leaf: Buffer }>(
    db,
    'select bytes || signature as leaf from bodies_between($1, $2) order by index',
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
