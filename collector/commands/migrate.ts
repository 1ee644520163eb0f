import { exitCodes } from '../../common/exit-codes.ts';
import { createTeardown } from '../../common/teardown.ts';
import { systemClock } from '../clock.ts';
import { becomeOwner } from '../data/data-dir.ts';
import { migrateDatabase, openDatabase } from '../database.ts';
import { type CommandContext, show, stderrLogger } from './context.ts';

/** Brings the database to the newest version. */
export async function migrateCommand(context: CommandContext): Promise<number> {
  await becomeOwner(context.settings.dataDir);
  const logger = stderrLogger(context.stderr);
  const teardown = createTeardown(logger);
  try {
    const database = await openDatabase({ settings: context.settings, logger, teardown });
    const applied = await migrateDatabase(database, systemClock);
    show(context, { applied }, () => (applied.length === 0 ? 'up to date\n' : `applied ${applied.join(', ')}\n`));
    return exitCodes.done;
  } finally {
    await teardown.run();
  }
}
