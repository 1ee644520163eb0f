import pg from 'pg';
import type { Tx } from './pool.ts';

const { escapeIdentifier } = pg;

/** What pg-boss reads and writes as the collector's role. Partitions are gone through by their table. */
const jobTables: Readonly<Record<string, string>> = {
  job: 'delete, insert, select, update',
  queue: 'select',
  version: 'select',
};

/**
 * Lets the role `writer` use the line of jobs, and make nothing there. Changes nothing when all is as it should be.
 * @returns whether something had to be changed.
 */
export async function openJobs(tx: Tx, writer: string): Promise<boolean> {
  const role = escapeIdentifier(writer);
  const { rows } = await tx.query<{ usable: boolean; creatable: boolean }>(
    `select has_schema_privilege($1, oid, 'usage') as usable, has_schema_privilege($1, oid, 'create') as creatable
       from pg_namespace where nspname = 'pgboss'`,
    [writer],
  );
  const [schema] = rows;
  // Before the migration that makes it.
  if (schema === undefined) return false;
  if (!schema.usable) await tx.query(`grant usage on schema pgboss to ${role}`);
  if (schema.creatable) await tx.query(`revoke create on schema pgboss from public, ${role}`);
  let hasChanged = !schema.usable || schema.creatable;
  for (const [table, privileges] of Object.entries(jobTables))
    hasChanged = (await open(tx, { writer, table, privileges })) || hasChanged;
  return hasChanged;
}

async function open(
  tx: Tx,
  { writer, table, privileges }: { writer: string; table: string; privileges: string },
): Promise<boolean> {
  const { rows } = await tx.query<{ held: string | null }>(
    `select string_agg(lower(privilege_type), ', ' order by privilege_type) as held
       from pg_class c, aclexplode(c.relacl) where c.oid = to_regclass($1) and grantee = $2::regrole`,
    [`pgboss.${table}`, escapeIdentifier(writer)],
  );
  if (rows[0]?.held === privileges) return false;
  const role = escapeIdentifier(writer);
  await tx.query(`revoke all on table pgboss.${table} from public, ${role}`);
  await tx.query(`grant ${privileges} on table pgboss.${table} to ${role}`);
  return true;
}
