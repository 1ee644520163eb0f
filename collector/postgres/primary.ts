import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';

/** One of the servers of a list. */
export interface ListedServer {
  /** URL with this server alone. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

/**
 * The servers of a connection URL, in its order. Several are given as libpq takes them,
 * `postgres://user:password@host1:5432,host2:5432/database`; a URL of one server is returned as it is.
 */
export function serversOf(url: string): readonly ListedServer[] {
  const [, before = '', hosts = '', after = ''] = /^([a-z]+:\/\/(?:[^/?#]*@)?)([^/?#]*)(.*)$/.exec(url) ?? [];
  const urls = hosts.includes(',') ? hosts.split(',').map((host) => before + host + after) : [url];
  return urls.map((each) => {
    const { host, port } = new pg.Client({ connectionString: each });
    return { url: each, host, port };
  });
}

/** `host:port` of each. */
export function namesOf(servers: readonly ListedServer[]): string {
  return servers.map(({ host, port }) => `${host}:${port}`).join(',');
}

/** What a server says of itself. */
export interface ServerAnswer {
  readonly writable: boolean;
  /** Counts promotions: of two servers that both take writes, the larger one was promoted later. */
  readonly timeline: number;
}

/** The server to write to: of those that take writes the one promoted last, else the first. Undefined when none does. Pure. */
export function choosePrimary<T extends ServerAnswer>(answers: readonly T[]): T | undefined {
  return answers
    .filter(({ writable }) => writable)
    .reduce<T | undefined>(
      (best, each) => (best === undefined || each.timeline > best.timeline ? each : best),
      undefined,
    );
}

/**
 * A connection to whichever of the listed servers takes writes when it is made. A standby that is promoted is found by the next
 * connection; those to the server it takes over from have ended with that.
 */
export class PrimaryClient extends pg.Client {
  readonly #servers: readonly ListedServer[];
  readonly #config: pg.ClientConfig;

  constructor(config: pg.ClientConfig = {}) {
    const servers = serversOf(config.connectionString ?? '');
    super({ ...config, ...(servers[0] && { connectionString: servers[0].url }) });
    this.#servers = servers;
    this.#config = config;
  }

  /** @throws AppError `database.unreachable` (retryable) when no server takes writes, saying why of each. */
  override connect(): Promise<pg.Client>;
  override connect(callback: (error: Error | null, client?: pg.Client) => void): void;
  override connect(callback?: (error: Error | null, client?: pg.Client) => void): Promise<pg.Client> | undefined {
    const connected = this.#connectToPrimary();
    if (callback === undefined) return connected;
    connected.then((client) => callback(null, client), callback);
    return undefined;
  }

  async #connectToPrimary(): Promise<pg.Client> {
    const { host, port } = await findPrimary(this.#servers, this.#config);
    this.host = host;
    this.port = port;
    return super.connect();
  }
}

/** How asking a server went. */
interface Outcome extends ServerAnswer {
  readonly server: ListedServer;
  /** Why it is none to write to. */
  readonly reason: string;
}

/** Asks all of them at once: one that is switched off says nothing for seconds. */
async function findPrimary(servers: readonly ListedServer[], config: pg.ClientConfig): Promise<ListedServer> {
  const outcomes = new Map<ListedServer, Outcome>();
  const asked = servers.map(async (server) => {
    const outcome = await ask(server, config);
    outcomes.set(server, outcome);
    if (!outcome.writable) throw new Error(outcome.reason);
  });
  await Promise.any(asked).catch(() => {});
  // One that was promoted later may be slower to say so.
  const patience = sleep(limits.databaseChoiceMs, undefined, { ref: false });
  await Promise.race([Promise.allSettled(asked), patience]);
  const inOrder = servers.flatMap((server) => outcomes.get(server) ?? []);
  const primary = choosePrimary(inOrder);
  if (primary !== undefined) return primary.server;
  const reasons = inOrder.map(({ server, reason }) => `${namesOf([server])}: ${reason}`).join('; ');
  throw new AppError('database.unreachable', `no database server takes writes (${reasons})`, { retryable: true });
}

async function ask(server: ListedServer, config: pg.ClientConfig): Promise<Outcome> {
  const timeouts = { connectionTimeoutMillis: limits.databaseAskTimeoutMs, query_timeout: limits.databaseAskTimeoutMs };
  const client = new pg.Client({ ...config, connectionString: server.url, ...timeouts });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<ServerAnswer>(askText);
    return { server, ...(rows[0] ?? silent), reason: 'it takes no writes, as a standby' };
  } catch (thrown) {
    return { server, ...silent, reason: reasonOf(thrown) };
  } finally {
    await client.end().catch(() => {});
  }
}

const silent: ServerAnswer = { writable: false, timeline: 0 };

/** The timeline begins the name of the file that is written to. */
const askText = `
  select current_setting('transaction_read_only') = 'off' as writable,
         case when pg_is_in_recovery() then 0
              else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end as timeline`;

function reasonOf(thrown: unknown): string {
  const error = thrown instanceof AggregateError ? (thrown.errors[0] ?? thrown) : thrown;
  return error instanceof Error ? error.message : String(error);
}
