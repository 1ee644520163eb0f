import { logPolicy, witnessList, witnessPins } from '../api/ledger-contract.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { WitnessStore } from '../witness/ports.ts';
import type { PublishedWitnesses, WitnessesView } from '../witness/published.ts';
import { pinsOf } from '../witness/roster.ts';
import { contradictedField } from './contradicted.ts';
import type { Serve } from './serving.ts';
import { together } from './together.ts';

/** Whom to believe, for offline verifiers (C2SP tlog-policy). */
export function addPolicyRoute(serve: Serve, witnesses: Pick<PublishedWitnesses, 'policy'>): void {
  const policy = together(witnesses.policy);
  serve.raw(logPolicy, async (_, c) => {
    return c.body(await policy(), 200, {
      'Content-Type': 'text/plain; charset=utf-8',
      'Cache-Control': 'no-cache',
    });
  });
}

export interface WitnessesSources {
  readonly view: () => Promise<WitnessesView>;
  readonly activeNodes: WitnessStore['activeNodes'];
  readonly ledger: Pick<Ledger, 'contradiction' | 'origin'>;
}

/** Who witnesses the ledger, how far they have come, and what a manifest would name them by. */
export function addWitnessesRoutes(serve: Serve, { view, activeNodes, ledger }: WitnessesSources): void {
  serve.json(witnessList, async () => ({ ...(await view()), ...contradictedField(ledger) }));
  serve.json(witnessPins, async () => ({
    witnesses: { nodes: pinsOf(ledger.origin, await activeNodes()) },
    ...contradictedField(ledger),
  }));
}
