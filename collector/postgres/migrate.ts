import { hash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { connectedAs } from './doctor-store.ts';
import { connectClient, type DatabaseOptions, inTransaction, type Queryable, requireServer, type Tx } from './pool.ts';

/** One numbered SQL file. Once applied it never changes. */
export interface Migration {
  readonly version: number;
  /** `0001_ledger.sql` */
  readonly file: string;
  readonly sql: string;
  /** Hex SHA-256 of the file. */
  readonly checksum: string;
}

/**
 * Whether it takes away or changes what collectors of the version before still use: its first line says so, with the reason, as
 * `-- contracts: why`. Any other leaves them working (docs/upgrades.md).
 */
export function contracts({ sql }: Pick<Migration, 'sql'>): boolean {
  return /^-- contracts: \S/.test(sql);
}

export interface AppliedMigration {
  readonly version: number;
  readonly checksum: string;
}

/** The migrations of this program; the build copies them beside its bundle. */
export const migrationsDir = fileURLToPath(new URL('./migrations/', import.meta.url));

/** Any number will do as long as every collector takes the same: who holds it migrates. */
const migrationLock = 7_600_001;

/**
 * The numbered files of a folder, in order.
 * @throws AppError `database.migration` for a file whose name has no number, or two with the same one.
 */
export async function readMigrations(dir: string): Promise<readonly Migration[]> {
  const files = (await readdir(dir)).filter((file) => file.endsWith('.sql')).sort();
  const migrations = await Promise.all(files.map((file) => readMigration(dir, file)));
  for (const [i, { version, file }] of migrations.entries()) {
    if (version !== i + 1) throw refused(`${file} should have number ${i + 1}: they run from 1 without gaps`, { file });
  }
  return migrations;
}

async function readMigration(dir: string, file: string): Promise<Migration> {
  const [, digits] = /^([0-9]{4})_[a-z0-9_]+\.sql$/.exec(file) ?? [];
  if (digits === undefined) throw refused(`${file} in ${dir} is not named like 0001_what_it_does.sql`, { file });
  const sql = await readFile(join(dir, file), 'utf8');
  return { version: Number(digits), file, sql, checksum: hash('sha256', sql, 'hex') };
}

/**
 * Brings the database to the newest version: each missing migration in its own transaction, in order. Does nothing when
 * there is nothing to do. Collectors that start at once take turns.
 *
 * Runs on one connection of its own, because the advisory lock that orders them belongs to a session and not to a pool.
 * @returns the migrations applied by this call.
 * @throws AppError `database.migration` when the database and the files do not belong together, or a file fails;
 *   `database.unreachable`.
 */
export async function migrate(
  database: DatabaseOptions,
  migrations: readonly Migration[],
  clock: Clock,
): Promise<readonly Migration[]> {
  const client = await connectClient(database);
  try {
    await requireServer(client, database.url);
    await client.query('select pg_advisory_lock($1)', [migrationLock]);
    const missing = missingMigrations(migrations, await appliedMigrations(client));
    // Only now: a user who may make no tables can still find that nothing is missing.
    if (missing.length > 0) await createMigrationsTable(client);
    await requireAlone(client, missing, database.applicationName);
    for (const migration of missing) await apply(client, migration, clock);
    return missing;
  } finally {
    // Ending the session gives the lock back.
    await client.end();
  }
}

/**
 * A collector that runs on under a migration that contracts would fail where nobody expects it. Each that is up has a session whose
 * name begins with the program's and tells its version. One of an earlier version that starts later finds a newer database.
 * @throws AppError `database.migration`
 */
async function requireAlone(client: Queryable, missing: readonly Migration[], program: string): Promise<void> {
  const contracting = missing.find(contracts);
  if (contracting === undefined) return;
  const others = await connectedAs(client, `${program} `);
  if (others.length === 0) return;
  const { file } = contracting;
  const where = others.map(({ applicationName, address }) => `${applicationName} at ${address ?? 'this host'}`);
  throw refused(
    `${file} takes away what collectors of an earlier version use, and ${others.length} still ${others.length === 1 ? 'runs' : 'run'} ` +
      `(${where.slice(0, shownCollectors).join(', ')}): stop them all, then start this one. Agents keep their entries meanwhile`,
    { file, collectors: others.length },
  );
}

const shownCollectors = 4;

/**
 * The migrations that `applied` lacks.
 * @throws AppError `database.migration` when an applied file was edited or removed, or is from a newer program.
 */
export function missingMigrations(
  migrations: readonly Migration[],
  applied: readonly AppliedMigration[],
): readonly Migration[] {
  for (const [i, { version, checksum }] of applied.entries()) {
    if (version !== i + 1) throw refused(`the database lacks migration ${i + 1} but has ${version}`, { version });
    const file = migrations[i];
    if (file === undefined) throw newerDatabase(version, migrations.length);
    if (file.checksum !== checksum) throw editedFile(file, checksum);
  }
  return migrations.slice(applied.length);
}

function newerDatabase(version: number, known: number): AppError {
  return refused(
    `the database has migration ${version}, this program only knows ${known}: a newer collector has used it. Install that version, or point DATABASE_URL elsewhere`,
    { version, known },
  );
}

function editedFile({ file, checksum }: Migration, appliedChecksum: string): AppError {
  return refused(
    `${file} was edited after it was applied: its SHA-256 is ${checksum}, the database has ${appliedChecksum}. Restore the file; changes belong into a new one`,
    { file, checksum, appliedChecksum },
  );
}

async function apply(client: Tx, migration: Migration, clock: Clock): Promise<void> {
  const startedMs = clock.monotonicMs();
  try {
    await inTransaction(client, async (tx) => {
      await tx.query(migration.sql);
      await insertApplied(tx, migration, clock.now(), Math.round(clock.monotonicMs() - startedMs));
    });
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw refused(`${migration.file} failed and was rolled back: ${reason}`, { file: migration.file }, thrown);
  }
}

/** What the database says has been applied, in order; nothing for a database that was never migrated. */
export async function appliedMigrations(db: Queryable): Promise<readonly AppliedMigration[]> {
  const { rows: tables } = await db.query<{ found: boolean }>(
    `select to_regclass('schema_migrations') is not null as found`,
  );
  if (tables[0]?.found !== true) return [];
  const { rows } = await db.query<AppliedMigration>('select version, checksum from schema_migrations order by version');
  return rows;
}

function createMigrationsTable(client: Tx): Promise<unknown> {
  return client.query(
    `create table if not exists schema_migrations (
       version     integer     primary key,
       checksum    text        not null,
       applied_at  timestamptz not null,
       duration_ms integer     not null
     )`,
  );
}

function insertApplied(tx: Tx, { version, checksum }: Migration, now: number, durationMs: number): Promise<unknown> {
  return tx.query(
    'insert into schema_migrations (version, checksum, applied_at, duration_ms) values ($1, $2, $3, $4)',
    [version, checksum, rfc3339(now), durationMs],
  );
}

function refused(message: string, details: Record<string, unknown>, cause?: unknown): AppError {
  return new AppError('database.migration', message, cause === undefined ? { details } : { details, cause });
}
