import { Ledger } from '../../../collector/ledger/ledger.ts';
import { digestColumns } from '../../../collector/ledger/verify/erased-columns.ts';
import { type KeptTree, type LedgerFault, verifyLedger } from '../../../collector/ledger/verify/verify.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { type Db, type Tx, withClient } from '../../../collector/postgres/pool.ts';
import { postgresStoredLedger } from '../../../collector/postgres/stored-ledger.ts';
import type { SignedEntry } from '../../../common/entry.ts';
import { fingerprint, type KeyPair, rawPublicKey, verifyBytesAsync } from '../../../common/keys.ts';
import { firstEntryMs, type TestAuthor, testAuthor } from '../../authors.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { testPool } from '../../postgres.ts';

/** Entries in each batch: together one full tile and the beginning of the next. Most of them are such as stand in runs. */
const batchEntries = [1, 40, 1, 7, 60, 3, 25, 1, 50, 2, 30, 33, 9, 1];
/** In every so many batches, entries that stand alone. */
const aloneShare = 4;
const nodes = ['node1', 'node2', 'node3'];
/** What the erased ledger has erased: everything before, but what is kept for ever. */
export const erasedTo = 194;

/** A small ledger with everything in it that there can be, in the hands of somebody who owns the database. */
export interface Victim {
  readonly db: Db;
  readonly size: number;
  /** Sizes of its batches, in order. */
  readonly batches: readonly number[];
  /** A checkpoint of all of it, as it was published. */
  readonly note: string;
  readonly kept: KeptTree;
  close(): Promise<void>;
}

export async function makeVictim(url: string, { erased }: { readonly erased: boolean }): Promise<Victim> {
  const db = testPool(url);
  let nowMs = firstEntryMs;
  const now = () => {
    nowMs += 1_234;
    return nowMs;
  };
  const clock = { now, monotonicMs: () => nowMs };
  const ledger = new Ledger({ store: postgresLedgerStore(db), origin: testOrigin, keys: collectorKeys, clock });
  await ledger.start();
  const authors = nodes.map((name) => testAuthor(name));
  for (const { name, keys } of authors) await enrol(ledger, name, keys);
  for (const [at, count] of batchEntries.entries()) {
    const author = authors[at % nodes.length];
    if (author !== undefined) await ledger.append(at % aloneShare === 0 ? author.more(count) : scans(author, count));
  }
  const early = await ledger.checkpoint();
  await ledger.record({ kind: 'node.revoked', body: { node: 'node3', fingerprint: '', reason: 'test' } });
  await enrol(ledger, 'node2', testAuthor('node2/again').keys);
  if (erased) await erase(ledger, db);
  const { note, size, root } = await ledger.checkpoint();
  await ledger.close();
  await db.query('insert into checkpoints (size, note) values ($1, $2), ($3, $4)', [
    early.size,
    early.note,
    size,
    note,
  ]);
  await disarm(db);
  const { rows } = await db.query<{ size: number }>('select size from batches order by size');
  const batches = rows.map((row) => row.size);
  return { db, size, batches, note, kept: { name: 'the kept checkpoint', size, root }, close: () => db.end() };
}

function scans(author: TestAuthor, count: number): SignedEntry[] {
  const scan = { store: 'demo', mode: 'full', startedAt: '2026-01-01T00:00:00.000Z', durationMs: 12 } as const;
  const counts = { tables: 3, blocks: 400, bytes: 1_600_000, sigils: 7_000, findings: 0 };
  return Array.from({ length: count }, () =>
    author.next({ kind: 'sigil.scan', body: { ...scan, ...counts, records: author.head.seq } }),
  );
}

async function enrol(ledger: Ledger, node: string, { publicKey }: KeyPair): Promise<void> {
  const key = rawPublicKey(publicKey).toString('base64');
  const body = { node, publicKey: key, fingerprint: fingerprint(publicKey), agentVersion: '0.1.0' };
  await ledger.record({ kind: 'node.enrolled', body });
}

async function erase(ledger: Ledger, db: Db): Promise<void> {
  const { rows } = await db.query<{ root: Buffer }>('select root from batches where size = $1', [erasedTo]);
  const root = rows[0]?.root.toString('hex');
  if (root === undefined) throw new Error(`no batch ends at ${erasedTo}`);
  const columns = await digestColumns(postgresStoredLedger(db), 0, erasedTo);
  const counts = { from: 0, to: erasedTo, entries: erasedTo, keptBodies: 4 };
  const why = { exported: null, actor: 'test', reason: 'retention' };
  await ledger.record({ kind: 'ledger.erased', body: { ...counts, root, base: '0'.repeat(64), columns, ...why } });
  await inUndone(db, async (tx) => {
    await tx.query(
      `delete from run_bodies b using entry_runs r where r.index = b.index and b.index < ${erasedTo} and r.author <> 'collector'`,
    );
    await tx.query('commit; begin');
  });
}

/** Takes away whatever in the tables themselves would refuse a wrong value, as their owner can. */
async function disarm(db: Db): Promise<void> {
  await db.query(`do $$ declare c record; begin
    for c in select conrelid::regclass as t, conname from pg_constraint
              where contype = 'c' and connamespace = 'public'::regnamespace and coninhcount = 0 loop
      execute format('alter table %s drop constraint %I', c.t, c.conname);
    end loop; end $$`);
  await db.query('create table run_bodies_rest partition of run_bodies default');
  await changeOneByOne(db);
  await db.query('vacuum analyze');
}

/** With the triggers off; undone at the end, whatever it was. */
export function inUndone<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  return withClient(db, async (tx) => {
    await tx.query('begin; set local session_replication_role = replica');
    try {
      return await work(tx);
    } finally {
      await tx.query('rollback');
    }
  });
}

export async function firstFault(
  tx: Tx | Db,
  kept: readonly KeptTree[],
  signatures = true,
): Promise<LedgerFault | undefined> {
  const { fault } = await verifyLedger(postgresStoredLedger(tx), {
    origin: testOrigin,
    collectorKey: collectorKeys.publicKey,
    checkpoints: kept,
    signatures: signatures && verifyBytesAsync,
  });
  return fault;
}
