import type { Clock } from '../../common/clock.ts';
import type { AgentSettings } from '../config.ts';
import { lastGoodOf } from '../sigils/kept/last-good.ts';
import type { FindLastGood } from './report.ts';

/** Looks for good copies of records in the snapshots that are kept, by what the settings have records checked with. */
export function lastGoodFinder({ dataDir, sigils }: AgentSettings, clock: Clock): FindLastGood {
  const { secrets } = sigils;
  // Snapshots that cannot be read have nothing that is good, and are no reason to report less.
  return (store, findings) => lastGoodOf(dataDir, store, findings, { secrets, clock }).catch(() => new Map());
}
