import type { RunAlone } from '../integrity/ports.ts';
import { connectClient, type DatabaseOptions, databaseFailure } from './pool.ts';

/** Imports of bundles: two at once would write one answer together. */
export const bundlesLock = 7_600_022;

/** The right belongs to a session of its own: however its process ends, the server takes it back. */
export function aloneWith(database: DatabaseOptions, lock: number): RunAlone {
  return async (work) => {
    const client = await connectClient(database);
    try {
      const { rows } = await client.query<{ got: boolean }>('select pg_try_advisory_lock($1) as got', [lock]);
      if (rows[0]?.got !== true) return undefined;
      return await work({
        confirm: async () => {
          await client.query('select 1').catch((thrown: unknown) => {
            throw databaseFailure(thrown) ?? thrown;
          });
        },
      });
    } finally {
      // A connection that was lost ends badly, and has nothing to give back.
      await client.end().catch(() => {});
    }
  };
}
