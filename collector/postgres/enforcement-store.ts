import { rfc3339 } from '../../common/clock.ts';
import { runningStates } from '../../common/enforcement/governance.ts';
import { collectorAuthor } from '../../common/entry.ts';
import { limits } from '../../common/limits.ts';
import type { Order } from '../../common/order.ts';
import { countedApprovals } from '../enforcement/counted-approvals.ts';
import type { PlanningStore } from '../enforcement/desk-ports.ts';
import type {
  EnforcementStore,
  GovernedNodeRow,
  OrderEventRow,
  OrderFilter,
  OrderStatus,
  Replica,
  StoredOrder,
} from '../enforcement/ports.ts';
import { alertStands } from './alert-query-store.ts';
import { readDriftsLeft, readDriftsOfCommit, readEndedDrifts, readOpenDrifts } from './drift-store.ts';
import type { Queryable } from './pool.ts';
import { readMeasures } from './standing-measure-store.ts';

/** What enforcement reads, from the projections: one function per statement. */
export function postgresEnforcementStore(db: Queryable): EnforcementStore {
  return {
    openDrifts: (node) => readOpenDrifts(db, node),
    driftsOfCommit: async (commit, kinds) => {
      const [judged, left] = await Promise.all([readDriftsOfCommit(db, commit), readDriftsLeft(db, commit, kinds)]);
      return [...judged, ...left];
    },
    nodes: () => readGovernedNodes(db),
    replicas: (container) => readReplicas(db, container),
    imageId: (node, containerId) => readImageId(db, node, containerId),
    ordersOf: (node, sinceMs, nowMs) => readOrdersOf(db, { node, sinceMs, nowMs }),
    dispatchable: (nodes, nowMs) => readDispatchable(db, nodes, nowMs),
    requestedOn: (container, nowMs) => readRequestedOn(db, container, nowMs),
    order: async (hash, nowMs) => (await readOrdersNamed(db, hash, nowMs)).find((order) => order.hash === hash),
    ordersNamed: (prefix, nowMs) => readOrdersNamed(db, prefix, nowMs),
    listOrders: (filter, page, nowMs) => listOrders(db, filter, { ...page, nowMs }),
    measures: (nowMs) => readMeasures(db, nowMs),
  };
}

/** The same with what only planning asks for. */
export function postgresPlanningStore(db: Queryable): PlanningStore {
  return {
    ...postgresEnforcementStore(db),
    alertStands: (key) => alertStands(db, key),
    wasFrozen: (commit) => readWasFrozen(db, commit),
    endedDrifts: (node, ended) => readEndedDrifts(db, node, ended),
  };
}

async function readWasFrozen(db: Queryable, commit: string): Promise<boolean> {
  const { rows } = await db.query<{ was: boolean }>(
    `select exists (select from measures where kind = 'enforcement.frozen' and body ->> 'commit' = $1) as was`,
    [commit],
  );
  return rows[0]?.was ?? false;
}

/** By name. What was adopted under an earlier key of the node counts too: it is the same node. */
async function readGovernedNodes(db: Queryable): Promise<readonly GovernedNodeRow[]> {
  const { rows } = await db.query<{ node: string; commit: string | null; at: Date | null; containers: number }>(
    `select n.node, adopted.commit, adopted.at, coalesce(c.containers, 0) as containers
       from nodes n
       left join lateral (select m.body ->> 'commit' as commit, m.at from measures m
                           where m.kind = 'desired.adopted' and m.node = n.node
                           order by m.index desc limit 1) adopted on true
       left join (select node, count(*) as containers from containers where state = any($1) group by node) c on c.node = n.node
      where n.revoked_at is null
      order by n.node`,
    [runningStates],
  );
  return rows.map(({ node, commit, at, containers }) => ({
    node,
    adopted: commit === null || at === null ? null : { commit, atMs: at.getTime() },
    containers,
  }));
}

async function readReplicas(db: Queryable, container: string): Promise<readonly Replica[]> {
  const { rows } = await db.query<Replica>(
    `select c.node, c.state, c.health
       from containers c join nodes n on n.node = c.node and n.revoked_at is null
      where c.name = $1
      order by c.node, c.id limit $2`,
    [container, limits.maxReplicasRead],
  );
  return rows;
}

async function readImageId(db: Queryable, node: string, containerId: string): Promise<string | undefined> {
  const { rows } = await db.query<{ image_id: string }>('select image_id from containers where node = $1 and id = $2', [
    node,
    containerId,
  ]);
  return rows[0]?.image_id;
}

interface OrderRow {
  readonly hash: string;
  readonly index: number;
  readonly body: Order;
  readonly status: OrderStatus;
  readonly events: readonly OrderEventRow[];
}

const columns = 'told.hash, told.index, told.body, told.status, events.events';

/**
 * Orders `o` with where they stand at the time that the parameter `now` holds. What a node says counts for its own orders alone, and only after they were made: a
 * result is what was done, so it outweighs a rejection that came too late for it.
 */
export const withStatus = (now: '$1' | '$2') => `
  select o.*, coalesce(result.outcome, case when rejected.is_so then 'rejected'
                                            when o.expires_at <= ${now}::timestamptz then 'expired'
                                            else 'requested' end) as status
    from orders o
    left join lateral (select e.body ->> 'outcome' as outcome from order_events e
                        where e.order_hash = o.hash and e.node = o.node and e.kind = 'order.result' and e.index > o.index
                        order by e.index desc limit 1) result on true
   cross join lateral (select exists (select from order_events e
                                       where e.order_hash = o.hash and e.node = '${collectorAuthor}'
                                         and e.kind = 'order.rejected' and e.index > o.index) as is_so) rejected
   where not exists (select from orders first where first.hash = o.hash and first.index < o.index)`;

