import pg from 'pg';
import { AppError, errnoOf } from '../../common/errors.ts';
import { openJobs } from './job-roles.ts';
import { connectClient, type DatabaseOptions, inTransaction, type Queryable, type Tx } from './pool.ts';

const { escapeIdentifier } = pg;

/*
 * What the collector's own role may do with each table. The triggers refuse changes of the ledger to everybody who does not
 * switch them off; the grants here refuse them to the collector, which can switch nothing off.
 */

/**
 * `append`: read and insert. `advance`: that, and update of the columns by which the tree head moves. `work`: read, insert,
 * update and delete, because it can be made again from the ledger or is none of its business. `read`: nothing but that.
 */
type Access = 'append' | 'advance' | 'work' | 'read';

/** Every table there is, by name. A table that is missing here is closed to the collector's role. */
export const tableAccess: Readonly<Record<string, Access>> = {
  entry_runs: 'append',
  run_bodies: 'append',
  tiles: 'append',
  batches: 'append',
  ledger_head: 'advance',
  author_heads: 'work',
  nodes: 'work',
  containers: 'work',
  drifts: 'work',
  findings: 'work',
  coverage: 'work',
  coverage_gaps: 'work',
  orders: 'work',
  order_events: 'work',
  measures: 'work',
  artifacts: 'work',
  artifact_registrations: 'work',
  artifact_scores: 'work',
  artifact_sweeps: 'work',
  artifact_sweep_state: 'work',
  enforcements: 'work',
  enforcement_events: 'work',
  enforcement_facts: 'work',
  enforcement_attempts: 'work',
  enforcement_pins: 'work',
  breakers: 'work',
  join_tokens: 'work',
  idempotency_keys: 'work',
  budget_requests: 'work',
  budgets_in_force: 'work',
  collectors_present: 'work',
  users: 'work',
  sessions: 'work',
  api_tokens: 'work',
  setup_codes: 'work',
  sign_in_attempts: 'work',
  checkpoints: 'work',
  cosignatures: 'work',
  witness_gaps: 'work',
  witnesses_wanted: 'work',
  alert_cursor: 'work',
  alerts: 'work',
  alert_channels: 'work',
  alert_notifications: 'work',
  alert_told: 'work',
  alert_silences: 'work',
  integrity_state: 'work',
  integrity_reports: 'work',
  projection_bases: 'read',
  body_partitions: 'read',
  entries: 'read',
  entries_in_runs: 'read',
  entry_bodies: 'read',
  first_entries: 'read',
  schema_migrations: 'read',
};

/** What the compare-and-swap of the tree head writes; never its origin. */
const headColumns = ['edge', 'root', 'size'];

const privilegesOf: Readonly<Record<Access, readonly string[]>> = {
  append: ['INSERT', 'SELECT'],
  advance: ['INSERT', 'SELECT', ...headColumns.map((column) => `UPDATE (${column})`)],
  work: ['DELETE', 'INSERT', 'SELECT', 'UPDATE'],
  read: ['SELECT'],
};

/** Tables that proofs rest on: their rows are for ever. */
export const ledgerTables: readonly string[] = Object.keys(tableAccess).filter((table) => {
  const access = tableAccess[table];
  return access === 'append' || access === 'advance';
});

/** Who changes grants; two at once would fail on each other's rows of the catalog. */
const grantsLock = 7_600_003;

interface TablePrivileges {
  readonly name: string;
  /** As in {@link privilegesOf}, sorted. */
  readonly held: readonly string[];
  /** Whether something is granted to everybody. */
  readonly open: boolean;
}

/**
 * Gives the role `writer` what {@link tableAccess} says, and takes away whatever else it or everybody has; after migrations,
 * by the owner of the tables. Tables that the writer owns (it used to be the only user) become the owner's. Changes nothing
 * when all is as it should be, or when both are the same user, from whom nothing can be taken.
 * @returns whether something had to be changed.
 * @throws AppError `database.migration` when the owner may not, naming what a superuser can run.
 */
export async function grantToWriter(owner: DatabaseOptions, writer: string): Promise<boolean> {
  const client = await connectClient(owner);
  try {
    return await inTransaction(client, async (tx) => {
      await tx.query('select pg_advisory_xact_lock($1)', [grantsLock]);
      if ((await currentUser(tx)) === writer) return false;
      const changes = [await takeOver(tx, writer), await openSchema(tx, writer), await openPartitions(tx, writer)];
      changes.push(await openReading(tx, writer), await openJobs(tx, writer));
      for (const table of await tablePrivileges(tx, writer)) changes.push(await grantOn(tx, table, writer));
      return changes.includes(true);
    });
  } catch (thrown) {
    if (errnoOf(thrown) !== insufficientPrivilege) throw thrown;
    throw mayNotGrant(writer, thrown);
  } finally {
    await client.end();
  }
}

