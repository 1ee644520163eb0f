import type { Registry } from 'prom-client';
import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { Teardown } from '../../common/teardown.ts';
import { defaultWitnesses, type WitnessesWanted } from '../../common/witnesses.ts';
import type { CollectorSettings } from '../config.ts';
import { applicationName, type OpenDatabase } from '../database.ts';
import { openManifestFollower, pollManifest } from '../desired/follow.ts';
import type { ManifestFollower } from '../desired/follower.ts';
import { WantedWitnesses } from '../desired/witnesses-wanted.ts';
import { listen } from '../postgres/listen.ts';
import { postgresWantedStore, postgresWitnessStore, witnessChannel } from '../postgres/witness-store.ts';
import type { WitnessedOrders } from '../witness/rounds.ts';
import { createWitnessing, type RunningWitnessing, type WitnessedLedger } from '../witness/start.ts';

export interface WitnessingNeeds {
  readonly database: OpenDatabase;
  readonly ledger: WitnessedLedger;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly teardown: Teardown;
  /** The follower of the manifest, when others use it too; without it one is made, and nothing put on record. */
  readonly manifest?: ManifestFollower;
  readonly orders?: WitnessedOrders;
}

/** Wires the rounds of cosigning to the database, the manifest and the other collectors. Begins nothing yet. */
export async function openWitnessing(settings: CollectorSettings, needs: WitnessingNeeds): Promise<RunningWitnessing> {
  const { database, ledger, registry, clock, logger, teardown } = needs;
  const wanted = await followManifest(settings, needs);
  const witnessing = createWitnessing({
    ...{ ledger, registry, clock, logger, wanted, ...(needs.orders && { orders: needs.orders }) },
    store: postgresWitnessStore(database.db),
    random: Math.random,
  });
  const listener = await listen({
    database: { url: database.url, applicationName },
    channel: witnessChannel,
    onNotify: (word) => witnessing.heard(word),
    // What was missed is found by the next look, a second later.
    onListening: () => {},
    logger,
  });
  teardown.add('witness listener', () => listener.stop());
  teardown.add('witnesses', () => witnessing.stop());
  return witnessing;
}

/** What the manifest in force wants of the witnesses; before the first, what was stored. */
async function followManifest(settings: CollectorSettings, needs: WitnessingNeeds): Promise<() => WitnessesWanted> {
  const { database, logger } = needs;
  const unrecorded = { ...needs, record: async () => {} };
  const follower = needs.manifest ?? (await openManifestFollower(settings, unrecorded));
  if (follower === undefined) return () => defaultWitnesses;
  const witnesses = new WantedWitnesses({ follower, store: postgresWantedStore(database.db), logger });
  await witnesses.restore();
  if (needs.manifest === undefined) await pollManifest(follower, unrecorded);
  else await follower.refresh();
  return () => witnesses.wanted;
}
