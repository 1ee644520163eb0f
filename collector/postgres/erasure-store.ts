import type { StoredStatement } from '../ledger/erasure/record.ts';
import type { Queryable } from './pool.ts';

/** `ledger.erased` entries, in order; their bodies are kept for ever. */
export async function readErasureStatements(db: Queryable): Promise<readonly StoredStatement[]> {
  const { rows } = await db.query<StoredStatement>(
    `select e.index, b.bytes, b.signature from entries e join entry_bodies b using (index)
      where e.kind = 'ledger.erased'
      order by e.index`,
  );
  return rows;
}
