import { randomBytes } from 'node:crypto';
import type { Clock } from '../common/clock.ts';
import { AppError } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import type { Teardown } from '../common/teardown.ts';
import type { CollectorSettings } from './config.ts';
import { ensureDataDir } from './data-dir.ts';
import { openEmbedded } from './postgres/embedded.ts';
import { appliedMigrations, migrate, migrationsDir, missingMigrations, readMigrations } from './postgres/migrate.ts';
import { createPool, type Db, describeDatabase, requireServer } from './postgres/pool.ts';

/** A database that answers. */
export interface OpenDatabase {
  readonly db: Db;
  /** Holds the password. */
  readonly url: string;
  /** Fit to be shown. */
  readonly description: string;
}

export interface DatabaseNeeds {
  readonly settings: CollectorSettings;
  readonly logger: Logger;
  readonly teardown: Teardown;
}

export const applicationName = 'sigilwatch-collector';
const passwordBytes = 24;

/**
 * The database of the settings: the one they name, or the embedded one.
 * @throws AppError `database.unreachable`, `database.migration` (too old) or `validation.config`.
 */
export async function openDatabase({ settings, logger, teardown }: DatabaseNeeds): Promise<OpenDatabase> {
  const { url: given, connections } = settings.database;
  const url = given ?? (await startEmbedded({ settings, logger, teardown }));
  const onIdleError = (error: Error) => logger.warn('database.connection_lost', { error });
  const db = createPool({ url, applicationName, maxConnections: connections, onIdleError });
  teardown.add('database pool', () => db.end());
  await requireServer(db, url);
  const where = describeDatabase(url);
  return { db, url, description: given === undefined ? `embedded PostgreSQL at ${where}` : `PostgreSQL at ${where}` };
}

async function startEmbedded({ settings, logger, teardown }: DatabaseNeeds): Promise<string> {
  await ensureDataDir(settings.dataDir);
  const newPassword = () => randomBytes(passwordBytes).toString('base64url');
  const embedded = await openEmbedded({ dataDir: settings.dataDir, newPassword, logger });
  teardown.add('embedded database', embedded.release);
  return embedded.url;
}

/** Applies the migrations of this program. @returns the names of the files applied. */
export async function migrateDatabase({ url }: OpenDatabase, clock: Clock): Promise<readonly string[]> {
  const applied = await migrate({ url, applicationName }, await readMigrations(migrationsDir), clock);
  return applied.map(({ file }) => file);
}

/** For commands that must not change the tables under a running collector. @throws AppError `database.migration`. */
export async function requireMigrated({ db }: OpenDatabase): Promise<void> {
  const missing = missingMigrations(await readMigrations(migrationsDir), await appliedMigrations(db));
  if (missing.length === 0) return;
  throw new AppError(
    'database.migration',
    `the database lacks ${missing.map(({ file }) => file).join(', ')}: run "sigilwatch-collector migrate", or start the collector once`,
  );
}
