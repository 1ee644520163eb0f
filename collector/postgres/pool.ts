import { Socket } from 'node:net';
import pg from 'pg';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { askedAfter, hasSession } from './asked-after.ts';
import { namesOf, PrimaryClient, serversOf } from './primary.ts';

/** The pool every store reads through. */
export type Db = pg.Pool;

/** A connection with an open transaction. Stores take it as an argument and never open one behind the caller's back. */
export type Tx = pg.ClientBase;

/** Whatever can run one statement that needs no transaction around it. */
export type Queryable = Db | Tx;

export interface DatabaseOptions {
  /** `postgres://user:password@host:port/database`; with several `host:port`, that of them is used that takes writes. */
  readonly url: string;
  /** Shown by `pg_stat_activity`. */
  readonly applicationName: string;
}

export interface PoolOptions extends DatabaseOptions {
  readonly maxConnections: number;
  /** Told when an idle connection breaks; the pool has already replaced it. */
  readonly onIdleError: (error: Error) => void;
  /** How long a connection may be without a byte either way; `limits.databaseSilentMs` unless given. */
  readonly silentMs?: number;
}

export interface ClientOptions extends DatabaseOptions {
  /** How long it may be without a byte either way before the server is asked after it; `limits.databaseSilentMs` unless given. */
  readonly silentMs?: number;
}

/** Oldest server whose SQL the stores are written for. */
const oldestServer = { versionNum: 140_000, name: '14' };

/**
 * A pool of connections with bounded statements. Nothing is connected until it is used. The server ends each statement, and each pause
 * within a transaction, before `silentMs` are over: who says nothing for so long has vanished without a word, as behind a network that
 * drops everything. TCP alone would go on sending for a quarter of an hour.
 */
export function createPool({ silentMs = limits.databaseSilentMs, ...options }: PoolOptions): Db {
  const { url, applicationName, maxConnections, onIdleError } = options;
  const pool = new pg.Pool({
    ...connection({ url, applicationName }),
    stream: () => endingInSilence(silentMs),
    ...(serversOf(url).length > 1 && { Client: PrimaryClient }),
    max: maxConnections,
    idleTimeoutMillis: limits.databaseIdleMs,
    statement_timeout: limits.databaseStatementTimeoutMs,
    idle_in_transaction_session_timeout: limits.databaseStatementTimeoutMs,
  });
  pool.on('error', onIdleError);
  return pool;
}

/** A socket, also below TLS, that ends when there was no byte either way for so long. */
function endingInSilence(silentMs: number): Socket {
  const socket = new Socket();
  // How long it takes to connect is bounded otherwise.
  socket.once('connect', () => socket.setTimeout(silentMs));
  return socket.once('timeout', () => {
    const silence = new Error(`the database server has said nothing for ${silentMs} ms`);
    socket.destroy(Object.assign(silence, { code: 'ETIMEDOUT' }));
  });
}

/**
 * A connection of its own, for what must not wander through a pool: advisory locks, LISTEN, and statements that take as long as they take.
 * Without a statement timeout, and the server does not end it for being idle: a lock would be lost in the middle of what it protects, each
 * time. A server that vanished without a word is found out by asking ({@link askedAfter}).
 * The caller ends it.
 * @throws AppError `database.unreachable`.
 */
export async function connectClient(options: ClientOptions): Promise<pg.Client> {
  const { silentMs = limits.databaseSilentMs } = options;
  const several = serversOf(options.url).length > 1;
  let backend: number | undefined;
  const config = {
    ...connection(options),
    stream: () =>
      askedAfter({ silentMs, isThere: async () => backend === undefined || isServed(client, backend, options) }),
  };
  const client: pg.Client = several ? new PrimaryClient(config) : new pg.Client(config);
  // Without a listener a lost connection would end the process; the next query reports it anyway.
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<{ backend: number }>(neverIdle).catch(async (thrown: unknown) => {
      await client.end().catch(() => {});
      throw thrown;
    });
    backend = rows[0]?.backend;
    return client;
  } catch (thrown) {
    throw unreachable(options.url, thrown);
  }
}

/** By the server that it was connected to, and no other one that takes writes meanwhile. */
async function isServed({ host, port }: pg.Client, backend: number, options: ClientOptions): Promise<boolean> {
  const server = serversOf(options.url).find((one) => one.host === host && one.port === port);
  const withinMs = Math.min(options.silentMs ?? limits.databaseSilentMs, limits.databaseConnectTimeoutMs);
  const bounds = { connectionTimeoutMillis: withinMs, query_timeout: withinMs };
  const probe = new pg.Client({ ...connection({ ...options, url: server?.url ?? options.url }), ...bounds });
  return hasSession(probe, backend);
}

/**
 * The setting is where servers are not too old, who are told so later. The backend's number is the server's own: a pooler in between
 * tells clients another one when they connect.
 */
const neverIdle = `
  select pg_backend_pid() as backend,
         (select set_config('idle_session_timeout', '0', false) where current_setting('idle_session_timeout', true) is not null)`;

/**
 * Makes sure that the server answers and is not too old.
 * @throws AppError `database.unreachable` naming host and remedy, or `database.migration` for a server before 14.
 */
export async function requireServer(db: Queryable, url: string): Promise<void> {
  const versionNum = await serverVersion(db).catch((thrown: unknown) => {
    throw unreachable(url, thrown);
  });
  if (versionNum >= oldestServer.versionNum) return;
  throw new AppError(
    'database.migration',
    `${describeDatabase(url)} runs PostgreSQL ${Math.floor(versionNum / 10_000)}; ${oldestServer.name} or later is needed`,
    { details: { versionNum } },
  );
}

