import type { Queryable } from './pool.ts';

/*
 * What `doctor` asks the database itself: one function per statement. The rest it asks as everybody does.
 */

export interface ServerFacts {
  /** As people call it: `16.4`. */
  readonly version: string;
  readonly databaseBytes: number;
  /** The server's clock. */
  readonly now: Date;
}

export async function serverFacts(db: Queryable): Promise<ServerFacts | undefined> {
  const { rows } = await db.query<ServerFacts>(
    `select current_setting('server_version') as version, pg_database_size(current_database()) as "databaseBytes",
            clock_timestamp() as now`,
  );
  return rows[0];
}

export interface ConnectedCollector {
  readonly applicationName: string;
  /** Null over a local socket. */
  readonly address: string | null;
}

/** Sessions in this database whose name begins with `prefix`, whoever's they are. */
export async function connectedAs(db: Queryable, prefix: string): Promise<readonly ConnectedCollector[]> {
  const { rows } = await db.query<ConnectedCollector>(
    `select application_name as "applicationName", host(client_addr) as address
       from pg_stat_activity
      where datname = current_database() and starts_with(application_name, $1)
      order by address, application_name`,
    [prefix],
  );
  return rows;
}

export interface Archiving {
  readonly mode: string;
  readonly lastArchivedAt: Date | null;
  readonly lastFailedAt: Date | null;
}

/** Whether the server keeps its write-ahead log for a recovery to a point in time, and how that goes. */
export async function archiving(db: Queryable): Promise<Archiving | undefined> {
  const { rows } = await db.query<Archiving>(
    `select current_setting('archive_mode') as mode, last_archived_time as "lastArchivedAt", last_failed_time as "lastFailedAt"
       from pg_stat_archiver`,
  );
  return rows[0];
}

export interface UserCounts {
  readonly users: number;
  /** Administrators who may sign in. */
  readonly admins: number;
}

export async function countUsers(db: Queryable): Promise<UserCounts> {
  const { rows } = await db.query<UserCounts>(
    `select count(*) as users, count(*) filter (where role = 'admin' and locked_at is null) as admins from users`,
  );
  return rows[0] ?? { users: 0, admins: 0 };
}

export interface AgentVersionCount {
  /** Null for nodes whose agent was never started. */
  readonly version: string | null;
  readonly nodes: number;
  /** The first of them by name. */
  readonly example: string;
}

/** Versions of the agents of all nodes that count, as each said at its last start. */
export async function agentVersions(db: Queryable): Promise<readonly AgentVersionCount[]> {
  const { rows } = await db.query<AgentVersionCount>(
    `select agent_version as version, count(*) as nodes, min(node) as example
       from nodes where revoked_at is null group by agent_version order by agent_version nulls last`,
  );
  return rows;
}
