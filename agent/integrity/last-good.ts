import type { Clock } from '../../common/clock.ts';
import type { AgentSettings } from '../config.ts';
import { lastGoodOf } from '../sigils/kept/last-good.ts';
import { recordsInPlaces } from '../sigils/kept/records-in-places.ts';
import type { FindGoodCopies } from './report.ts';

/** Looks for good copies of records in the snapshots that are kept, by what the settings have records checked with. */
export function goodCopyFinder({ dataDir, sigils }: AgentSettings, clock: Clock): FindGoodCopies {
  const options = { secrets: sigils.secrets, clock };
  return async (store, findings, maxPlaces) => {
    const path = sigils.stores[store];
    // Snapshots that cannot be read have nothing that is good, and are no reason to report less.
    const lastGood = await lastGoodOf(dataDir, store, findings, options).catch(() => new Map());
    if (typeof path !== 'string') return { lastGood, records: new Map() };
    const places = { ...options, dataDir, store, path, maxPlaces };
    return { lastGood, records: await recordsInPlaces(findings, places).catch(() => new Map()) };
  };
}