/** Whom the server takes us for, which need not be the name in the URL. */
export async function currentUser(db: Queryable): Promise<string> {
  const { rows } = await db.query<{ name: string }>('select current_user::text as name');
  return rows[0]?.name ?? '';
}

/** PostgreSQL's `insufficient_privilege`. */
export const insufficientPrivilege = '42501';

function mayNotGrant(writer: string, cause: unknown): AppError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new AppError(
    'database.migration',
    `the user of database.ownerUrl cannot arrange the rights of ${writer}: ${reason}. ` +
      `It has to own the database's tables; a superuser can run: reassign owned by ${escapeIdentifier(writer)} to <owner>`,
    { cause, details: { writer } },
  );
}

async function takeOver(tx: Tx, writer: string): Promise<boolean> {
  const { rows } = await tx.query<{ owns: boolean }>(
    `select exists (select from pg_class where relnamespace = current_schema()::regnamespace and relowner = $1::regrole)
         or exists (select from pg_proc where pronamespace = current_schema()::regnamespace and proowner = $1::regrole) as owns`,
    [escapeIdentifier(writer)],
  );
  if (rows[0]?.owns !== true) return false;
  await tx.query(`reassign owned by ${escapeIdentifier(writer)} to current_user`);
  return true;
}

/** Into the schema, but without a right to make anything there: before version 15 everybody had one. */
async function openSchema(tx: Tx, writer: string): Promise<boolean> {
  const { rows } = await tx.query<{ schema: string; usable: boolean; creatable: boolean }>(
    `select current_schema() as schema, has_schema_privilege($1, current_schema(), 'usage') as usable,
            has_schema_privilege($1, current_schema(), 'create') as creatable`,
    [writer],
  );
  const { schema = 'public', usable, creatable } = rows[0] ?? {};
  const name = escapeIdentifier(schema);
  if (usable !== true) await tx.query(`grant usage on schema ${name} to ${escapeIdentifier(writer)}`);
  if (creatable === true) await tx.query(`revoke create on schema ${name} from public, ${escapeIdentifier(writer)}`);
  const { rowCount } = await tx.query(
    `select from pg_class where relnamespace = current_schema()::regnamespace
        and case relkind when 'S' then not has_sequence_privilege($1, oid, 'usage') else false end`,
    [writer],
  );
  if (rowCount !== 0) await tx.query(`grant usage on all sequences in schema ${name} to ${escapeIdentifier(writer)}`);
  return usable !== true || creatable === true || rowCount !== 0;
}

/** What shows entries one by one (`0027_entry_runs.sql`): views call these functions with the rights of whoever asks. */
async function openReading(tx: Tx, writer: string): Promise<boolean> {
  const { rows } = await tx.query<{ name: string }>(
    `select p.oid::regprocedure::text as name
       from pg_proc p join pg_language l on l.oid = p.prolang
      where p.pronamespace = current_schema()::regnamespace and l.lanname = 'sql' and not has_function_privilege($1, p.oid, 'execute')`,
    [writer],
  );
  for (const { name } of rows) await tx.query(`grant execute on function ${name} to ${escapeIdentifier(writer)}`);
  return rows.length > 0;
}

/**
 * New partitions of bodies are made by a function with the owner's rights: the collector says which index needs a place,
 * and nothing else, not the name of a table, as the function within it does. Its search path is pinned to the system's schema
 * (which comes first by itself) and to where nobody but the owner can put functions of his own.
 */
async function openPartitions(tx: Tx, writer: string): Promise<boolean> {
  const { rows } = await tx.query<{ done: boolean; path: string }>(
    `select prosecdef and proconfig is not null and proowner = current_user::regrole
              and has_function_privilege($1, oid, 'execute')
              and not exists (
                    select from pg_proc any_of, aclexplode(coalesce(any_of.proacl, acldefault('f', any_of.proowner)))
                     where any_of.oid = ensure.oid and grantee = 0
                        or any_of.oid = 'new_body_partition(text)'::regprocedure
                           and (grantee = 0 or grantee = (select r.oid from pg_roles r where rolname = $1))) as done,
            format('%I, pg_temp', current_schema()) as path
       from pg_proc ensure where oid = 'ensure_body_partition(bigint)'::regprocedure`,
    [writer],
  );
  const [found] = rows;
  if (found === undefined || found.done) return false;
  const role = escapeIdentifier(writer);
  await tx.query(`alter function ensure_body_partition(bigint) security definer set search_path = ${found.path}`);
  await tx.query(
    `revoke execute on function ensure_body_partition(bigint), new_body_partition(text) from public, ${role}`,
  );
  await tx.query(`grant execute on function ensure_body_partition(bigint) to ${role}`);
  return true;
}

