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
       from entries left join entry_bodies using (index) where index >= $1 and index < $2 order by index`,
    [from, to],
  );
  return rows.map(toLeaf);
}

async function readKeyStatements(db: Db, before: number): Promise<readonly StoredLeaf[]> {
  const { rows } = await db.query<Row>(
    `select index, kind, leaf_hash, bytes, signature
       from entries left join entry_bodies using (index)
      where kind in ('ledger.created', 'node.enrolled', 'node.revoked') and index < $1 order by index`,
    [before],
  );
  return rows.map(toLeaf);
}

async function readAuthors(db: Db, from: number, to: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ author: string }>(
    'select distinct author from entries where index >= $1 and index < $2',
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
