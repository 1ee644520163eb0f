import { limits } from '../../common/limits.ts';
import type { ExportSource, StoredLeaf } from '../ledger/export/export.ts';
import { readErasureStatements } from './erasure-store.ts';
import type { Db } from './pool.ts';

/** The rows that exports are made of. */
export function postgresExportSource(db: Db): ExportSource {
  return {
    leaves: (from, to) => readLeaves(db, from, to),
    keyStatements: (before) => readKeyStatements(db, before),
    authors: (from, to) => readAuthors(db, from, to),
    erasures: () => readErasureStatements(db),
  };
}

interface Row {
  readonly index: number;
  readonly kind: string;
  readonly leaf_hash: Buffer;
  readonly bytes: Buffer | null;
  readonly signature: Buffer | null;
}

async function readLeaves(db: Db, from: number, to: number): Promise<readonly StoredLeaf[]> {
  const { rows } = await db.query<Row>(
    `select index, kind, leaf_hash, bytes, signature
       from entries_with_bodies($1, $2) order by run, place`,
    [from, to],
  );
  return rows.map(toLeaf);
}

async function readKeyStatements(db: Db, before: number): Promise<readonly StoredLeaf[]> {
  const { rows } = await db.query<Row>(
    `select index, kind, leaf_hashes as leaf_hash, bytes, signature
       from entry_runs left join lateral body_in_run(index, 1) on true
      where kind in ('ledger.created', 'node.enrolled', 'node.revoked') and index < $1 order by index`,
    [before],
  );
  return rows.map(toLeaf);
}

async function readAuthors(db: Db, from: number, to: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ author: string }>(
    `select distinct author from entry_runs where index > $1 - ${limits.runMaxEntries} and index + width > $1 and index < $2`,
    [from, to],
  );
  return rows.map(({ author }) => author);
}

function toLeaf({ index, kind, leaf_hash, bytes, signature }: Row): StoredLeaf {
  return {
    index,
    kind,
    leafHash: leaf_hash,
    body: bytes === null || signature === null ? undefined : { bytes, signature },
  };
}
