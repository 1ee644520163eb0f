import type { FleetContainer, FleetDrift, FleetFinding, FleetNode, FleetPage } from '../fleet/view.ts';
import type { Tx } from './pool.ts';
import type { NodeRow as ListedNode } from './query-store.ts';

/*
 * The fleet as projections have it: those of the present, or those kept from an erasure, by the same statements. All of
 * them order in a way that does not depend on the collation of the database.
 */

/** How a projection is named in a statement: the table, or what was kept of it. */
type Relations = (relation: 'nodes' | 'containers' | 'drifts' | 'findings') => string;

const stored: Relations = (relation) => relation;

/** Rows of a base, read back as the rows they were. */
function keptAt(boundary: number): Relations {
  return (relation) =>
    `(select r.* from projection_bases b
       cross join lateral jsonb_populate_record(null::${relation}, b.content::jsonb) r
       where b.boundary = ${boundary} and b.relation = '${relation}')`;
}

/** Nodes as they stand now, by name. */
export async function readPresent(tx: Tx, { after, limit, node }: FleetPage): Promise<readonly FleetNode[]> {
  const { rows } = await tx.query<{ node: string }>(
    `select node from nodes
      where ($1::text is null or node collate "C" > $1) and ($2::text is null or node = $2)
      order by node collate "C"
      limit $3`,
    [after, node, limit],
  );
  const names = rows.map((row) => row.node);
  return readFleet(tx, stored, names);
}

/** Those of the nodes that were known as of the erasure up to `boundary`. */
export function readKept(tx: Tx, boundary: number, names: readonly string[]): Promise<readonly FleetNode[]> {
  return readFleet(tx, keptAt(boundary), names);
}

async function readFleet(tx: Tx, from: Relations, names: readonly string[]): Promise<readonly FleetNode[]> {
  const nodes = await readNodes(tx, from('nodes'), names);
  const containers = await readContainers(tx, from('containers'), names);
  const drifts = await readDrifts(tx, from('drifts'), names);
  const findings = await readFindings(tx, from('findings'), names);
  return nodes.map((row) => ({
    ...showNode(row),
    containers: containers.get(row.node) ?? [],
    drifts: drifts.get(row.node) ?? [],
    findings: findings.get(row.node) ?? [],
  }));
}

interface NodeRow extends Omit<ListedNode, 'state'> {
  readonly started_index: number | null;
}

async function readNodes(tx: Tx, nodes: string, names: readonly string[]): Promise<readonly NodeRow[]> {
  const { rows } = await tx.query<NodeRow>(
    `select node, fingerprint, enrolled_at, enrolled_index, revoked_at, started_index, started_at, agent_version, hostname,
            last_index, last_entry_at, report_index, report_minute, coverage, containers, unobserved, open_drifts, stores,
            commit
       from ${nodes} n
      where node = any($1)
      order by node collate "C"`,
    [names],
  );
  return rows;
}

function showNode(row: NodeRow): Omit<FleetNode, 'containers' | 'drifts' | 'findings'> {
  return {
    node: row.node,
    state: row.revoked_at === null ? 'active' : 'revoked',
    fingerprint: row.fingerprint,
    enrolled_at: row.enrolled_at.toISOString(),
    enrolled_index: row.enrolled_index,
    revoked_at: row.revoked_at?.toISOString() ?? null,
    last: lastOf(row),
    agent: agentOf(row),
    report: reportOf(row),
  };
}

function lastOf({ last_index, last_entry_at }: NodeRow): FleetNode['last'] {
  return last_index === null || last_entry_at === null ? null : { index: last_index, at: last_entry_at.toISOString() };
}

function agentOf({ started_index, started_at, agent_version, hostname }: NodeRow): FleetNode['agent'] {
  if (started_index === null || started_at === null) return null;
  const version = agent_version ?? '';
  return { index: started_index, version, hostname: hostname ?? '', started_at: started_at.toISOString() };
}

function reportOf({ report_index, report_minute, ...row }: NodeRow): FleetNode['report'] {
  if (report_index === null || report_minute === null) return null;
  return {
    index: report_index,
    minute: report_minute.toISOString(),
    coverage: row.coverage ?? '',
    containers: row.containers ?? 0,
    unobserved: row.unobserved ?? 0,
    open_drifts: row.open_drifts ?? 0,
    stores: row.stores,
    commit: row.commit,
  };
}

type ByNode<T> = ReadonlyMap<string, readonly T[]>;

async function readContainers(tx: Tx, containers: string, names: readonly string[]): Promise<ByNode<FleetContainer>> {
  const { rows } = await tx.query<FleetContainer & { node: string }>(
    `select node, id, name, image, image_id, state, health, exit_code, restart_count, created_at, started_at,
            finished_at, seen_index
       from ${containers} c
      where node = any($1)
      order by id collate "C"`,
    [names],
  );
  return byNode(rows, ({ node: _, ...row }) => row);
}

type DriftRow = Omit<FleetDrift, 'opened_at'> & { readonly node: string; readonly opened_at: Date };

async function readDrifts(tx: Tx, drifts: string, names: readonly string[]): Promise<ByNode<FleetDrift>> {
  const { rows } = await tx.query<DriftRow>(
    `select node, opened_index, opened_at, changed_index, id, kind, container, container_id, differences, commit
       from ${drifts} d
      where node = any($1) and resolved_index is null
      order by opened_index`,
    [names],
  );
  return byNode(rows, ({ node: _, opened_at, ...row }) => ({ ...row, opened_at: opened_at.toISOString() }));
}

type FindingRow = Omit<FleetFinding, 'opened_at'> & { readonly node: string; readonly opened_at: Date };

async function readFindings(tx: Tx, findings: string, names: readonly string[]): Promise<ByNode<FleetFinding>> {
  const { rows } = await tx.query<FindingRow>(
    `select node, opened_index, opened_at, id, store, "check", finding
       from ${findings} f
      where node = any($1) and cleared_index is null
      order by opened_index`,
    [names],
  );
  return byNode(rows, ({ node: _, opened_at, ...row }) => ({ ...row, opened_at: opened_at.toISOString() }));
}

function byNode<R extends { readonly node: string }, T>(rows: readonly R[], show: (row: R) => T): ByNode<T> {
  const found = new Map<string, T[]>();
  for (const row of rows) {
    const known = found.get(row.node);
    if (known === undefined) found.set(row.node, [show(row)]);
    else known.push(show(row));
  }
  return found;
}
