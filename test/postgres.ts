import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { systemClock } from '../collector/clock.ts';
import { openEmbedded } from '../collector/postgres/embedded.ts';
import { migrate, migrationsDir, readMigrations } from '../collector/postgres/migrate.ts';
import { connectClient, createPool, type Db } from '../collector/postgres/pool.ts';
import { grantToWriter } from '../collector/postgres/roles.ts';
import { quietLogger } from './quiet-logger.ts';

/** A real PostgreSQL for one test file. */
export interface TestPostgres {
  /** URL of a new database without tables. */
  emptyDatabase(): Promise<string>;
  /** URL of a new database with all migrations. */
  migratedDatabase(): Promise<string>;
  /** The same, and the URL of a restricted user such as a collector works as. */
  writerDatabase(): Promise<{ readonly url: string; readonly ownerUrl: string }>;
  /** URL of a copy of a database that nobody is connected to: a backup, or a fork. */
  copyOf(url: string): Promise<string>;
  /** A user without any rights, on the database of `url`. @returns the URL for it. */
  stranger(url: string): Promise<string>;
  /** Connections to a database, closed by {@link stop}. */
  pool(url: string): Db;
  stop(): Promise<void>;
}

/** Names the server to use instead of a new one. Its user must be able to create databases and roles. */
export const testDatabaseVariable = 'SIGILWATCH_TEST_DATABASE_URL';

/** Names a database of that server with all migrations, to which nobody is connected; each file makes its own otherwise. */
export const testTemplateVariable = 'SIGILWATCH_TEST_DATABASE_TEMPLATE';

/** Started for the file, or the server that {@link testDatabaseVariable} names. */
export async function startPostgres(): Promise<TestPostgres> {
  const server = await openTestServer();
  const made: string[] = [];
  const create = async (template: string): Promise<string> => {
    const url = await createDatabase(server.url, template);
    made.push(databaseOf(url));
    return url;
  };
  let template: Promise<string> | undefined;
  const makeTemplate = async (): Promise<string> => {
    const given = process.env[testTemplateVariable];
    if (given !== undefined && given !== '') return given;
    const name = await makeTestTemplate(server.url);
    made.push(name);
    return name;
  };
  const users: string[] = [];
  const stranger = async (url: string): Promise<string> => {
    const name = `sigilwatch_test_user_${randomBytes(6).toString('hex')}`;
    await inMaintenance(server.url, `create role ${name} login password 'word'`);
    users.push(name);
    return Object.assign(new URL(url), { username: name, password: 'word' }).href;
  };
  const pools: Db[] = [];
  return {
    stranger,
    pool: (url) => {
      const pool = testPool(url);
      pools.push(pool);
      return pool;
    },
    writerDatabase: async () => {
      template ??= makeTemplate();
      const ownerUrl = await create(await template);
      const url = await stranger(ownerUrl);
      await grantToWriter({ url: ownerUrl, applicationName: 'test' }, new URL(url).username);
      return { url, ownerUrl };
    },
    emptyDatabase: () => create('template0'),
    copyOf: (url) => create(databaseOf(url)),
    migratedDatabase: async () => {
      template ??= makeTemplate();
      return create(await template);
    },
    stop: async () => {
      for (const pool of pools) await pool.end();
      for (const name of made) await inMaintenance(server.url, `drop database if exists ${name} with (force)`);
      for (const name of users) await inMaintenance(server.url, `drop role if exists ${name}`);
      await server.stop();
    },
  };
}

/** A few connections; whoever asks for them closes them. However many ask at once, and on however slow a machine, each gets its turn. */
export function testPool(url: string): Db {
  const pool = createPool({ url, applicationName: 'test', maxConnections: 4, onIdleError: () => {} });
  pool.options.connectionTimeoutMillis = 120_000;
  return pool;
}

export interface TestServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** @returns the name of a new database with all migrations. */
export async function makeTestTemplate(serverUrl: string): Promise<string> {
  const url = await createDatabase(serverUrl, 'template0');
  await migrate({ url, applicationName: 'test' }, await readMigrations(migrationsDir), systemClock);
  return databaseOf(url);
}

/**
 * A server of our own does not wait for its disk: tests kill programs, not the machine, and each database that is made or dropped
 * would wait for all of it to be written.
 */
export async function openTestServer(): Promise<TestServer> {
  const given = process.env[testDatabaseVariable];
  if (given !== undefined && given !== '') return { url: given, stop: async () => {} };
  const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-postgres-'));
  const embedded = await openEmbedded({
    dataDir,
    newPassword: () => randomBytes(16).toString('hex'),
    logger: quietLogger,
  });
  await inMaintenance(embedded.url, 'alter system set fsync = off');
  await inMaintenance(embedded.url, 'select pg_reload_conf()');
  return {
    url: embedded.url,
    stop: async () => {
      await embedded.release();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** @returns its URL. */
async function createDatabase(serverUrl: string, template: string): Promise<string> {
  const name = `sigilwatch_test_${randomBytes(6).toString('hex')}`;
  // File by file, where it can be chosen: the other way writes every page to the log as well.
  await inMaintenance(serverUrl, async (client) => {
    const { rows } = await client.query<{ version: string }>(`select current_setting('server_version_num') as version`);
    const strategy = Number(rows[0]?.version) >= 150_000 ? 'strategy file_copy' : '';
    await client.query(`create database ${name} template ${template} ${strategy}`);
  });
  return withDatabase(serverUrl, name);
}

async function inMaintenance(url: string, work: string | ((client: pg.Client) => Promise<void>)): Promise<void> {
  const client = await connectClient({ url, applicationName: 'test' });
  try {
    if (typeof work === 'string') await client.query(work);
    else await work(client);
  } finally {
    await client.end();
  }
}

const databaseOf = (url: string): string => new URL(url).pathname.slice(1);

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
