import { z } from 'zod';
import type { Ledger } from '../ledger/ledger.ts';
import type { PublishedWitnesses } from '../witness/published.ts';
import { contradictedField } from './contradicted.ts';
import type { Routes } from './env.ts';
import { readQuery } from './query.ts';
import { together } from './together.ts';

/** Who witnesses the ledger: the policy for offline verifiers (C2SP tlog-policy), and how far the witnesses have come. */
export function addWitnessRoutes(
  routes: Routes,
  witnesses: PublishedWitnesses,
  ledger: Pick<Ledger, 'contradiction'>,
): void {
  const policy = together(witnesses.policy);
  routes.get('/log/policy.txt', async (c) => {
    readQuery(c, z.strictObject({}));
    return c.body(await policy(), 200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-cache',
    });
  });
  routes.get('/api/v1/witnesses', async (c) => {
    readQuery(c, z.strictObject({}));
    return c.json({ ...(await witnesses.view()), ...contradictedField(ledger) });
  });
}
