import type { ProjectionChanges } from '../ledger/projections.ts';
import type { Tx } from './pool.ts';

/**
 * Applies one run of projected changes. Each statement takes its rows as one JSON array and writes only over what is
 * older than the entry it comes from, so applying entries one by one or a million at once ends in the same rows.
 */
export async function applyProjections(tx: Tx, changes: ProjectionChanges): Promise<void> {
  await when(changes.enrolled, enrolNodes, tx);
  await when(changes.revoked, revokeNodes, tx);
  await when(changes.started, startNodes, tx);
  await when(changes.lastEntries, touchNodes, tx);
  await when(changes.reports, reportNodes, tx);
  await when(changes.reports, recordCoverage, tx);
  await when(changes.gaps, recordGaps, tx);
  await applyContainers(tx, changes);
  await when(changes.drifts.standing.map(driftColumns), changeStandingDrifts, tx);
  await when(changes.drifts.baselines, endStandingDrifts, tx);
  await when(changes.drifts.opened.map(driftColumns), openDrifts, tx);
  await when(changes.findings.standing, clearStandingFindings, tx);
  await when(changes.findings.baselines, endStandingFindings, tx);
  await when(changes.findings.opened.map(findingColumns), openFindings, tx);
}

async function applyContainers(tx: Tx, { baselines, containers }: ProjectionChanges): Promise<void> {
  const gone = containers.filter((change) => change.container === null);
  const seen = containers.flatMap(({ node, index, container }) => (container ? [{ node, index, ...container }] : []));
  await when(baselines, forgetContainers, tx);
  await when(gone, removeContainers, tx);
  await when(seen, upsertContainers, tx);
}

async function when<T>(rows: readonly T[], apply: (tx: Tx, rows: string) => Promise<unknown>, tx: Tx): Promise<void> {
  if (rows.length > 0) await apply(tx, JSON.stringify(rows));
}

type DriftChange = ProjectionChanges['drifts']['opened' | 'standing'][number];

function driftColumns({ value, ...change }: DriftChange) {
  return { ...change, ...value?.drift, commit: value?.commit ?? null };
}

function findingColumns({ value, ...occurrence }: ProjectionChanges['findings']['opened'][number]) {
  return { ...occurrence, store: value.store, check: value.finding.check, finding: value.finding };
}

function enrolNodes(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `insert into nodes as n (node, public_key, fingerprint, enrolled_at, enrolled_index, first_index)
     select distinct on (node) node, decode("publicKey", 'base64'), fingerprint, at, index,
                               min(index) over (partition by node)
       from jsonb_to_recordset($1) as x(index bigint, node text, at timestamptz, "publicKey" text, fingerprint text)
      order by node, index desc
     on conflict (node) do update
        set public_key = excluded.public_key, fingerprint = excluded.fingerprint, enrolled_at = excluded.enrolled_at,
            enrolled_index = excluded.enrolled_index, revoked_at = null
      where n.enrolled_index < excluded.enrolled_index`,
    [rows],
  );
}

function revokeNodes(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `update nodes n set revoked_at = x.at
       from (select distinct on (n.node) n.node, r.at
               from jsonb_to_recordset($1) as r(index bigint, node text, at timestamptz)
               join nodes n on n.node = r.node and n.enrolled_index < r.index
              order by n.node, r.index) x
      where n.node = x.node and n.revoked_at is null`,
    [rows],
  );
}

function startNodes(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `update nodes n set started_index = x.index, started_at = x.at, agent_version = x.version, hostname = x.hostname
       from (select distinct on (node) *
               from jsonb_to_recordset($1) as r(index bigint, node text, at timestamptz, version text, hostname text)
              order by node, index desc) x
      where n.node = x.node and coalesce(n.started_index, n.first_index) < x.index`,
    [rows],
  );
}

function touchNodes(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `update nodes n set last_index = x.index, last_entry_at = x.at
       from jsonb_to_recordset($1) as x(index bigint, node text, at timestamptz)
      where n.node = x.node and coalesce(n.last_index, n.first_index) < x.index`,
    [rows],
  );
}

function reportNodes(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `update nodes n
        set report_index = x.index, report_minute = x.minute, coverage = x.coverage,
            containers = (x.containers ->> 'count')::bigint, unobserved = (x.containers ->> 'unobserved')::bigint,
            open_drifts = (x.drifts ->> 'open')::bigint, stores = x.stores, commit = x.commit
       from (select distinct on (node) *
               from jsonb_to_recordset($1) as r(index bigint, node text, minute timestamptz, coverage text,
                                                containers jsonb, drifts jsonb, stores jsonb, commit text)
              order by node, index desc) x
      where n.node = x.node and coalesce(n.report_index, n.first_index) < x.index`,
    [rows],
  );
}

