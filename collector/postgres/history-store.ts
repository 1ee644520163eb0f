import { limits } from '../../common/limits.ts';
import type { FleetSources } from '../fleet/fleet.ts';
import { rootAt } from '../fleet/root-at.ts';
import type { ChainBody, ChainPlace, ChainSpan, FleetView, Placed, StoredReceipt } from '../fleet/view.ts';
import type { StoredBody } from '../ledger/replay.ts';
import { readErasureStatements } from './erasure-store.ts';
import { readKept, readPresent } from './fleet-store.ts';
import { postgresLedgerStore } from './ledger-store.ts';
import { type Db, inTransaction, type Tx, withClient } from './pool.ts';
import { digestBase, keepBodies } from './replay-store.ts';

/*
 * What the fleet of a moment is told from. Chains are followed by (author, seq), which is an index; kinds that nodes say
 * all the time have none of their own.
 */

export function postgresFleetSources(db: Db): FleetSources {
  const store = postgresLedgerStore(db);
  return { atOneMoment: (work) => atOneMoment(db, work), rootAt: (size) => rootAt(store, size) };
}

/** Runs `work` on one state of the database, in which no body is erased meanwhile. */
export function atOneMoment<T>(db: Db, work: (view: FleetView, tx: Tx) => Promise<T>): Promise<T> {
  return withClient(db, (client) =>
    inTransaction(client, async (tx) => {
      await tx.query('set transaction isolation level repeatable read, read only');
      await keepBodies(tx);
      await keepBodies(tx);
      return work(fleetView(tx), tx);
    }),
  );
}

/** On a connection whose transaction sees one state, stored or rebuilt. */
export function fleetView(tx: Tx): FleetView {
  return {
    head: () => readHead(tx),
    receiptBy: (unixMs) => readReceiptBy(tx, unixMs),
    receiptOf: (size) => readReceiptOf(tx, size),
    present: (page) => readPresent(tx, page),
    boundary: () => readBoundary(tx),
    baseDigest: (boundary) => digestBase(tx, boundary),
    erasures: () => readErasureStatements(tx),
    kept: (boundary, nodes) => readKept(tx, boundary, nodes),
    keyStatements: (size) => readKeyStatements(tx, size),
    chainEnds: (authors) => readChainEnds(tx, authors),
    places: (at) => readPlaces(tx, at),
    lastReports: (at) => readLastReports(tx, at),
    statements: (span, limit) => readStatements(tx, span, limit),
  };
}

async function readHead(tx: Tx): Promise<{ origin: string; size: number }> {
  const { rows } = await tx.query<{ origin: string; size: number }>('select origin, size from ledger_head');
  return rows[0] ?? { origin: '', size: 0 };
}

interface ReceiptRow {
  readonly before: number;
  readonly size: number;
  readonly root: Buffer;
  readonly received_ms: number;
  readonly signature: Buffer;
}

const receiptColumns = `coalesce((select max(size) from batches where size < b.size), 0) as before,
  b.size, b.root, b.received_ms, b.signature`;

/** The largest, not the latest: clocks are set back, the ledger is not. */
async function readReceiptBy(tx: Tx, unixMs: number): Promise<StoredReceipt | undefined> {
  const { rows } = await tx.query<ReceiptRow>(
    `select ${receiptColumns} from batches b where b.size = (select max(size) from batches where received_ms <= $1)`,
    [unixMs],
  );
  return rows.map(asReceipt)[0];
}

async function readReceiptOf(tx: Tx, size: number): Promise<StoredReceipt | undefined> {
  const { rows } = await tx.query<ReceiptRow>(
    `select ${receiptColumns} from batches b where b.size >= $1 order by b.size limit 1`,
    [size],
  );
  return rows.map(asReceipt)[0];
}

function asReceipt({ before, received_ms, ...row }: ReceiptRow): StoredReceipt {
  return { from: before, receivedAtMs: received_ms, ...row };
}

async function readBoundary(tx: Tx): Promise<number> {
  const { rows } = await tx.query<{ boundary: number | null }>(
    'select max(boundary) as boundary from projection_bases',
  );
  return rows[0]?.boundary ?? 0;
}

interface BodyRow {
  readonly index: number;
  readonly author: string;
  readonly seq: number;
  readonly leaf_hash: Buffer;
  readonly bytes: Buffer | null;
  readonly signature: Buffer | null;
}

const bodyColumns = 'index, author, seq, leaf_hash, bytes, signature';

function asBody({ leaf_hash, bytes, signature, ...place }: BodyRow): ChainBody {
  const body = bytes === null || signature === null ? undefined : { bytes, signature };
  return { ...place, leafHash: leaf_hash, body };
}

async function readKeyStatements(tx: Tx, size: number): Promise<readonly StoredBody[]> {
  const { rows } = await tx.query<BodyRow>(
    `select index, author, seq, leaf_hashes as leaf_hash, bytes, signature
       from entry_runs left join lateral body_in_run(index, 1) on true
      where kind in ('node.enrolled', 'node.revoked') and index < $1
      order by index`,
    [size],
  );
  return rows.map(asBody);
}

async function readChainEnds(tx: Tx, authors: readonly string[]): Promise<readonly ChainPlace[]> {
  const { rows } = await tx.query<ChainPlace>(
    `select x.author, r.seq + r.width - 1 as seq
       from unnest($1::text[]) as x(author)
      cross join lateral (select seq, width from entry_runs where author = x.author order by seq desc limit 1) r`,
    [authors],
  );
  return rows;
}

function asColumns(at: readonly ChainPlace[]): [authors: string[], seqs: number[]] {
  return [at.map(({ author }) => author), at.map(({ seq }) => seq)];
}

async function readPlaces(tx: Tx, at: readonly ChainPlace[]): Promise<readonly Placed[]> {
  const { rows } = await tx.query<Omit<Placed, 'at'> & { at: Date }>(
    `select e.author, e.seq, e.index, e.at
       from unnest($1::text[], $2::bigint[]) as x(author, seq)
      cross join lateral (select r from entry_runs r
                           where r.author = x.author and r.seq <= x.seq order by r.seq desc limit 1) last
      cross join lateral entries_of(r) e
      where e.seq = x.seq`,
    asColumns(at),
  );
  return rows.map((row) => ({ ...row, at: row.at.toISOString() }));
}

async function readLastReports(tx: Tx, at: readonly ChainPlace[]): Promise<readonly ChainBody[]> {
  const { rows } = await tx.query<BodyRow>(
    `select ${bodyColumns}
       from unnest($1::text[], $2::bigint[]) as x(of_author, to_seq)
      cross join lateral (select * from entries_in_runs
                           where author = of_author and run_seq <= to_seq and seq <= to_seq and kind = 'report'
                           order by run_seq desc, place desc limit 1) e
       left join lateral body_in_run(run, place) on true`,
    asColumns(at),
  );
  return rows.map(asBody);
}

async function readStatements(tx: Tx, { author, after, to }: ChainSpan, limit: number): Promise<readonly ChainBody[]> {
  const { rows } = await tx.query<BodyRow>(
    `select ${bodyColumns}
       from (select * from entries_in_runs
              where author = $1 and run_seq > $2 - ${limits.runMaxEntries} and run_seq <= $3 and seq > $2 and seq <= $3
                and kind in ('observed', 'drift.opened', 'drift.changed', 'drift.resolved', 'sigil.finding', 'sigil.cleared',
                             'sigil.accepted', 'agent.started')
              order by run_seq, place limit $4) e
       left join lateral body_in_run(run, place) on true
      order by run_seq, place`,
    [author, after, to, limit],
  );
  return rows.map(asBody);
}
