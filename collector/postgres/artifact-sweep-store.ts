import { rfc3339 } from '../../common/clock.ts';
import type { DriftKind } from '../../common/drift-kind.ts';
import { runningStates } from '../../common/enforcement/governance.ts';
import type { Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { lineageSchema, understood } from '../../common/lineage.ts';
import type { StoredScore, SweepStore, SweptArtifact } from '../artifacts/ports.ts';
import type { RunAlone } from '../integrity/ports.ts';
import { aloneWith } from './alone.ts';
import { asScore, type ScoreRow, scoreColumns } from './artifact-store.ts';
import { type DatabaseOptions, type Db, type Queryable, type Tx, withTransaction } from './pool.ts';

/** Taken by whoever sweeps. */
const sweepLock = 7_600_020;

export function aloneInSweep(database: DatabaseOptions): RunAlone {
  return aloneWith(database, sweepLock);
}

export function postgresSweepStore(db: Db): SweepStore {
  return {
    markDue: (nowMs) => withTransaction(db, (tx) => markDue(tx, rfc3339(nowMs))),
    due: (nowMs, limit) => readDue(db, rfc3339(nowMs), limit),
    facts: (ids) => readFacts(db, ids),
    swept: (artifacts, dueMs) => setSwept(db, artifacts, rfc3339(dueMs)),
    unanswered: (limit) => readUnanswered(db, limit),
    answered: (index) => setAnswered(db, index),
  };
}

/** What nodes say that scores are made of. */
const tellingKinds: readonly Kind[] = [
  'observed',
  ...(['drift.opened', 'drift.changed', 'drift.resolved'] as const),
  ...(['sigil.finding', 'sigil.cleared', 'sigil.accepted'] as const),
];

/** Kinds of drift by which a container is not what the manifest wants, whatever is in it. */
const astrayKinds: readonly DriftKind[] = ['IMAGE_DRIFT', 'UNAUTHORIZED_CONTAINER'];

async function markDue(tx: Tx, now: string): Promise<void> {
  const { rows } = await tx.query<{ from: number; to: number }>(
    `select coalesce((select seen_to from artifact_sweep_state), 0) as "from", size as "to" from ledger_head`,
  );
  const [span] = rows;
  if (span === undefined || span.from >= span.to) return;
  await markRegistered(tx, span, now);
  const nodes = await readChangedNodes(tx, span);
  if (nodes === undefined) await markAll(tx, now);
  else if (nodes.length > 0) await markChanged(tx, nodes, now);
  await setSeen(tx, span.to);
}

interface Span {
  readonly from: number;
  readonly to: number;
}

async function markRegistered(tx: Tx, { from, to }: Span, now: string): Promise<void> {
  await tx.query(
    `insert into artifact_sweeps (artifact, due_at)
     select id, $3 from artifacts where registered_index >= $1 and registered_index < $2
     on conflict (artifact) do update set due_at = least(artifact_sweeps.due_at, excluded.due_at)`,
    [from, to, now],
  );
}

/** Undefined where there is too much to look at. */
async function readChangedNodes(tx: Tx, { from, to }: Span): Promise<readonly string[] | undefined> {
  if (to - from > limits.maxSweepEntries) return undefined;
  const { rows } = await tx.query<{ author: string }>(
    `select distinct author from entry_runs
      where index > $1::bigint - ${limits.runMaxEntries} and index + width > $1 and index < $2 and kind = any($3)
      limit $4`,
    [from, to, tellingKinds, limits.maxSweepNodes + 1],
  );
  return rows.length > limits.maxSweepNodes ? undefined : rows.map(({ author }) => author);
}

async function markAll(tx: Tx, now: string): Promise<void> {
  await tx.query('update artifact_sweeps set due_at = $1 where due_at > $1', [now]);
}

/** Those that ran there at the last look, and those that run there now. */
async function markChanged(tx: Tx, nodes: readonly string[], now: string): Promise<void> {
  await tx.query(
    `update artifact_sweeps set due_at = $2
      where due_at > $2
        and (nodes && $1
             or artifact in (select substr(image_id, 8) from containers where node = any($1)
                             union select a.id from containers c join artifacts a on a.image_id = c.image_id
                                    where c.node = any($1)
                             union select a.id from containers c join artifacts a on a.image = c.image and a.image_id is null
                                    where c.node = any($1)))`,
    [nodes, now],
  );
}

async function setSeen(tx: Tx, to: number): Promise<void> {
  await tx.query(
    `insert into artifact_sweep_state (seen_to) values ($1)
     on conflict (only_row) do update set seen_to = excluded.seen_to`,
    [to],
  );
}

async function readDue(db: Queryable, now: string, limit: number): Promise<readonly string[]> {
  const { rows } = await db.query<{ artifact: string }>(
    'select artifact from artifact_sweeps where due_at <= $1 order by due_at, artifact limit $2',
    [now, limit],
  );
  return rows.map(({ artifact }) => artifact);
}

/**
 * Containers that run an artifact `a`: by the id of their image, which is the artifact's own or that of its lineage; where the lineage
 * names none, by the reference they were made from. Ids of artifacts have another collation than the index.
 */
const containersThatRun = `
  (select c.* from containers c where c.image_id = any(array[('sha256:' || a.id) collate "default", a.image_id])
   union all
   select c.* from containers c where a.image_id is null and c.image = a.image and c.image_id <> ('sha256:' || a.id) collate "default") c`;

interface FactsRow {
  readonly id: string;
  readonly first_at: Date;
  /** As it was registered, or by its lineage. */
  readonly name: string | null;
  readonly lineage: string;
  readonly drift_score: number | null;
  readonly scorecard_score: number | null;
  readonly total: number | null;
  readonly parts: StoredScore['parts'] | null;
  readonly running: number;
  readonly astray: number;
  readonly drifting: number;
  readonly nodes: readonly string[];
  readonly findings: number;
}

/** Of nodes that are enrolled: what a node that was revoked had last seen is nobody's word any more. */
export function factsQuery(ids: readonly string[]): { readonly text: string; readonly values: unknown[] } {
  const text = `select a.id, a.first_at, a.name, a.lineage, a.drift_score, a.scorecard_score, s.total, s.parts,
            ran.running, ran.astray, ran.drifting, ran.nodes, found.findings
       from artifacts a
       left join artifact_scores s on s.index = a.score_index
      cross join lateral (
        select count(*) as running, count(*) filter (where d.astray) as astray,
               count(*) filter (where d.drifts and not d.astray) as drifting,
               coalesce(array_agg(distinct seen.node), '{}') as nodes
          from (select c.node, c.id, c.name
                  from ${containersThatRun} join nodes n on n.node = c.node and n.revoked_at is null
                 where c.state = any($2) order by c.node, c.id limit $4) seen
         cross join lateral (
           select count(*) > 0 as drifts, coalesce(bool_or(kind = any($3)), false) as astray
             from drifts
            where node = seen.node and container = seen.name and resolved_index is null
              and (container_id is null or container_id = seen.id)) d) ran
      cross join lateral (
        select count(*) as findings from unnest(ran.nodes) as of(node)
         cross join lateral (select from findings f where f.node = of.node and f.cleared_index is null limit $5) f) found
      where a.id = any($1)
      order by a.id`;
  const values = [ids, runningStates, astrayKinds, limits.maxScoredContainers, limits.maxScoredFindings];
  return { text, values };
}

async function readFacts(db: Queryable, ids: readonly string[]): Promise<readonly SweptArtifact[]> {
  const { text, values } = factsQuery(ids);
  const { rows } = await db.query<FactsRow>(text, values);
  return rows.map(asSwept);
}

function asSwept({ id, first_at, total, parts, nodes, ...row }: FactsRow): SweptArtifact {
  const { running, astray, drifting, findings } = row;
  return {
    ...{ id, firstAtMs: first_at.getTime(), nodes },
    before: total === null || parts === null ? null : { total, parts },
    facts: {
      lineage: { ...understood(lineageSchema.parse(JSON.parse(row.lineage))), name: row.name },
      ...{ driftScore: row.drift_score, scorecardScore: row.scorecard_score },
      ...{ running, astray, drifting, findings },
    },
  };
}

async function setSwept(
  db: Queryable,
  artifacts: readonly Pick<SweptArtifact, 'id' | 'nodes'>[],
  due: string,
): Promise<void> {
  const rows = artifacts.map(({ id, nodes }) => ({ id, nodes }));
  await db.query(
    `update artifact_sweeps s set due_at = $2, nodes = array(select jsonb_array_elements_text(x.nodes))
       from jsonb_to_recordset($1) as x(id text, nodes jsonb)
      where s.artifact = x.id`,
    [JSON.stringify(rows), due],
  );
}

async function readUnanswered(db: Queryable, limit: number): Promise<readonly StoredScore[]> {
  const { rows } = await db.query<ScoreRow>(
    `select ${scoreColumns} from artifact_scores
      where index >= coalesce((select answered_to from artifact_sweep_state), 0)
      order by index limit $1`,
    [limit],
  );
  return rows.map(asScore);
}

async function setAnswered(db: Queryable, index: number): Promise<void> {
  await db.query(
    `insert into artifact_sweep_state (answered_to) values ($1)
     on conflict (only_row) do update set answered_to = greatest(artifact_sweep_state.answered_to, excluded.answered_to)`,
    [index + 1],
  );
}