async function serverVersion(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ version: number }>(`select current_setting('server_version_num')::int as version`);
  return rows[0]?.version ?? 0;
}

/** Runs `work` on one connection of the pool and gives it back, or throws the connection away when it broke. */
export async function withClient<T>(pool: Db, work: (client: Tx) => Promise<T>): Promise<T> {
  const client = await connectFrom(pool);
  let broken: Error | undefined;
  const onError = (error: Error) => {
    broken = error;
  };
  client.on('error', onError);
  try {
    return await work(client);
  } finally {
    client.off('error', onError);
    client.release(broken);
  }
}

/**
 * One transaction: committed when `work` resolves, rolled back when it rejects. When COMMIT itself fails because the
 * connection broke, nobody knows whether it happened; callers for whom that matters look.
 * @throws AppError `database.unreachable` (retryable) then, as {@link commitFailure}.
 */
export function withTransaction<T>(pool: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  return withClient(pool, (client) => inTransaction(client, work));
}

/** As {@link withTransaction}, on a connection the caller holds. */
export async function inTransaction<T>(client: Tx, work: (tx: Tx) => Promise<T>): Promise<T> {
  try {
    await client.query('begin');
    const result = await work(client);
    await committing(client, () => client.query('commit')).catch((thrown: unknown) => {
      throw commitFailure(thrown) ?? thrown;
    });
    return result;
  } catch (thrown) {
    // On a broken connection this fails too, and the server rolls back by itself.
    await client.query('rollback').catch(() => {});
    throw databaseFailure(thrown) ?? thrown;
  }
}

/**
 * Runs what commits. When somebody cancels its wait for a standby, a commit succeeds, and only a warning says that the standby may lack it.
 * @throws AppError `database.unreachable` (retryable) then.
 */
export async function committing<T>(client: Tx, work: () => Promise<T>): Promise<T> {
  let warned = false;
  const hear = ({ code }: { readonly code: string | undefined }) => {
    warned ||= code === plainWarning;
  };
  client.on('notice', hear);
  try {
    const result = await work();
    if (warned) throw noAnswer(new Error('committed with a warning, so maybe without its standby'), plainWarning);
    return result;
  } finally {
    client.off('notice', hear);
  }
}

/** `warning`. What commits has no other reason for one. */
const plainWarning = '01000';

async function connectFrom(pool: Db): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (thrown) {
    throw databaseFailure(thrown) ?? thrown;
  }
}

/** Errors that mean "the server is not there for us", not "the statement is wrong"; undefined for all others. */
export function databaseFailure(thrown: unknown): AppError | undefined {
  const code = errnoOf(thrown) ?? '';
  const lost =
    thrown instanceof Error && /connection terminated|timeout exceeded when trying|not queryable/i.test(thrown.message);
  if (!lost && !unreachableErrnos.has(code) && !unreachableStates.test(code)) return undefined;
  return noAnswer(thrown, code);
}

/**
 * What went wrong with a statement that commits. There are more ways for a connection to break than are known by name, and
 * only an answer of the server says that nothing was committed: with anything else it may have been.
 */
export function commitFailure(thrown: unknown): AppError | undefined {
  const known = databaseFailure(thrown);
  if (known !== undefined || thrown instanceof pg.DatabaseError) return known;
  return noAnswer(thrown, errnoOf(thrown) ?? '');
}

function noAnswer(thrown: unknown, code: string): AppError {
  return new AppError('database.unreachable', 'the database does not answer; the request can be repeated later', {
    cause: thrown,
    retryable: true,
    details: code === '' ? {} : { code },
  });
}

const unreachableErrnos = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EPIPE',
  'ENOENT',
]);
/**
 * Connection exceptions, a server that lacks connections, memory or disk, that is starting, stopping or was told to drop
 * us, statements that waited in vain for others, and a server that takes no writes: a standby that somebody's address has led to.
 */
const unreachableStates = /^(08...|53...|57P0[123]|57014|25P03|25006|40001|40P01|55P03)$/;

/** `host:port/database` of a connection URL: never user or password. */
export function describeDatabase(url: string): string {
  const servers = serversOf(url);
  const { host, database } = new pg.Client({ connectionString: servers[0]?.url });
  return host.startsWith('/') ? `${host} (${database})` : `${namesOf(servers)}/${database ?? ''}`;
}

function unreachable(url: string, cause: unknown): AppError {
  const where = describeDatabase(url);
  const reason = cause instanceof AggregateError ? (cause.errors[0]?.message ?? cause.message) : messageOf(cause);
  return new AppError(
    'database.unreachable',
    `cannot use the database at ${where}: ${reason}. Is PostgreSQL running there, and are user, password and database in DATABASE_URL right?`,
    { cause, retryable: true, details: { database: where } },
  );
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function connection({ url, applicationName }: DatabaseOptions): pg.ClientConfig {
  return {
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: limits.databaseConnectTimeoutMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: limits.databaseKeepAliveMs,
    types: { getTypeParser },
  };
}

/** `bigint` holds indexes and counts here, far below 2^53; as text, pg's default, every caller would have to convert. */
const getTypeParser: typeof pg.types.getTypeParser = (oid: number, format?: 'text' | 'binary') => {
  if (oid === pg.types.builtins.INT8 && format !== 'binary') return safeInteger;
  return format === 'binary' ? pg.types.getTypeParser(oid, format) : pg.types.getTypeParser(oid, 'text');
};

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new AppError('internal.error', `${text} from the database is beyond 2^53`);
  return value;
}
