import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

/** Started for the file, or the server that {@link testDatabaseVariable} names. */
export async function startPostgres(): Promise<TestPostgres> {
  const server = await openTestServer();
  const made: string[] = [];
  const create = async (template: string): Promise<string> => {
    const name = `sigilwatch_test_${randomBytes(6).toString('hex')}`;
    await inMaintenance(server.url, `create database ${name} template ${template}`);
    made.push(name);
    return withDatabase(server.url, name);
  };
  let template: Promise<string> | undefined;
  const makeTemplate = async (): Promise<string> => {
    const url = await create('template0');
    await migrate({ url, applicationName: 'test' }, await readMigrations(migrationsDir), systemClock);
    return new URL(url).pathname.slice(1);
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
    copyOf: (url) => create(new URL(url).pathname.slice(1)),
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

/** A few connections; whoever asks for them closes them. */
export function testPool(url: string): Db {
  return createPool({ url, applicationName: 'test', maxConnections: 4, onIdleError: () => {} });
}

export interface TestServer {
  readonly url: string;
  stop(): Promise<void>;
}

export async function openTestServer(): Promise<TestServer> {
  const given = process.env[testDatabaseVariable];
  if (given !== undefined && given !== '') return { url: given, stop: async () => {} };
  const dataDir = await mkdtemp(join(tmpdir(), 'sigilwatch-postgres-'));
  const embedded = await openEmbedded({
    dataDir,
    newPassword: () => randomBytes(16).toString('hex'),
    logger: quietLogger,
  });
  return {
    url: embedded.url,
    stop: async () => {
      await embedded.release();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

async function inMaintenance(url: string, sql: string): Promise<void> {
  const client = await connectClient({ url, applicationName: 'test' });
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}
