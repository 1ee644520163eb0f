import { collectorAuthor } from '../../common/entry.ts';
import type { Measure, OrderEntry, OrderEvent, ProjectionChanges } from '../ledger/projections.ts';
import { artifactSteps } from './artifact-projection.ts';
import { runTogether, type Step } from './pipeline.ts';
import type { Tx } from './pool.ts';

/** Applies one run of projected changes, within the transaction of `tx`. */
export function applyProjections(tx: Tx, changes: ProjectionChanges): Promise<void> {
  return runTogether(tx, projectionSteps(changes));
}

/**
 * The statements that apply one run of projected changes. Each takes its rows as one JSON array and writes only over what is
 * older than the entry it comes from, so applying entries one by one or a million at once ends in the same rows.
 */
export function projectionSteps(changes: ProjectionChanges): Step[] {
  const { baselines, containers, drifts, findings } = changes;
  const gone = containers.filter((change) => change.container === null);
  const seen = containers.flatMap(({ node, index, container }) => (container ? [{ node, index, ...container }] : []));
  return [
    ...step(enrolNodes, changes.enrolled),
    ...step(revokeNodes, changes.revoked),
    ...step(startNodes, changes.started),
    ...step(touchNodes, changes.lastEntries),
    ...step(reportNodes, changes.reports),
    ...step(recordCoverage, changes.reports),
    ...step(recordGaps, changes.gaps),
    ...step(forgetContainers, baselines),
    ...step(removeContainers, gone),
    ...step(upsertContainers, seen),
    ...step(changeStandingDrifts, drifts.standing.map(driftColumns)),
    ...step(endStandingDrifts, drifts.baselines),
    ...step(openDrifts, drifts.opened.map(driftColumns)),
    ...step(clearStandingFindings, findings.standing),
    ...step(endStandingFindings, findings.baselines),
    ...step(openFindings, findings.opened.map(findingColumns)),
    ...step(recordOrders, changes.orders.filter(mayOrder).map(orderColumns)),
    ...step(recordOrderEvents, changes.orderEvents.filter(maySpeak)),
    ...step(recordMeasures, changes.measures.filter(mayMeasure)),
    ...artifactSteps(changes),
    ...step(recordEnforcements, changes.enforcements.filter(isCollectors)),
    ...step(recordEnforcementEvents, changes.enforcementEvents.filter(isCollectors)),
  ];
}

function step(text: string, rows: readonly unknown[]): Step[] {
  return rows.length === 0 ? [] : [{ text, values: [JSON.stringify(rows)] }];
}

type DriftChange = ProjectionChanges['drifts']['opened' | 'standing'][number];

function driftColumns({ value, ...change }: DriftChange) {
  return { ...change, ...value?.drift, commit: value?.commit ?? null };
}

function findingColumns({ value, ...occurrence }: ProjectionChanges['findings']['opened'][number]) {
  return { ...occurrence, store: value.store, check: value.finding.check, finding: value.finding };
}

/**
 * What a node decides by itself it says itself, and every other order is the collector's. Who says it is part of the order by its
 * origin, and so of its hash: nobody can take the place of another's order by being first.
 */
function mayOrder({ node, order }: OrderEntry): boolean {
  return node === (order.origin === 'local' ? order.node : collectorAuthor);
}

/** Whose order it is that a node answers is not known here: it may come later, or have come long before. */
function maySpeak({ node, kind }: OrderEvent): boolean {
  return (node === collectorAuthor) === (kind !== 'order.result');
}

function mayMeasure({ node, kind }: Measure): boolean {
  return (node === collectorAuthor) === (kind !== 'desired.adopted');
}

export function isCollectors({ node }: { readonly node: string }): boolean {
  return node === collectorAuthor;
}

function orderColumns({ hash, index, order }: OrderEntry) {
  const { drift, ...columns } = order;
  const answers = { driftId: drift?.id ?? null, driftKind: drift?.kind ?? null, driftDigest: drift?.digest ?? null };
  return { hash, index, ...columns, ...answers, body: order };
}

