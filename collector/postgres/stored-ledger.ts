import type { StoredEntry, StoredExtent, StoredLedger } from '../ledger/verify.ts';
import { postgresLedgerStore } from './ledger-store.ts';
import type { Db } from './pool.ts';
import { type EntryRow, readEntries } from './query-store.ts';

/** The ledger as it lies in the tables, for verification: nothing is cached and nothing is believed. */
export function postgresStoredLedger(db: Db): StoredLedger {
  const { tiles } = postgresLedgerStore(db);
  return {
    extent: () => readExtent(db),
    entries: async (from, to) => (await readEntries(db, from, to)).map(toStoredEntry),
    tiles,
  };
}

/** One statement sees one state, so a collector that appends meanwhile does not look like a forger. */
async function readExtent(db: Db): Promise<StoredExtent | undefined> {
  const { rows } = await db.query<StoredExtent>(
    `select origin, size, root, edge,
            (select count(*) from entries) as entries, (select count(*) from tiles) as tiles,
            (select coalesce(jsonb_agg(jsonb_build_object('author', author, 'seq', seq,
                                                          'hash', encode(entry_hash, 'hex'))), '[]')
               from author_heads) as heads,
            (select coalesce(jsonb_agg(jsonb_build_object('node', node, 'publicKey', encode(public_key, 'hex'))), '[]')
               from nodes where revoked_at is null) as keys
       from ledger_head`,
  );
  return rows[0];
}

function toStoredEntry({ bytes, signature, at, entry_hash, leaf_hash, ...row }: EntryRow): StoredEntry {
  return {
    index: row.index,
    author: row.author,
    seq: row.seq,
    kind: row.kind,
    at: at.toISOString(),
    entryHash: entry_hash.toString('hex'),
    leafHash: leaf_hash,
    body: bytes === null || signature === null ? undefined : { bytes, signature },
  };
}
