import { type Check, checkAll } from '../../common/checkup.ts';
import type { AgentSettings } from '../config.ts';
import { collectorPlans, seeCollector } from '../doctor/collector.ts';
import { desiredPlans } from '../doctor/desired.ts';
import { machinePlans } from '../doctor/machine.ts';
import { runningPlans } from '../doctor/running.ts';
import { watchingPlans } from '../doctor/watching.ts';
import { askStatus } from './status.ts';

/** Looks at everything the agent depends on. Changes nothing. */
export async function examine(settings: AgentSettings): Promise<Check[]> {
  const seen = seeCollector(settings);
  const status = askStatus(settings);
  // Whoever looks hears of it.
  status.catch(() => {});
  const groups = await Promise.all([
    checkAll('machine', machinePlans(settings, seen)),
    checkAll('collector', collectorPlans(settings, seen)),
    checkAll('watched', watchingPlans(settings, status)),
    checkAll('desired state', desiredPlans(settings)),
    checkAll('agent', runningPlans(settings, seen, status)),
  ]);
  return groups.flat();
}
