import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { TablePlace } from './table-settings.ts';

/** One connection to the database that a table is in. Only reads are possible in it. */
export interface TableConnection {
  /** `host:port/database`. */
  readonly database: string;
  /** @throws AppError `store.unreadable`; for what the server itself refuses, with `details.code` (SQLSTATE) */
  query<Row extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<readonly Row[]>;
  /** How long a statement may take, from here on. */
  allowMs(ms: number): Promise<void>;
  /** Closes it at once, also under a statement. */
  end(): Promise<void>;
}

/**
 * What holds in the session, whatever the role's own settings say. Without row security a policy that would hide rows is
 * an error, where it would otherwise make a part of the table pass for all of it.
 */
const session = {
  default_transaction_read_only: 'on',
  row_security: 'off',
  search_path: 'pg_catalog',
  bytea_output: 'hex',
  datestyle: 'ISO, YMD',
  timezone: 'UTC',
  extra_float_digits: '1',
  lock_timeout: String(limits.tableLockTimeoutMs),
  idle_in_transaction_session_timeout: String(limits.tableStatementTimeoutMs),
};

/**
 * Connects as the settings say.
 * @throws AppError `store.unreadable` (retryable), `validation.config` for a URL that is none; neither says the password
 */
export async function connectTable(place: TablePlace): Promise<TableConnection> {
  const client = clientOf(await urlOf(place));
  // Without a listener a lost connection would end the process; the next statement reports it anyway.
  client.on('error', () => {});
  const database = client.host.startsWith('/')
    ? `${client.host} (${client.database ?? ''})`
    : `${client.host}:${client.port}/${client.database ?? ''}`;
  const query = async <Row extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []) => {
    try {
      return (await client.query<Row>(sql, [...values])).rows;
    } catch (thrown) {
      throw refused(database, thrown);
    }
  };
  const set = async (settings: Readonly<Record<string, string>>) => {
    const pairs = Object.entries(settings);
    const calls = pairs.map((_, at) => `set_config($${2 * at + 1}, $${2 * at + 2}, false)`).join(', ');
    await query(`select ${calls}`, pairs.flat());
  };
  const allowMs = (ms: number) => set({ statement_timeout: String(ms) });
  const end = () => client.end().catch(() => {});
  try {
    await client.connect();
  } catch (thrown) {
    await end();
    throw refused(database, thrown);
  }
  try {
    await set(session);
    await allowMs(limits.tableStatementTimeoutMs);
  } catch (thrown) {
    await end();
    throw thrown;
  }
  return { database, query, allowMs, end };
}

async function urlOf({ url, urlFile }: TablePlace): Promise<string> {
  if (url !== undefined) return url;
  try {
    return (await readFile(urlFile ?? '', 'utf8')).trim();
  } catch (cause) {
    throw new AppError('store.unreadable', `cannot read ${urlFile} (${errnoOf(cause) ?? 'unknown'})`, { cause });
  }
}

function clientOf(url: string): pg.Client {
  try {
    if (!/^postgres(ql)?:\/\//i.test(url)) throw new Error('another scheme');
    return new pg.Client({
      connectionString: url,
      application_name: 'sigilwatch-agent',
      connectionTimeoutMillis: limits.databaseConnectTimeoutMs,
      query_timeout: limits.amcheckTimeoutMs + limits.tableAnswerGraceMs,
      keepAlive: true,
    });
  } catch {
    // What was thrown may quote the URL, and with it the password.
    throw new AppError(
      'validation.config',
      'the url of the sigil store is none: postgres://role:password@host/database',
    );
  }
}

function refused(database: string, thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const inner: unknown = thrown instanceof AggregateError ? thrown.errors[0] : thrown;
  const message = inner instanceof Error && inner.message !== '' ? inner.message : (errnoOf(inner) ?? String(inner));
  const code = errnoOf(inner);
  const details = inner instanceof pg.DatabaseError && code !== undefined ? { database, code } : { database };
  return new AppError('store.unreadable', `cannot read from the database ${database}: ${message}`, {
    cause: thrown,
    details,
    retryable: true,
  });
}

/** The SQLSTATE with which the server refused, or undefined when it was something else. */
export function sqlStateOf(thrown: unknown): string | undefined {
  const code = thrown instanceof AppError ? thrown.details.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** Whether the server found its own files damaged: data_corrupted, index_corrupted, io_error, or a file that is gone. */
export function isCorruption(thrown: unknown): boolean {
  return ['XX001', 'XX002', '58030', '58P01'].includes(sqlStateOf(thrown) ?? '');
}

/** What the server said. */
export function serverMessage(thrown: unknown): string {
  const cause = thrown instanceof AppError ? thrown.cause : thrown;
  return cause instanceof Error ? cause.message : String(cause);
}

/** A name as SQL takes it. */
export function quoted(name: string): string {
  return pg.escapeIdentifier(name);
}
