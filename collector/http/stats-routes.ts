import { z } from 'zod';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Queryable } from '../postgres/pool.ts';
import { coverageSince, fleetStats } from '../postgres/query-store.ts';
import type { Routes } from './env.ts';
import { readQuery } from './query.ts';

const dayMs = 24 * 60 * 60_000;

export interface StatsSources {
  readonly db: Queryable;
  readonly ledger: Pick<Ledger, 'checkpoint' | 'origin' | 'vkey'>;
  readonly clock: Clock;
}

export function addStatsRoutes(routes: Routes, { db, ledger, clock }: StatsSources): void {
  routes.get('/api/v1/stats', async (c) => {
    readQuery(c, z.strictObject({}));
    const [head, fleet, coverage] = await Promise.all([
      ledger.checkpoint(),
      fleetStats(db),
      coverageSince(db, rfc3339(clock.now() - dayMs)),
    ]);
    return c.json({
      ledger: { origin: ledger.origin, vkey: ledger.vkey, size: head.size, root: head.root.toString('base64') },
      ...fleet,
      coverage_minutes_24h: coverage,
    });
  });
}
