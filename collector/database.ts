import { randomBytes } from 'node:crypto';
import type { Clock } from '../common/clock.ts';
import { AppError, errnoOf } from '../common/errors.ts';
import type { Logger } from '../common/log.ts';
import type { Teardown } from '../common/teardown.ts';
import type { CollectorSettings } from './config.ts';
import { ensureDataDir } from './data/data-dir.ts';
import { openEmbedded } from './postgres/embedded.ts';
import { looseSettings, missingGuards, missingStandby } from './postgres/guards.ts';
import { appliedMigrations, migrate, migrationsDir, missingMigrations, readMigrations } from './postgres/migrate.ts';
import { createPool, type Db, describeDatabase, requireServer } from './postgres/pool.ts';
import { currentUser, grantToWriter, insufficientPrivilege, rewritingPowers } from './postgres/roles.ts';

/** A database that answers. */
export interface OpenDatabase {
  /** As the restricted role, where there is one: all that a collector does but migrating and dropping. */
  readonly db: Db;
  /** Of the same role. Holds the password. */
  readonly url: string;
  /** Of who owns the tables: for migrations, and for dropping what retention lets go. Equals `url` when there is one user only. */
  readonly ownerUrl: string;
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
  const { connections } = settings.database;
  const { url, ownerUrl, kind } = await logins({ settings, logger, teardown });
  let isEnding = false;
  // The pool has ended before its connections have: an embedded server that stops next may be the one to close them.
  const onIdleError = (error: Error) => {
    if (!isEnding) logger.warn('database.connection_lost', { error });
  };
  const db = createPool({ url, applicationName, maxConnections: connections, onIdleError });
  teardown.add('database pool', () => {
    isEnding = true;
    return db.end();
  });
  await requireServer(db, url);
  await warnOfMissingStandby(db, logger);
  return { db, url, ownerUrl, description: `${kind} at ${describeDatabase(url)}` };
}

async function logins({ settings, logger, teardown }: DatabaseNeeds) {
  const { url, ownerUrl = url } = settings.database;
  if (url !== undefined && ownerUrl !== undefined) return { url, ownerUrl, kind: 'PostgreSQL' };
  if (ownerUrl !== undefined) {
    throw new AppError(
      'validation.config',
      'database.ownerUrl (DATABASE_OWNER_URL) is set, but database.url (DATABASE_URL), the user that the collector works as, is not',
    );
  }
  await ensureDataDir(settings.dataDir);
  const newPassword = () => randomBytes(passwordBytes).toString('base64url');
  const embedded = await openEmbedded({ dataDir: settings.dataDir, newPassword, logger });
  teardown.add('embedded database', embedded.release);
  return { url: embedded.writerUrl, ownerUrl: embedded.url, kind: 'embedded PostgreSQL' };
}

/**
 * Applies the migrations of this program as the owner, and gives the collector's role what it needs and nothing more.
 * @returns the names of the files applied.
 * @throws AppError `database.migration`, `database.unreachable`.
 */
export async function migrateDatabase({ db, url, ownerUrl }: OpenDatabase, clock: Clock): Promise<readonly string[]> {
  const owner = { url: ownerUrl, applicationName };
  const applied = await migrate(owner, await readMigrations(migrationsDir), clock).catch((thrown: unknown) => {
    throw (ownerUrl === url ? lacksRights(thrown) : ownerLacksRights(thrown)) ?? thrown;
  });
  if (ownerUrl !== url) await grantToWriter(owner, await currentUser(db));
  return applied.map(({ file }) => file);
}

/**
 * Says so when the user that the collector works as could change the ledger's past: it works all the same, but then only
 * proofs and checkpoints outside of the database guard the history.
 */
async function warnOfRewritingPowers({ db }: OpenDatabase, logger: Logger): Promise<void> {
  const powers = await rewritingPowers(db);
  if (powers.length === 0) return;
  const user = await currentUser(db);
  const remedy =
    'give database.url (DATABASE_URL) a user that owns nothing, and database.ownerUrl (DATABASE_OWNER_URL) the one that owns the tables';
  logger.warn('database.role_may_rewrite', { user, powers, remedy });
}

/** Says so when the next commit will wait for a standby that is not there. Before anything is written: from then on nothing is said. */
async function warnOfMissingStandby(db: Db, logger: Logger): Promise<void> {
  const standbys = await missingStandby(db);
  if (standbys === undefined) return;
  const meaning =
    'nothing is written or acknowledged until a standby named by synchronous_standby_names follows the server (docs/backup.md)';
  logger.warn('database.no_standby', { standbys, meaning });
}

/** Says so when something that guards the ledger inside the database is not as it should be; nothing depends on it. */
export async function warnOfWeaknesses(database: OpenDatabase, logger: Logger): Promise<void> {
  await warnOfRewritingPowers(database, logger);
  const missing = await missingGuards(database.db);
  if (missing.length > 0) {
    const remedy =
      'somebody who owns the tables took down what refuses changes: run "sigilwatch-collector ledger verify", then see docs/tamper-resistance.md';
    logger.warn('database.guards_missing', { missing, remedy });
  }
  const settings = await looseSettings(database.db);
  if (settings.length > 0) {
    logger.warn('database.not_durable', {
      settings,
      risk: 'a power cut or a failover may take back what was acknowledged',
    });
  }
}

/** A user without the rights to migrate, or one to whom nothing was granted yet. */
function lacksRights(thrown: unknown): AppError | undefined {
  const remedy =
    'Run "sigilwatch-collector migrate" with database.ownerUrl (DATABASE_OWNER_URL) set to the user who owns the tables; it grants what is needed';
  return refused(thrown, 'database.url', remedy);
}

/** Before PostgreSQL 15 the schema `public` does not belong to who owns the database. */
function ownerLacksRights(thrown: unknown): AppError | undefined {
  const remedy =
    'It has to own the database and its schema; a superuser can run, in that database: alter schema public owner to <owner>; grant create on database <database> to <owner>';
  return refused(thrown, 'database.ownerUrl', remedy);
}

function refused(thrown: unknown, whose: string, remedy: string): AppError | undefined {
  const cause = thrown instanceof AppError ? thrown.cause : thrown;
  if (errnoOf(cause) !== insufficientPrivilege) return undefined;
  const reason = cause instanceof Error ? cause.message : '';
  return new AppError('database.migration', `the user of ${whose} may not do that: ${reason}. ${remedy}`, {
    cause: thrown,
  });
}

/** For commands that must not change the tables under a running collector. @throws AppError `database.migration`. */
export async function requireMigrated({ db }: OpenDatabase): Promise<void> {
  const applied = await appliedMigrations(db).catch((thrown: unknown) => {
    throw lacksRights(thrown) ?? thrown;
  });
  const missing = missingMigrations(await readMigrations(migrationsDir), applied);
  if (missing.length === 0) return;
  throw new AppError(
    'database.migration',
    `the database lacks ${missing.map(({ file }) => file).join(', ')}: run "sigilwatch-collector migrate", or start the collector once`,
  );
}