const enrolNodes = `
  insert into nodes as n (node, public_key, fingerprint, enrolled_at, enrolled_index, first_index)
  select distinct on (node) node, decode("publicKey", 'base64'), fingerprint, at, index,
                            min(index) over (partition by node)
    from json_to_recordset($1) as x(index bigint, node text, at timestamptz, "publicKey" text, fingerprint text)
   order by node, index desc
  on conflict (node) do update
     set public_key = excluded.public_key, fingerprint = excluded.fingerprint, enrolled_at = excluded.enrolled_at,
         enrolled_index = excluded.enrolled_index, revoked_at = null
   where n.enrolled_index < excluded.enrolled_index`;

const revokeNodes = `
  update nodes n set revoked_at = x.at
    from (select distinct on (n.node) n.node, r.at
            from json_to_recordset($1) as r(index bigint, node text, at timestamptz)
            join nodes n on n.node = r.node and n.enrolled_index < r.index
           order by n.node, r.index) x
   where n.node = x.node and n.revoked_at is null`;

const startNodes = `
  update nodes n set started_index = x.index, started_at = x.at, agent_version = x.version, hostname = x.hostname
    from (select distinct on (node) *
            from json_to_recordset($1) as r(index bigint, node text, at timestamptz, version text, hostname text)
           order by node, index desc) x
   where n.node = x.node and coalesce(n.started_index, n.first_index) < x.index`;

const touchNodes = `
  update nodes n set last_index = x.index, last_entry_at = x.at
    from json_to_recordset($1) as x(index bigint, node text, at timestamptz)
   where n.node = x.node and coalesce(n.last_index, n.first_index) < x.index`;

const reportNodes = `
  update nodes n
     set report_index = x.index, report_minute = x.minute, coverage = x.coverage,
         containers = (x.containers ->> 'count')::bigint, unobserved = (x.containers ->> 'unobserved')::bigint,
         open_drifts = (x.drifts ->> 'open')::bigint, stores = x.stores, commit = x.commit, disk = x.disk
    from (select distinct on (node) *
            from json_to_recordset($1) as r(index bigint, node text, minute timestamptz, coverage text,
                                             containers jsonb, drifts jsonb, stores jsonb, commit text, disk jsonb)
           order by node, index desc) x
   where n.node = x.node and coalesce(n.report_index, n.first_index) < x.index`;

const recordCoverage = `
  insert into coverage as c (node, minute, status, index)
  select distinct on (node, minute) node, minute, coverage, index
    from json_to_recordset($1) as x(node text, minute timestamptz, coverage text, index bigint)
   order by node, minute, index desc
  on conflict (node, minute) do update set status = excluded.status, index = excluded.index
   where c.index < excluded.index`;

const forgetContainers = `
  delete from containers c using json_to_recordset($1) as x(node text, index bigint)
   where c.node = x.node and c.seen_index < x.index`;

const removeContainers = `
  delete from containers c using json_to_recordset($1) as x(node text, id text, index bigint)
   where c.node = x.node and c.id = x.id and c.seen_index < x.index`;

const upsertContainers = `
  insert into containers as c (node, id, name, image, image_id, state, health, exit_code, restart_count,
                               created_at, started_at, finished_at, seen_index)
  select node, id, name, image, "imageId", state, health, "exitCode", "restartCount",
         "createdAt", "startedAt", "finishedAt", index
    from json_to_recordset($1) as x(node text, id text, name text, image text, "imageId" text, state text, health text,
                                     "exitCode" bigint, "restartCount" bigint, "createdAt" text, "startedAt" text,
                                     "finishedAt" text, index bigint)
  on conflict (node, id) do update
     set name = excluded.name, image = excluded.image, image_id = excluded.image_id, state = excluded.state,
         health = excluded.health, exit_code = excluded.exit_code, restart_count = excluded.restart_count,
         created_at = excluded.created_at, started_at = excluded.started_at, finished_at = excluded.finished_at,
         seen_index = excluded.seen_index
   where c.seen_index < excluded.seen_index`;

const changeStandingDrifts = `
  update drifts d
     set kind           = coalesce(x.kind, d.kind),
         container      = coalesce(x.container, d.container),
         container_id   = case when x."changedIndex" is null then d.container_id else x."containerId" end,
         differences    = coalesce(x.differences, d.differences),
         commit         = case when x."changedIndex" is null then d.commit else x.commit end,
         changed_index  = coalesce(x."changedIndex", d.changed_index),
         resolved_index = x."endedIndex",
         resolved_at    = x."endedAt"
    from json_to_recordset($1) as x(node text, id text, kind text, container text, "containerId" text,
                                     differences jsonb, commit text, "changedIndex" bigint, "endedIndex" bigint,
                                     "endedAt" timestamptz)
   where d.node = x.node and d.id = x.id and d.resolved_index is null`;

