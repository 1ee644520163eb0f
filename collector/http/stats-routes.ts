import { type Clock, rfc3339 } from '../../common/clock.ts';
import { stats } from '../api/service-contract.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Queryable } from '../postgres/pool.ts';
import { coverageSince, fleetStats } from '../postgres/query-store.ts';
import { contradictedField } from './contradicted.ts';
import type { Serve } from './serving.ts';

const dayMs = 24 * 60 * 60_000;

export interface StatsSources {
  readonly db: Queryable;
  readonly ledger: Pick<Ledger, 'checkpoint' | 'contradiction' | 'origin' | 'vkey'>;
  readonly clock: Clock;
}

export function addStatsRoutes(serve: Serve, { db, ledger, clock }: StatsSources): void {
  serve.json(stats, async () => {
    const [head, fleet, coverage] = await Promise.all([
      headOf(ledger),
      fleetStats(db),
      coverageSince(db, rfc3339(clock.now() - dayMs)),
    ]);
    return {
      ledger: { origin: ledger.origin, vkey: ledger.vkey, ...head },
      ...fleet,
      coverage_minutes_24h: coverage,
      ...contradictedField(ledger),
    };
  });
}

/** Once contradicted, of what was found in the database then. */
async function headOf(ledger: StatsSources['ledger']) {
  try {
    const { size, root } = await ledger.checkpoint();
    return { size, root: root.toString('base64') };
  } catch (thrown) {
    if (ledger.contradiction === undefined) throw thrown;
    return ledger.contradiction.found ?? { size: 0, root: null };
  }
}
