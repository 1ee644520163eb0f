import { limits } from '../../common/limits.ts';
import { type WitnessesWanted, witnessesWanted } from '../../common/witnesses.ts';
import type { WantedStore } from '../desired/witnesses-wanted.ts';
import type {
  ActiveNode,
  Gap,
  LastCosigned,
  Standing,
  StoredCheckpoint,
  StoredCosignature,
  WitnessId,
  WitnessStore,
} from '../witness/ports.ts';
import { type Db, type Queryable, type Tx, withTransaction } from './pool.ts';

/** Channel on which collectors tell each other about rounds. */
export const witnessChannel = 'sigilwatch_witness';

/** How long whoever claimed a gap has to put it on record before another does. */
const claimSeconds = 60;

export function postgresWitnessStore(db: Db): WitnessStore {
  return {
    activeNodes: () => readActiveNodes(db),
    standing: () => readStanding(db),
    open: (checkpoint, notWithinMs) => insertRound(db, checkpoint, notWithinMs),
    checkpoint: (size) => readCheckpoint(db, size),
    cosignatures: (size) => readCosignatures(db, size),
    addCosignatures: (size, added) => insertCosignatures(db, size, added),
    reached: (size, nowMs, maxUnwitnessedMs) =>
      withTransaction(db, (tx) => markReached(tx, size, { nowMs, maxUnwitnessedMs })),
    claimGap: () => claimGap(db),
    recordedGap: (toSize, index) => markRecorded(db, toSize, index),
    lastCosigned: (of) => readLastCosigned(db, of),
    announce: (word) => notifyCollectors(db, word),
    prune: (keptMs) => deleteOldRounds(db, keptMs),
  };
}

export function postgresWantedStore(db: Db): WantedStore {
  return {
    wanted: () => readWanted(db),
    saveWanted: (commit, wanted) => saveWanted(db, commit, wanted),
  };
}

async function readActiveNodes(db: Queryable): Promise<readonly ActiveNode[]> {
  const { rows } = await db.query<{ node: string; public_key: Buffer }>(
    'select node, public_key from nodes where revoked_at is null order by node',
  );
  return rows.map((row) => ({ node: row.node, publicKey: row.public_key }));
}

interface StandingRow {
  readonly ledger_size: number;
  readonly newest_size: number | null;
  readonly newest_note: string | null;
  readonly newest_witnessed: boolean | null;
  readonly witnessed_size: number | null;
  readonly witnessed_note: string | null;
  readonly since_ms: number | null;
}

/** One statement, so that all of it is of one moment. */
async function readStanding(db: Queryable): Promise<Standing> {
  const { rows } = await db.query<StandingRow>(
    `select h.size as ledger_size, n.size as newest_size, n.note as newest_note,
            n.quorum_at is not null as newest_witnessed, w.size as witnessed_size, w.note as witnessed_note, b.received_ms as since_ms
       from ledger_head h
       left join lateral (select * from checkpoints order by size desc limit 1) n on true
       left join lateral (select * from checkpoints where quorum_at is not null order by size desc limit 1) w on true
       left join lateral (select received_ms from batches where size > coalesce(w.size, 0) order by size limit 1) b on true`,
  );
  const [row] = rows;
  if (row === undefined) {
    return { ledgerSize: 0, newest: undefined, witnessed: undefined, unwitnessedSinceMs: undefined };
  }
  const newest = stored(row.newest_size, row.newest_note);
  return {
    ledgerSize: row.ledger_size,
    newest: newest && { ...newest, witnessed: row.newest_witnessed === true },
    witnessed: stored(row.witnessed_size, row.witnessed_note),
    unwitnessedSinceMs: row.since_ms ?? undefined,
  };
}

function stored(size: number | null, note: string | null): StoredCheckpoint | undefined {
  return size === null || note === null ? undefined : { size, note };
}

async function insertRound(db: Queryable, { size, note }: StoredCheckpoint, notWithinMs: number): Promise<boolean> {
  const { rowCount } = await db.query(
    `insert into checkpoints (size, note)
     select $1, $2 where not exists (select from checkpoints where made_at > now() - $3 * interval '1 millisecond')
     on conflict (size) do nothing`,
    [size, note, notWithinMs],
  );
  return rowCount === 1;
}

async function readCheckpoint(db: Queryable, size: number): Promise<StoredCheckpoint | undefined> {
  const { rows } = await db.query<StoredCheckpoint>('select size, note from checkpoints where size = $1', [size]);
  return rows[0];
}

async function readCosignatures(db: Queryable, size: number): Promise<readonly StoredCosignature[]> {
  const { rows } = await db.query<{ witness: string; key_id: number; cosignature: Buffer }>(
    'select witness, key_id, cosignature from cosignatures where size = $1 order by witness, key_id',
    [size],
  );
  return rows.map((row) => ({ witness: row.witness, keyId: row.key_id, cosignature: row.cosignature }));
}

