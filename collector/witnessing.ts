import type { Registry } from 'prom-client';
import type { Clock } from '../common/clock.ts';
import { toAppError } from '../common/errors.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import type { Teardown } from '../common/teardown.ts';
import { defaultWitnesses } from '../common/witnesses.ts';
import type { CollectorSettings } from './config.ts';
import { applicationName, type OpenDatabase } from './database.ts';
import { gitRepository } from './desired/git.ts';
import { WantedWitnesses } from './desired/witnesses-wanted.ts';
import { listen } from './postgres/listen.ts';
import { postgresWantedStore, postgresWitnessStore, witnessChannel } from './postgres/witness-store.ts';
import { createWitnessing, type RunningWitnessing, type WitnessedLedger } from './witness/start.ts';

export interface WitnessingNeeds {
  readonly database: OpenDatabase;
  readonly ledger: WitnessedLedger;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly teardown: Teardown;
}

/** Wires the rounds of cosigning to the database, the manifest and the other collectors. Begins nothing yet. */
export async function openWitnessing(settings: CollectorSettings, needs: WitnessingNeeds): Promise<RunningWitnessing> {
  const { database, ledger, registry, clock, logger, teardown } = needs;
  const wanted = await followManifest(settings, needs);
  const witnessing = createWitnessing({
    ...{ ledger, registry, clock, logger, wanted },
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

async function followManifest({ manifest }: CollectorSettings, { database, logger, teardown }: WitnessingNeeds) {
  if (manifest.repository === undefined) return () => defaultWitnesses;
  const repository = gitRepository(manifest.repository);
  const witnesses = new WantedWitnesses({ repository, store: postgresWantedStore(database.db), logger });
  await witnesses.restore();
  await witnesses.refresh();
  const timer = setInterval(() => {
    witnesses.refresh().catch((thrown: unknown) => {
      logger.warn('manifest.not_looked_at', { error: toAppError(thrown) });
    });
  }, limits.manifestPollMs);
  teardown.add('manifest', async () => clearInterval(timer));
  return () => witnesses.wanted;
}
