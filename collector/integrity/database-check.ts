import type { Clock } from '../../common/clock.ts';
import type { LedgerCheck } from '../../common/ledger-check.ts';
import { undisturbed } from '../postgres/erasure-run-store.ts';
import { createPool } from '../postgres/pool.ts';
import { postgresReplays } from '../postgres/replay-store.ts';
import { damageOf, postgresStoredLedger } from '../postgres/stored-ledger.ts';
import { openSignatureThreads } from '../signatures/threads.ts';
import { type CheckedLedger, type CheckProgress, checkLedger } from './check.ts';
import { restfulLedger, restfulReplays, restingAt } from './pace.ts';

/** Shown by `pg_stat_activity`, so that whoever looks knows what these sessions are. */
const applicationName = 'sigilwatch-integrity';
/** What verification reads at once: two stretches, and what belongs to them. */
const maxConnections = 4;

export interface DatabaseCheck {
  readonly url: string;
  /** Of the time that it may work; 1 for all of it. */
  readonly share: number;
  /** That check signatures. */
  readonly threads: number;
  readonly clock: Clock;
  readonly onProgress?: CheckProgress;
}

/** {@link checkLedger} on connections of its own. Never rejects. */
export async function checkDatabase(ledger: CheckedLedger, needs: DatabaseCheck): Promise<LedgerCheck> {
  const { url, share, threads: count, clock, onProgress } = needs;
  const database = { url, applicationName };
  // A connection that breaks while it is idle is found by whoever uses it next.
  const db = createPool({ ...database, maxConnections, onIdleError: () => {} });
  const threads = openSignatureThreads(count);
  const rest = restingAt(share, clock);
  try {
    return await checkLedger(ledger, {
      stored: restfulLedger(postgresStoredLedger(db), rest),
      replays: restfulReplays(postgresReplays(database), rest),
      undisturbed: (work) => undisturbed(database, work),
      verifySignature: threads.verify,
      ...{ damageOf, clock, onProgress },
    });
  } finally {
    await threads.close();
    await db.end();
  }
}