const endStandingDrifts = `
  update drifts d set resolved_index = x.index, resolved_at = x.at
    from json_to_recordset($1) as x(node text, index bigint, at timestamptz)
   where d.node = x.node and d.resolved_index is null`;

const openDrifts = `
  insert into drifts (opened_index, opened_at, changed_index, resolved_index, resolved_at,
                      node, id, kind, container, container_id, differences, commit)
  select "openedIndex", "openedAt", "changedIndex", "endedIndex", "endedAt",
         node, id, kind, container, "containerId", differences, commit
    from json_to_recordset($1) as x("openedIndex" bigint, "openedAt" timestamptz, "changedIndex" bigint,
                                     "endedIndex" bigint, "endedAt" timestamptz, node text, id text, kind text,
                                     container text, "containerId" text, differences jsonb, commit text)`;

const clearStandingFindings = `
  update findings f set cleared_index = x."endedIndex", cleared_at = x."endedAt"
    from json_to_recordset($1) as x(node text, id text, "endedIndex" bigint, "endedAt" timestamptz)
   where f.node = x.node and f.id = x.id and f.cleared_index is null`;

const endStandingFindings = `
  update findings f set cleared_index = x.index, cleared_at = x.at
    from json_to_recordset($1) as x(node text, index bigint, at timestamptz)
   where f.node = x.node and f.cleared_index is null`;

const openFindings = `
  insert into findings (opened_index, opened_at, cleared_index, cleared_at, node, id, store, "check", finding)
  select "openedIndex", "openedAt", "endedIndex", "endedAt", node, id, store, "check", finding
    from json_to_recordset($1) as x("openedIndex" bigint, "openedAt" timestamptz, "endedIndex" bigint,
                                     "endedAt" timestamptz, node text, id text, store text, "check" text, finding jsonb)`;

const recordGaps = `
  insert into coverage_gaps (index, node, from_at, to_at, reason, rebuilt)
  select index, node, "from", "to", reason, rebuilt
    from json_to_recordset($1) as x(index bigint, node text, "from" timestamptz, "to" timestamptz, reason text, rebuilt jsonb)
  on conflict (index) do nothing`;

const recordOrders = `
  insert into orders (index, hash, node, action, container, container_id, drift_id, drift_kind, drift_digest, commit, origin,
                      "by", reason, approvals, issued_at, expires_at, body)
  select index, hash, node, action, container, "containerId", "driftId", "driftKind", "driftDigest", commit,
         origin, "by", reason, approvals, "issuedAt", "expiresAt", body
    from json_to_recordset($1) as x(index bigint, hash text, node text, action text, container text, "containerId" text,
                                     "driftId" text, "driftKind" text, "driftDigest" text, commit text, origin text, "by" text,
                                     reason text, approvals bigint, "issuedAt" timestamptz, "expiresAt" timestamptz, body jsonb)
  on conflict (index) do nothing`;

const recordOrderEvents = `
  insert into order_events (index, order_hash, node, kind, at, body)
  select index, "order", node, kind, at, body
    from json_to_recordset($1) as x(index bigint, "order" text, node text, kind text, at timestamptz, body jsonb)
  on conflict (index) do nothing`;

const recordMeasures = `
  insert into measures (index, kind, node, at, body)
  select index, kind, node, at, body
    from json_to_recordset($1) as x(index bigint, kind text, node text, at timestamptz, body jsonb)
  on conflict (index) do nothing`;

const recordEnforcements = `
  insert into enforcements (index, id, artifact, action, target, reason, actor, retry_of, at)
  select index, id, artifact, action, target, reason, actor, "retryOf", at
    from json_to_recordset($1) as x(index bigint, id text, artifact text, action text, target text, reason text, actor text,
                                     "retryOf" text, at timestamptz)
  on conflict (index) do nothing`;

const recordEnforcementEvents = `
  insert into enforcement_events (index, enforcement, kind, at, body)
  select index, id, kind, at, body
    from json_to_recordset($1) as x(index bigint, id text, kind text, at timestamptz, body jsonb)
  on conflict (index) do nothing`;
