import type { StoredStatement } from '../ledger/erasure/record.ts';
import type { Queryable } from './pool.ts';

/** `ledger.erased` entries, in order; their bodies are kept for ever. */
export async function readErasureStatements(db: Queryable): Promise<readonly StoredStatement[]> {
  const { rows } = await db.query<StoredStatement>(
    `select index, bytes, signature from first_entries
      where kind = 'ledger.erased' and bytes is not null
      order by index`,
  );
  return rows;
}