/** Of all tables and views, partitions too: who goes through the table above needs nothing on those. */
async function tablePrivileges(tx: Tx, writer: string): Promise<readonly TablePrivileges[]> {
  const { rows } = await tx.query<TablePrivileges>(
    `select c.relname as name,
            array(select privilege from (
                    select privilege_type as privilege from aclexplode(c.relacl) where grantee = $1::regrole
                    union all
                    select format('%s (%s)', privilege_type, attname)
                      from pg_attribute, aclexplode(attacl) where attrelid = c.oid and grantee = $1::regrole) as held
                  order by privilege collate "C") as held,
            exists (select from aclexplode(c.relacl) where grantee = 0) as open
       from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
      order by name`,
    [escapeIdentifier(writer)],
  );
  return rows;
}

async function grantOn(tx: Tx, { name, held, open }: TablePrivileges, writer: string): Promise<boolean> {
  const access = Object.hasOwn(tableAccess, name) ? tableAccess[name] : undefined;
  const wanted = access === undefined ? [] : privilegesOf[access];
  if (!open && wanted.join() === held.join()) return false;
  const table = escapeIdentifier(name);
  const role = escapeIdentifier(writer);
  // Of the table, it takes those on columns away too.
  await tx.query(`revoke all on table ${table} from public, ${role}`);
  if (wanted.length > 0) await tx.query(`grant ${wanted.join(', ')} on table ${table} to ${role}`);
  return true;
}

/** By what means the user of `db` could change the past in spite of the grants; nothing when it cannot. */
export async function rewritingPowers(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ powers: string[] }>(
    `with ledger as (
       select c.oid, c.relname, c.relowner from pg_class c
        where c.relnamespace = current_schema()::regnamespace
          and (c.relname = any($1)
               or c.oid in (select inhrelid from pg_inherits where inhparent = to_regclass('run_bodies')))
     ), powers (power) as (
       select 'is a superuser' from pg_roles where rolname = current_user and rolsuper
       union all
       select format('may become %I, a superuser', rolname) from pg_roles
        where rolsuper and rolname <> current_user and pg_has_role(oid, 'member')
       union all
       select 'owns the database, so may drop it' from pg_database
        where datname = current_database() and pg_has_role(datdba, 'member')
       union all
       select distinct 'may make itself a member of other roles' from pg_roles
        where rolcreaterole and pg_has_role(oid, 'member') and current_setting('server_version_num')::int < 160000
       union all
       select format('is a member of %s, so acts as the server', rolname) from pg_roles
        where rolname in ('pg_execute_server_program', 'pg_write_server_files') and pg_has_role(oid, 'member')
       union all
       select 'may make functions and tables in the schema' where has_schema_privilege(current_schema(), 'create')
       union all
       select 'owns the schema, so may drop what is in it' from pg_namespace
        where oid = current_schema()::regnamespace and pg_has_role(nspowner, 'member')
       union all
       select format('owns %s', relname) from ledger where pg_has_role(relowner, 'member')
       union all
       select format('may %s %s', lower(privilege), relname)
         from ledger, unnest(array['UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) as privilege
        where not pg_has_role(relowner, 'member') and has_table_privilege(oid, privilege)
       union all
       select format('may update %s of %s', attname, relname) from ledger join pg_attribute on attrelid = ledger.oid
        where attnum > 0 and not attisdropped and not (relname = 'ledger_head' and attname = any($2))
          and not has_table_privilege(ledger.oid, 'UPDATE') and has_column_privilege(ledger.oid, attnum, 'UPDATE')
       union all
       select format('owns the function %s', proname) from pg_proc
        where pronamespace = current_schema()::regnamespace and pg_has_role(proowner, 'member')
     )
     select array(select power from powers) as powers`,
    [ledgerTables, headColumns],
  );
  const powers = rows[0]?.powers ?? [];
  const all = 'is a superuser';
  return powers.includes(all) ? [all] : powers;
}
