import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { systemClock } from '../../collector/clock.ts';
import { openEmbedded } from '../../collector/postgres/embedded.ts';
import { migrate, migrationsDir, readMigrations } from '../../collector/postgres/migrate.ts';
import { errnoOf } from '../../common/errors.ts';
import { quietLogger } from '../quiet-logger.ts';
import { until } from '../until.ts';

const run = promisify(execFile);
const makingDeadlineMs = 60_000;

/** Names a folder of this run, for what is made once for all of its files; without one, everybody makes their own. */
export const madeOnceVariable = 'SIGILWATCH_TEST_MADE_ONCE';

/**
 * Puts the embedded database below a collector's data directory as its first start would have made it, with all migrations: a copy of
 * one that this run has made by the same code. Does nothing outside of a run, and where there is a database.
 */
export async function layDatabase(dataDir: string): Promise<void> {
  const made = process.env[madeOnceVariable];
  const target = join(dataDir, databaseFolder);
  if (made === undefined || made === '' || existsSync(target)) return;
  const master = await madeOnce(made);
  // As `ensureDataDir` makes it.
  await mkdir(dirname(dataDir), { recursive: true });
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await run('cp', ['-a', '--reflink=auto', master, target]);
}

const databaseFolder = 'postgres';

/** @returns the folder of a database that nobody runs. */
async function madeOnce(made: string): Promise<string> {
  const master = join(made, databaseFolder);
  const [making, isOurs] = [join(made, 'making'), async () => !existsSync(master) && (await claimed(making))];
  if (await isOurs()) {
    await make(making);
    await rename(join(making, databaseFolder), master);
  } else {
    await until('another test file has made the database', () => existsSync(master), makingDeadlineMs);
  }
  return master;
}

/** Whether nobody else has come first. */
async function claimed(folder: string): Promise<boolean> {
  return mkdir(folder).then(
    () => true,
    (thrown: unknown) => {
      if (errnoOf(thrown) === 'EEXIST') return false;
      throw thrown;
    },
  );
}

async function make(dataDir: string): Promise<void> {
  // PostgreSQL's own user passes through.
  await chmod(dataDir, 0o711);
  const newPassword = () => randomBytes(16).toString('hex');
  const embedded = await openEmbedded({ dataDir, newPassword, logger: quietLogger });
  try {
    await migrate({ url: embedded.url, applicationName: 'test' }, await readMigrations(migrationsDir), systemClock);
  } finally {
    await embedded.release();
  }
  // Each copy looks for a port of its own.
  for (const name of ['port', 'server.log']) await rm(join(dataDir, databaseFolder, name), { force: true });
}
