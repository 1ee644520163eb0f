import { setTimeout as delay } from 'node:timers/promises';
import { limits } from '../../common/limits.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { defaultWitnesses } from '../../common/witnesses.ts';
import { systemClock } from '../clock.ts';
import type { CollectorSettings } from '../config.ts';
import type { OpenDatabase } from '../database.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { postgresWantedStore, postgresWitnessStore } from '../postgres/witness-store.ts';
import { awaitCovering, type CoveringCheckpoint, checkpointBeyond } from '../witness/covering.ts';
import { roundEveryMs } from '../witness/pace.ts';
import { type PublishedWitnesses, publishWitnesses } from '../witness/published.ts';
import { createRosterMaker } from '../witness/roster.ts';

/** What the running collectors have published about their witnesses, for whatever works beside them. */
export interface WitnessesBeside {
  readonly published: PublishedWitnesses;
  /** Waits a little for witnesses of a ledger that is being served. */
  covering(size: number): Promise<CoveringCheckpoint>;
  /** The checkpoint to keep the entries from `from` on with; undefined while it is worth waiting for witnesses. */
  beyond(from: number): Promise<CoveringCheckpoint | undefined>;
}

export function witnessesBeside(
  { manifest }: CollectorSettings,
  { database, ledger }: { readonly database: OpenDatabase; readonly ledger: Ledger },
): WitnessesBeside {
  const store = postgresWitnessStore(database.db);
  const wantedStore = postgresWantedStore(database.db);
  const rosterOf = createRosterMaker(ledger.origin);
  // What the running collector made of the manifest, and not what it says at this moment.
  const wanted = async () => (manifest.repository === undefined ? undefined : await wantedStore.wanted());
  const roster = async () => rosterOf(await store.activeNodes(), (await wanted()) ?? defaultWitnesses);
  const logKey = parseVerifierKey(ledger.vkey);
  const latest = () => ledger.checkpoint();
  const published = publishWitnesses({ logKey, store, roster, checkpoint: latest, clock: systemClock });
  /** As long as it takes until the next round begins, and then a little. */
  const patience = async () => {
    const roundMs = roundEveryMs((await roster()).witnesses.length) - limits.witnessRoundMs;
    const tries = Math.ceil((roundMs + limits.witnessPatienceMs) / limits.witnessPatienceStepMs);
    return { tries, pause: () => delay(limits.witnessPatienceStepMs) };
  };
  const options = { logKey, store, roster, published, latest };
  return {
    published,
    covering: async (size) => awaitCovering(size, options, await patience()),
    beyond: (from) => checkpointBeyond(from, options, systemClock.now() - limits.maxUnwitnessedMs),
  };
}
