import type { Drift } from '../../common/drift.ts';
import type { SigilFinding } from '../../common/sigil.ts';
import type { FleetContainer } from '../fleet/view.ts';
import type { Fleet } from '../metrics.ts';
import type { Queryable } from './pool.ts';
import { holderOf } from './presence-store.ts';

/*
 * What the API reads: one function per statement, on the projections. Columns are named as in the API. Lists are
 * keyset pages: rows after the key of the last one seen, in an order that new rows do not disturb.
 */

/** Fetches `limit` rows after `after`, from the beginning without it. */
export interface Page<Key> {
  readonly after: Key | undefined;
  readonly limit: number;
}

/** A parameter that is not given does not filter. Times are RFC 3339; `from` is inclusive, `to` is not. */
export type Given<T> = T | undefined;

export interface NodeRow {
  readonly node: string;
  readonly fingerprint: string;
  readonly state: 'active' | 'revoked';
  readonly enrolled_at: Date;
  readonly enrolled_index: number;
  readonly revoked_at: Date | null;
  readonly agent_version: string | null;
  readonly hostname: string | null;
  readonly started_at: Date | null;
  readonly last_index: number | null;
  readonly last_entry_at: Date | null;
  readonly report_index: number | null;
  readonly report_minute: Date | null;
  readonly coverage: string | null;
  readonly containers: number | null;
  readonly unobserved: number | null;
  readonly open_drifts: number | null;
  readonly stores: unknown;
  readonly commit: string | null;
  /** Name of the one that holds its socket. */
  readonly collector: string | null;
}

export interface NodeFilter {
  readonly state: Given<'active' | 'revoked'>;
}

/** Nodes by name. */
export async function listNodes(db: Queryable, filter: NodeFilter, page: Page<string>): Promise<readonly NodeRow[]> {
  const { rows } = await db.query<NodeRow>(
    `select node, fingerprint, case when revoked_at is null then 'active' else 'revoked' end as state, enrolled_at,
            enrolled_index, revoked_at, agent_version, hostname, started_at, last_index, last_entry_at, report_index,
            report_minute, coverage, containers, unobserved, open_drifts, stores, commit,
            ${holderOf('nodes.node')} as collector
       from nodes
      where ($1::text is null or ($1 = 'revoked') = (revoked_at is not null))
        and ($2::text is null or node > $2)
      order by node
      limit $3`,
    [filter.state, page.after, page.limit],
  );
  return rows;
}

/** Names of the nodes that count, in order. */
export async function activeNodes(db: Queryable): Promise<readonly string[]> {
  const { rows } = await db.query<{ node: string }>('select node from nodes where revoked_at is null order by node');
  return rows.map(({ node }) => node);
}

export type ContainerRow = FleetContainer & { readonly node: string };

export interface ContainerFilter {
  readonly node: Given<string>;
  readonly name: Given<string>;
  readonly image: Given<string>;
  readonly state: Given<string>;
}

/** Containers as last observed, by node and id. */
export async function listContainers(
  db: Queryable,
  filter: ContainerFilter,
  page: Page<readonly [node: string, id: string]>,
): Promise<readonly ContainerRow[]> {
  const { rows } = await db.query<ContainerRow>(
    `select node, id, name, image, image_id, state, health, exit_code, restart_count, created_at, started_at,
            finished_at, seen_index
       from containers
      where ($1::text is null or node = $1) and ($2::text is null or name = $2)
        and ($3::text is null or image = $3) and ($4::text is null or state = $4)
        and ($5::text is null or (node, id) > ($5, $6))
      order by node, id
      limit $7`,
    [filter.node, filter.name, filter.image, filter.state, page.after?.[0], page.after?.[1], page.limit],
  );
  return rows;
}

export type Standing = 'open' | 'resolved' | 'all';

export interface DriftRow {
  readonly opened_index: number;
  readonly node: string;
  readonly id: string;
  readonly kind: string;
  readonly container: string;
  readonly container_id: string | null;
  readonly differences: Drift['differences'];
  readonly commit: string | null;
  readonly state: 'open' | 'resolved';
  readonly opened_at: Date;
  readonly changed_index: number;
  readonly resolved_at: Date | null;
  readonly resolved_index: number | null;
}

export interface DriftFilter {
  readonly node: Given<string>;
  readonly kind: Given<string>;
  readonly container: Given<string>;
  readonly state: Standing;
  readonly from: Given<string>;
  readonly to: Given<string>;
}

/**
 * Rows of a time are few, and found by it. In the order of the list they are looked for among all that came later, since the planner
 * takes time and index to have nothing to do with each other.
 */