function recordCoverage(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `insert into coverage as c (node, minute, status, index)
     select distinct on (node, minute) node, minute, coverage, index
       from jsonb_to_recordset($1) as x(node text, minute timestamptz, coverage text, index bigint)
      order by node, minute, index desc
     on conflict (node, minute) do update set status = excluded.status, index = excluded.index
      where c.index < excluded.index`,
    [rows],
  );
}

function forgetContainers(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `delete from containers c using jsonb_to_recordset($1) as x(node text, index bigint)
      where c.node = x.node and c.seen_index < x.index`,
    [rows],
  );
}

function removeContainers(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `delete from containers c using jsonb_to_recordset($1) as x(node text, id text, index bigint)
      where c.node = x.node and c.id = x.id and c.seen_index < x.index`,
    [rows],
  );
}

function upsertContainers(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `insert into containers as c (node, id, name, image, image_id, state, health, exit_code, restart_count,
                                  created_at, started_at, finished_at, seen_index)
     select node, id, name, image, "imageId", state, health, "exitCode", "restartCount",
            "createdAt", "startedAt", "finishedAt", index
       from jsonb_to_recordset($1) as x(node text, id text, name text, image text, "imageId" text, state text, health text,
                                        "exitCode" bigint, "restartCount" bigint, "createdAt" text, "startedAt" text,
                                        "finishedAt" text, index bigint)
     on conflict (node, id) do update
        set name = excluded.name, image = excluded.image, image_id = excluded.image_id, state = excluded.state,
            health = excluded.health, exit_code = excluded.exit_code, restart_count = excluded.restart_count,
            created_at = excluded.created_at, started_at = excluded.started_at, finished_at = excluded.finished_at,
            seen_index = excluded.seen_index
      where c.seen_index < excluded.seen_index`,
    [rows],
  );
}

function changeStandingDrifts(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `update drifts d
        set kind           = coalesce(x.kind, d.kind),
            container      = coalesce(x.container, d.container),
            container_id   = case when x."changedIndex" is null then d.container_id else x."containerId" end,
            differences    = coalesce(x.differences, d.differences),
            commit         = case when x."changedIndex" is null then d.commit else x.commit end,
            changed_index  = coalesce(x."changedIndex", d.changed_index),
            resolved_index = x."endedIndex",
            resolved_at    = x."endedAt"
       from jsonb_to_recordset($1) as x(node text, id text, kind text, container text, "containerId" text,
                                        differences jsonb, commit text, "changedIndex" bigint, "endedIndex" bigint,
                                        "endedAt" timestamptz)
      where d.node = x.node and d.id = x.id and d.resolved_index is null`,
    [rows],
  );
}

function endStandingDrifts(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `update drifts d set resolved_index = x.index, resolved_at = x.at
       from jsonb_to_recordset($1) as x(node text, index bigint, at timestamptz)
      where d.node = x.node and d.resolved_index is null`,
    [rows],
  );
}

function openDrifts(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `insert into drifts (opened_index, opened_at, changed_index, resolved_index, resolved_at,
                         node, id, kind, container, container_id, differences, commit)
     select "openedIndex", "openedAt", "changedIndex", "endedIndex", "endedAt",
            node, id, kind, container, "containerId", differences, commit
       from jsonb_to_recordset($1) as x("openedIndex" bigint, "openedAt" timestamptz, "changedIndex" bigint,
                                        "endedIndex" bigint, "endedAt" timestamptz, node text, id text, kind text,
                                        container text, "containerId" text, differences jsonb, commit text)`,
    [rows],
  );
}

function clearStandingFindings(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `update findings f set cleared_index = x."endedIndex", cleared_at = x."endedAt"
       from jsonb_to_recordset($1) as x(node text, id text, "endedIndex" bigint, "endedAt" timestamptz)
      where f.node = x.node and f.id = x.id and f.cleared_index is null`,
    [rows],
  );
}

function endStandingFindings(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `update findings f set cleared_index = x.index, cleared_at = x.at
       from jsonb_to_recordset($1) as x(node text, index bigint, at timestamptz)
      where f.node = x.node and f.cleared_index is null`,
    [rows],
  );
}

function openFindings(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `insert into findings (opened_index, opened_at, cleared_index, cleared_at, node, id, store, "check", finding)
     select "openedIndex", "openedAt", "endedIndex", "endedAt", node, id, store, "check", finding
       from jsonb_to_recordset($1) as x("openedIndex" bigint, "openedAt" timestamptz, "endedIndex" bigint,
                                        "endedAt" timestamptz, node text, id text, store text, "check" text, finding jsonb)`,
    [rows],
  );
}

function recordGaps(tx: Tx, rows: string): Promise<unknown> {
  return tx.query(
    `insert into coverage_gaps (index, node, from_at, to_at, reason, rebuilt)
     select index, node, "from", "to", reason, rebuilt
       from jsonb_to_recordset($1) as x(index bigint, node text, "from" timestamptz, "to" timestamptz, reason text, rebuilt jsonb)
     on conflict (index) do nothing`,
    [rows],
  );
}
