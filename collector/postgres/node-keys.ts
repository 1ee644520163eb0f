import { publicKeyFromRaw } from '../../common/keys.ts';
import type { NodeKeys } from '../ws/ports.ts';
import type { Db } from './pool.ts';

/** The enrolled keys, read anew each time: a revocation counts from the commit on. */
export function postgresNodeKeys(db: Db): NodeKeys {
  return {
    key: async (node) => {
      const row = await readKey(db, node);
      return row && { publicKey: publicKeyFromRaw(row.public_key), fingerprint: row.fingerprint, revoked: row.revoked };
    },
  };
}

async function readKey(db: Db, node: string) {
  const { rows } = await db.query<{ public_key: Buffer; fingerprint: string; revoked: boolean }>(
    'select public_key, fingerprint, revoked_at is not null as revoked from nodes where node = $1',
    [node],
  );
  return rows[0];
}