/** Of one witness the last one counts. */
async function insertCosignatures(db: Queryable, size: number, added: readonly StoredCosignature[]): Promise<void> {
  const last = new Map(added.map((one) => [`${one.keyId} ${one.witness}`, one]));
  const rows = [...last.values()];
  await db.query(
    `insert into cosignatures (size, witness, key_id, cosignature)
     select $1, witness, key_id, cosignature from unnest($2::text[], $3::bigint[], $4::bytea[]) as x(witness, key_id, cosignature)
     on conflict (size, witness, key_id) do update set cosignature = excluded.cosignature, received_at = now()`,
    [
      size,
      rows.map(({ witness }) => witness),
      rows.map(({ keyId }) => keyId),
      rows.map(({ cosignature }) => cosignature),
    ],
  );
}

interface Bounds {
  readonly nowMs: number;
  readonly maxUnwitnessedMs: number;
}

async function markReached(tx: Tx, size: number, { nowMs, maxUnwitnessedMs }: Bounds): Promise<boolean> {
  const { rowCount } = await tx.query(
    'update checkpoints set quorum_at = now() where size = $1 and quorum_at is null',
    [size],
  );
  if (rowCount !== 1) return false;
  await insertGap(tx, size, { nowMs, maxUnwitnessedMs });
  await tx.query('update checkpoints set vouched_by = $1 where size <= $1 and vouched_by is null', [size]);
  return true;
}

/**
 * Nothing when a later checkpoint was witnessed already: this one only came late. Nothing either for a span that holds only
 * words about earlier gaps: they would follow each other for ever.
 */
async function insertGap(tx: Tx, size: number, { nowMs, maxUnwitnessedMs }: Bounds): Promise<void> {
  await tx.query(
    `insert into witness_gaps (to_size, from_size, since_ms, until_ms)
     select $1, w.size, b.received_ms, $2
       from (select coalesce(max(size) filter (where size < $1), 0) as size, coalesce(max(size), 0) as last
               from checkpoints where quorum_at is not null) w,
            lateral (select received_ms from batches where size > w.size order by size limit 1) b
      where w.last = $1 and $2 - b.received_ms > $3
        and exists (select from entry_runs r
                     where r.index > w.size - ${limits.runMaxEntries} and r.index + r.width > w.size and r.index < $1
                       and r.kind <> 'witness.gap')
     on conflict (to_size) do nothing`,
    [size, nowMs, maxUnwitnessedMs],
  );
}

async function claimGap(db: Queryable): Promise<Gap | undefined> {
  const { rows } = await db.query<{ to_size: number; from_size: number; since_ms: number; until_ms: number }>(
    `update witness_gaps set claimed_at = now()
      where to_size = (select to_size from witness_gaps
                        where recorded_index is null and (claimed_at is null or claimed_at < now() - $1 * interval '1 second')
                        order by to_size limit 1 for update skip locked)
     returning to_size, from_size, since_ms, until_ms`,
    [claimSeconds],
  );
  const [row] = rows;
  return row && { fromSize: row.from_size, toSize: row.to_size, sinceMs: row.since_ms, untilMs: row.until_ms };
}

async function markRecorded(db: Queryable, toSize: number, index: number): Promise<void> {
  await db.query('update witness_gaps set recorded_index = $2 where to_size = $1', [toSize, index]);
}

async function readLastCosigned(db: Queryable, of: readonly WitnessId[]): Promise<readonly LastCosigned[]> {
  const { rows } = await db.query<{ witness: string; key_id: number; size: number; received_at: Date }>(
    `select x.witness, x.key_id, c.size, c.received_at
       from unnest($1::text[], $2::bigint[]) as x(witness, key_id),
            lateral (select size, received_at from cosignatures
                      where witness = x.witness and key_id = x.key_id order by size desc limit 1) c`,
    [of.map(({ witness }) => witness), of.map(({ keyId }) => keyId)],
  );
  return rows.map((row) => ({
    witness: row.witness,
    keyId: row.key_id,
    size: row.size,
    atMs: row.received_at.getTime(),
  }));
}

async function notifyCollectors(db: Queryable, word: string): Promise<void> {
  await db.query('select pg_notify($1, $2)', [witnessChannel, word]);
}

async function deleteOldRounds(db: Queryable, keptMs: number): Promise<void> {
  await db.query(
    `delete from checkpoints
      where made_at < now() - $1 * interval '1 millisecond'
        and size not in (select max(size) from checkpoints where quorum_at is not null group by date_trunc('hour', made_at))
        and size < (select max(size) from checkpoints)`,
    [keptMs],
  );
}

async function readWanted(db: Queryable): Promise<WitnessesWanted | undefined> {
  const { rows } = await db.query<{ wanted: unknown }>('select wanted from witnesses_wanted');
  const parsed = witnessesWanted.safeParse(rows[0]?.wanted);
  return parsed.success ? parsed.data : undefined;
}

async function saveWanted(db: Queryable, commit: string, wanted: WitnessesWanted): Promise<void> {
  await db.query(
    `insert into witnesses_wanted (commit, wanted) values ($1, $2)
     on conflict (only_row) do update set commit = excluded.commit, wanted = excluded.wanted, read_at = now()`,
    [commit, JSON.stringify(wanted)],
  );
}
