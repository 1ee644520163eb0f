import assert from 'node:assert/strict';
import { writeNewFile } from '../../../collector/data/new-file.ts';
import {
  type ErasureNeeds,
  type ErasureRequest,
  type ErasureRoom,
  eraseEntries,
} from '../../../collector/ledger/erasure/erasure.ts';
import { exportSpan } from '../../../collector/ledger/erasure/export.ts';
import { exportLines } from '../../../collector/ledger/export/export.ts';
import type { Ledger } from '../../../collector/ledger/ledger.ts';
import { checkProjections, matches } from '../../../collector/ledger/replay.ts';
import { verifyLedger } from '../../../collector/ledger/verify/verify.ts';
import { postgresErasureStore } from '../../../collector/postgres/erasure-run-store.ts';
import { postgresExportSource } from '../../../collector/postgres/export-store.ts';
import { connectClient, type Db } from '../../../collector/postgres/pool.ts';
import { postgresReplays } from '../../../collector/postgres/replay-store.ts';
import { postgresStoredLedger } from '../../../collector/postgres/stored-ledger.ts';
import { collectorKeys, testOrigin } from '../../ledgers.ts';
import { changeOneByOne } from '../../one-by-one.ts';

const applicationName = 'test';

/**
 * Gives an empty ledger partitions that end at these indexes, and one more that goes on from the last. No run lies in two of them, as
 * in none of the product's own, whose ends are known beforehand: here a run across an end is taken apart as soon as it is there.
 * @param ownerUrl of a superuser.
 */
export async function layPartitions(ownerUrl: string, ends: readonly number[]): Promise<void> {
  const client = await connectClient({ url: ownerUrl, applicationName });
  try {
    await changeOneByOne(client);
    await client.query('begin; drop table run_bodies_000000');
    const all = [...ends, 2 ** 30];
    for (const [at, end] of all.entries()) {
      const name = `run_bodies_t${String(at).padStart(5, '0')}`;
      await client.query(
        `select new_body_partition('${name}');
         alter table run_bodies attach partition ${name} for values from (${all[at - 1] ?? 0}) to (${end})`,
      );
    }
    await client.query(cutAtEnds);
    await client.query('commit');
  } finally {
    await client.end();
  }
}

/** Bodies are added after the entries, so both are there. What takes runs apart has the rights for that, whoever appends. */
const cutAtEnds = `
  create function test_cut_at_ends() returns trigger language plpgsql security definer set session_replication_role = replica as $$
  begin
    perform test_take_apart(to_index - 1) from body_partitions p
      where exists (select from added a where a.index < p.to_index and a.index + cardinality(a.ends) > p.to_index);
    return null;
  end $$;
  create trigger test_cut after insert on run_bodies referencing new table as added
    for each statement execute function test_cut_at_ends()`;

/** What an erasure works with, as the owner of `ownerUrl`. */
export function erasureNeeds({ db, ledger, ownerUrl }: { db: Db; ledger: Ledger; ownerUrl: string }): ErasureNeeds {
  return {
    store: postgresErasureStore(db, { url: ownerUrl, applicationName }),
    stored: postgresStoredLedger(db),
    ledger,
    collectorKey: collectorKeys.publicKey,
  };
}

export const request = (toIndex: number): ErasureRequest => ({
  limit: { toIndex },
  actor: 'test',
  reason: 'a test',
});

export function eraseTo(needs: ErasureNeeds, toIndex: number) {
  return eraseEntries(needs, request(toIndex));
}

/** Verification and replay find nothing. @returns how many entries have no body. */
export async function assertInOrder(db: Db, url: string): Promise<number> {
  const report = await verifyLedger(postgresStoredLedger(db), {
    origin: testOrigin,
    collectorKey: collectorKeys.publicKey,
  });
  assert.equal(report.fault, undefined);
  const replay = await replayed(url);
  assert.ok(matches(replay.tables), JSON.stringify(replay.tables.filter(({ differing }) => differing > 0)));
  assert.equal(replay.size, report.size);
  return report.erased;
}

export function replayed(url: string) {
  return checkProjections(postgresReplays({ url, applicationName }), { collectorKey: collectorKeys.publicKey });
}

/** Indexes of the entries that have their bodies. */
export async function bodiesBefore(db: Db, to: number): Promise<readonly number[]> {
  const { rows } = await db.query<{ index: number }>('select index from entry_bodies where index < $1 order by 1', [
    to,
  ]);
  return rows.map(({ index }) => index);
}

/** Between what an erasure may be broken off, in order. */
export const breakingPoints = [
  'before the export',
  'after the export',
  'before the entry',
  'after the entry',
  'before the drop',
  'before the commit',
  'after the commit',
] as const;
export type BreakingPoint = (typeof breakingPoints)[number];

type Exporting = NonNullable<ErasureRequest['exportSpan']>;

/** The same with `act` where it is to break: after a step, that has happened and nobody was told. */
export function breakingAt(
  point: BreakingPoint,
  act: () => void,
  { needs, exporting }: { readonly needs: ErasureNeeds; readonly exporting: Exporting },
): { readonly needs: ErasureNeeds; readonly exporting: Exporting } {
  const around = async <T>(before: BreakingPoint, after: BreakingPoint, step: () => Promise<T>): Promise<T> => {
    if (point === before) act();
    const done = await step();
    if (point === after) act();
    return done;
  };
  const { store, ledger } = needs;
  const breakingRoom = (room: ErasureRoom): ErasureRoom => ({
    prepare: async (to, by, then) => {
      const done = await room.prepare(to, by, (prepared) =>
        then({ ...prepared, drop: () => around('before the drop', 'before the commit', prepared.drop) }),
      );
      if (point === 'after the commit') act();
      return done;
    },
  });
  return {
    exporting: (span) => around('before the export', 'after the export', () => exporting(span)),
    needs: {
      ...needs,
      store: { ...store, alone: (work) => store.alone((room) => work(breakingRoom(room))) },
      ledger: {
        origin: ledger.origin,
        checkpoint: () => ledger.checkpoint(),
        consistency: (oldSize, newSize) => ledger.consistency(oldSize, newSize),
        record: (statement) => around('before the entry', 'after the entry', () => ledger.record(statement)),
      },
    },
  };
}

/** Exports to a folder as the command does. */
export function exportingTo(folder: string, { db, ledger }: { db: Db; ledger: Ledger }): Exporting {
  return (span) =>
    exportSpan(span, {
      folder,
      vkey: ledger.vkey,
      writeFile: writeNewFile,
      onProgress: () => {},
      lines: async function* ({ from, to }) {
        const checkpoint = await ledger.checkpoint();
        yield* exportLines({ from, to, checkpoint, prover: ledger, source: postgresExportSource(db) });
      },
    });
}
