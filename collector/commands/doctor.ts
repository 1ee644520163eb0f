import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Check, checkAll, checksExitCode, formatChecks, NotChecked } from '../../common/checkup.ts';
import { createTeardown } from '../../common/teardown.ts';
import type { CollectorSettings } from '../config.ts';
import { becomeOwner } from '../data/data-dir.ts';
import { type DatabaseNeeds, type OpenDatabase, openDatabase } from '../database.ts';
import { databasePlans, seeDatabase } from '../doctor/database.ts';
import { fleetPlans } from '../doctor/fleet.ts';
import { ledgerPlans } from '../doctor/ledger.ts';
import { machinePlans, requireOwnDataDir } from '../doctor/machine.ts';
import { workPlans } from '../doctor/work.ts';
import { type CommandContext, notElsewhere, show, stderrLogger } from './context.ts';

/** Looks at everything the collector depends on, whether it runs or not. Exit code 1 when something is wrong. */
export async function doctor(context: CommandContext): Promise<number> {
  const { settings, server } = context;
  if (server !== undefined) throw notElsewhere();
  await becomeOwner(settings.dataDir);
  const checks = await examine(settings, context);
  show(context, checks, formatChecks);
  return checksExitCode(checks);
}

async function examine(settings: CollectorSettings, { stderr }: Pick<CommandContext, 'stderr'>): Promise<Check[]> {
  const logger = stderrLogger(stderr);
  const teardown = createTeardown(logger);
  try {
    const open = openExisting({ settings, logger, teardown });
    const seen = seeDatabase(open);
    const groups = await Promise.all([
      checkAll('machine', machinePlans(settings)),
      checkAll('database', databasePlans(settings, seen)),
      checkAll('ledger', ledgerPlans(settings, seen, logger)),
      checkAll('fleet', fleetPlans(settings, seen)),
      checkAll('work', workPlans(settings, seen)),
    ]);
    return groups.flat();
  } finally {
    await teardown.run();
  }
}

/**
 * The database that is there. An embedded one is started for as long as it is looked at, but never made, and never as anybody but its
 * owner: what that left behind the collector could not use.
 */
async function openExisting(needs: DatabaseNeeds): Promise<OpenDatabase> {
  const { dataDir, database } = needs.settings;
  if (database.url === undefined && database.ownerUrl === undefined) {
    await requireOwnDataDir(dataDir);
    const found = await stat(join(dataDir, 'postgres')).catch(() => undefined);
    if (found === undefined) throw new NotChecked('the first start makes it', 'see service');
  }
  return openDatabase(needs);
}