function newestFirst({ from, to }: { readonly from: Given<string>; readonly to: Given<string> }): string {
  return from === undefined && to === undefined ? 'opened_index' : 'opened_index + 0';
}

const driftColumns = `opened_index, node, id, kind, container, container_id, differences, commit,
            case when resolved_index is null then 'open' else 'resolved' end as state,
            opened_at, changed_index, resolved_at, resolved_index`;

/** The drift that an entry opened. */
export async function readDrift(db: Queryable, openedIndex: number): Promise<DriftRow | undefined> {
  const { rows } = await db.query<DriftRow>(`select ${driftColumns} from drifts where opened_index = $1`, [
    openedIndex,
  ]);
  return rows[0];
}

/** Drifts, newest first. */
export async function listDrifts(db: Queryable, filter: DriftFilter, page: Page<number>): Promise<readonly DriftRow[]> {
  const { rows } = await db.query<DriftRow>(
    `select ${driftColumns}
       from drifts
      where ($1::text is null or node = $1) and ($2::text is null or kind = $2)
        and ($3::text is null or container = $3)
        and ($4 = 'all' or ($4 = 'open') = (resolved_index is null))
        and ($5::timestamptz is null or opened_at >= $5) and ($6::timestamptz is null or opened_at < $6)
        and ($7::bigint is null or opened_index < $7)
      order by ${newestFirst(filter)} desc
      limit $8`,
    [filter.node, filter.kind, filter.container, filter.state, filter.from, filter.to, page.after, page.limit],
  );
  return rows;
}

export interface FindingRow {
  readonly opened_index: number;
  readonly node: string;
  readonly store: string;
  readonly id: string;
  readonly check: string;
  readonly finding: SigilFinding;
  readonly state: 'open' | 'resolved';
  readonly opened_at: Date;
  readonly cleared_at: Date | null;
  readonly cleared_index: number | null;
}

export interface FindingFilter {
  readonly node: Given<string>;
  readonly store: Given<string>;
  readonly check: Given<string>;
  readonly state: Standing;
  readonly from: Given<string>;
  readonly to: Given<string>;
}

/** Findings, newest first. */
export async function listFindings(
  db: Queryable,
  filter: FindingFilter,
  page: Page<number>,
): Promise<readonly FindingRow[]> {
  const { rows } = await db.query<FindingRow>(
    `select opened_index, node, store, id, "check", finding,
            case when cleared_index is null then 'open' else 'resolved' end as state,
            opened_at, cleared_at, cleared_index
       from findings
      where ($1::text is null or node = $1) and ($2::text is null or store = $2)
        and ($3::text is null or "check" = $3)
        and ($4 = 'all' or ($4 = 'open') = (cleared_index is null))
        and ($5::timestamptz is null or opened_at >= $5) and ($6::timestamptz is null or opened_at < $6)
        and ($7::bigint is null or opened_index < $7)
      order by ${newestFirst(filter)} desc
      limit $8`,
    [filter.node, filter.store, filter.check, filter.state, filter.from, filter.to, page.after, page.limit],
  );
  return rows;
}

/** Counts of what there is; drifts by kind, findings by check. One statement, so the figures belong together. */
export async function fleetStats(db: Queryable): Promise<Fleet> {
  const { rows } = await db.query<Fleet>(
    `select (select jsonb_build_object('active', count(*) filter (where revoked_at is null),
                                       'revoked', count(*) filter (where revoked_at is not null)) from nodes) as nodes,
            (select count(*) from containers) as containers,
            (select coalesce(jsonb_object_agg(kind, n), '{}')
               from (select kind, count(*) as n from drifts where resolved_index is null group by kind) d) as open_drifts,
            (select coalesce(jsonb_object_agg("check", n), '{}')
               from (select "check", count(*) as n from findings where cleared_index is null group by "check") f)
              as open_findings`,
  );
  return rows[0] ?? { nodes: { active: 0, revoked: 0 }, containers: 0, open_drifts: {}, open_findings: {} };
}

/** Scan minutes by status, from `from` on. */
export async function coverageSince(db: Queryable, from: string): Promise<Readonly<Record<string, number>>> {
  const { rows } = await db.query<{ status: string; minutes: number }>(
    'select status, count(*) as minutes from coverage where minute >= $1 group by status',
    [from],
  );
  return Object.fromEntries(rows.map(({ status, minutes }) => [status, minutes]));
}

/** Fails unless the database answers. */
export async function ping(db: Queryable): Promise<void> {
  await db.query('select 1');
}