/** Of the collector the first, of the node the last: a node may talk, and the approvals count. */
const withEvents = `
  cross join lateral (
    select coalesce(jsonb_agg(jsonb_build_object(
                      'index', e.index, 'node', e.node, 'atMs', (extract(epoch from e.at) * 1000)::bigint,
                      'said', jsonb_build_object('kind', e.kind, 'body', e.body)) order by e.index), '[]') as events
      from ((select * from order_events
              where order_hash = told.hash and node = '${collectorAuthor}' and kind <> 'order.result'
                and index > told.index
              order by index limit ${limits.maxOrderEventsRead})
            union all
            (select * from order_events
              where order_hash = told.hash and node = told.node and kind = 'order.result' and index > told.index
              order by index desc limit ${limits.maxOrderEventsRead})) e) events`;

function asStored({ hash, index, body, status, events }: OrderRow): StoredOrder {
  return { hash, index, order: body, status, events };
}

/** Oldest first; of more than governance ever counts, the newest. With all that says whether a container is in quarantine, which no time ends. */
async function readOrdersOf(
  db: Queryable,
  { node, sinceMs, nowMs }: { readonly node: string; readonly sinceMs: number; readonly nowMs: number },
): Promise<readonly StoredOrder[]> {
  const { rows } = await db.query<OrderRow>(
    `select ${columns}
       from (${withStatus('$1')} and o.node = $2 and (o.issued_at >= $3 or o.action in ('quarantine', 'release'))
              order by o.index desc limit $4) told ${withEvents}
      order by told.index`,
    [rfc3339(nowMs), node, rfc3339(Math.max(0, sinceMs)), limits.maxDailyOrders],
  );
  return rows.map(asStored);
}

/** In turns of the nodes, so that one which obeys nothing does not hold up the others. */
async function readDispatchable(
  db: Queryable,
  nodes: readonly string[],
  nowMs: number,
): Promise<readonly StoredOrder[]> {
  const { rows } = await db.query<OrderRow>(
    `select ${columns}
       from (select *, row_number() over (partition by node order by index) as turn
               from (${withStatus('$1')} and o.node = any($2) and o.expires_at > $1::timestamptz and o.origin <> 'local') all_told
              where status = 'requested'
                and approvals <= (select count(distinct e.body -> 'approval' ->> 'approver') from order_events e
                                   where e.order_hash = hash and e.node = '${collectorAuthor}'
                                     and e.kind = 'order.approved' and e.index > all_told.index)
              order by turn, index limit $3) told ${withEvents}
      order by told.index`,
    [rfc3339(nowMs), nodes, limits.maxOrdersDispatched],
  );
  return rows.map(asStored).filter((stored) => countedApprovals(stored).length >= stored.order.approvals);
}

/** In turns of the nodes, so that one which claims to be at a great many does not hide what the others are at. */
async function readRequestedOn(db: Queryable, container: string, nowMs: number): Promise<readonly StoredOrder[]> {
  const { rows } = await db.query<OrderRow>(
    `select ${columns}
       from (select *, row_number() over (partition by node order by index) as turn
               from (${withStatus('$1')} and o.container = $2 and o.expires_at > $1::timestamptz) all_told
              where status = 'requested'
              order by turn, index limit $3) told ${withEvents}
      order by told.index`,
    [rfc3339(nowMs), container, limits.maxReplicasRead],
  );
  return rows.map(asStored);
}

/** @param prefix the beginning of a hash, or all of it. */
async function readOrdersNamed(db: Queryable, prefix: string, nowMs: number): Promise<readonly StoredOrder[]> {
  // Behind every hexadecimal digit there is a g.
  const { rows } = await db.query<OrderRow>(
    `select ${columns}
       from (${withStatus('$1')} and o.hash >= $2 and o.hash < $3 order by o.hash limit 2) told ${withEvents}
      order by told.hash`,
    [rfc3339(nowMs), prefix, `${prefix}g`],
  );
  return rows.map(asStored);
}

async function listOrders(
  db: Queryable,
  { node, container, action, status }: OrderFilter,
  { before, limit, nowMs }: { readonly before: number | undefined; readonly limit: number; readonly nowMs: number },
): Promise<readonly StoredOrder[]> {
  const { rows } = await db.query<OrderRow>(
    `select ${columns}
       from (select * from (${withStatus('$1')}
                and ($2::text is null or o.node = $2) and ($3::text is null or o.container = $3)
                  and ($4::text is null or o.action = $4) and ($6::bigint is null or o.index < $6)) all_told
              where $5::text is null or status = $5
              order by index desc limit $7) told ${withEvents}
      order by told.index desc`,
    [rfc3339(nowMs), node, container, action, status, before, limit],
  );
  return rows.map(asStored);
}

/** Orders that answered a drift: from when it opened until the next one of its name did. Oldest first. */
export async function ordersOfDrift(
  db: Queryable,
  drift: { readonly node: string; readonly id: string; readonly openedIndex: number },
  nowMs: number,
): Promise<readonly StoredOrder[]> {
  const { rows } = await db.query<OrderRow>(
    `select ${columns}
       from (${withStatus('$1')}
              and o.node = $2 and o.drift_id = $3 and o.index > $4
                and not exists (select from drifts next
                                 where next.node = $2 and next.id = $3 and next.opened_index > $4
                                   and next.opened_index < o.index)
              order by o.index desc limit $5) told ${withEvents}
      order by told.index`,
    [rfc3339(nowMs), drift.node, drift.id, drift.openedIndex, limits.pageSizeMax],
  );
  return rows.map(asStored);
}
