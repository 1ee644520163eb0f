import { rfc3339 } from '../../common/clock.ts';
import { onlyMountedFiles } from '../../common/config-drift.ts';
import type { Drift } from '../../common/drift.ts';
import { limits } from '../../common/limits.ts';
import type { EndedSince } from '../enforcement/desk-ports.ts';
import type { SuspectDrift } from '../enforcement/freeze.ts';
import type { EndedDriftRow, OpenDrift } from '../enforcement/ports.ts';
import type { Queryable } from './pool.ts';

interface OpenDriftRow {
  readonly node: string;
  readonly id: string;
  readonly kind: Drift['kind'];
  readonly container: string;
  readonly container_id: string | null;
  readonly differences: Drift['differences'];
  readonly commit: string | null;
  readonly opened_index: number;
  readonly opened_at: Date;
}

/** Oldest first. */
export async function readOpenDrifts(db: Queryable, node: string): Promise<readonly OpenDrift[]> {
  const { rows } = await db.query<OpenDriftRow>(
    `select node, id, kind, container, container_id, differences, commit, opened_index, opened_at
       from drifts where node = $1 and resolved_index is null
      order by opened_index limit $2`,
    [node, limits.maxOpenDriftsRead],
  );
  return rows.map(asOpen);
}

function asOpen(row: OpenDriftRow): OpenDrift {
  const { node, id, kind, container, container_id, differences, commit, opened_index, opened_at } = row;
  const drift = { id, kind, container, containerId: container_id, differences };
  return { node, drift, openedIndex: opened_index, openedAtMs: opened_at.getTime(), commit };
}

interface EndedRow extends OpenDriftRow {
  readonly resolved_at: Date;
  readonly resolved_index: number;
}

/** Whoever reads on from where it has read to does not pay for the node's past. Of what differs, only the image is asked for. */
export async function readEndedDrifts(
  db: Queryable,
  node: string,
  { sinceMs, afterIndex, beforeIndex = Number.MAX_SAFE_INTEGER }: EndedSince,
): Promise<readonly EndedDriftRow[]> {
  const { rows } = await db.query<EndedRow>(
    `select node, id, kind, container, container_id, commit, opened_index, opened_at, resolved_at, resolved_index,
            jsonb_path_query_array(differences, '$[*] ? (@.field == "image")') as differences
       from drifts
      where node = $1 and kind = 'UNAUTHORIZED_CONTAINER' and resolved_index > $2 and resolved_index < $3 and resolved_at >= $4
      order by resolved_index desc limit $5`,
    [node, afterIndex, beforeIndex, rfc3339(Math.max(0, sinceMs)), limits.maxEndedDriftsRead],
  );
  return rows.map((row) => ({ ...asOpen(row), endedMs: row.resolved_at.getTime(), endedIndex: row.resolved_index }));
}

interface SuspectRow extends Pick<OpenDriftRow, 'node' | 'kind' | 'opened_at'> {
  readonly changed_at: Date | null;
  /** Of one that stands; null otherwise. */
  readonly differences: Drift['differences'] | null;
}

function asSuspect({ node, kind, opened_at, changed_at, differences }: SuspectRow): SuspectDrift {
  const answerable = differences !== null && !onlyMountedFiles(differences);
  return { node, kind, openedAtMs: opened_at.getTime(), changedAtMs: changed_at?.getTime(), answerable };
}

/**
 * Those that were judged by this commit last. Of each node and kind the newest ones: whoever opens a million of them must not
 * hide those of the others.
 */
export async function readDriftsOfCommit(db: Queryable, commit: string): Promise<readonly SuspectDrift[]> {
  const { rows } = await db.query<SuspectRow>(
    `select d.node, d.kind, d.opened_at, e.times[1] as changed_at,
            case when d.resolved_index is null then d.differences end as differences
       from (select *, row_number() over (partition by node, kind order by changed_index desc) as nth
               from drifts where commit = $1) d
       left join entry_runs e on e.index = d.changed_index and d.changed_index > d.opened_index
      where d.nth <= $2
      order by d.opened_index`,
    [commit, limits.maxDriftsOfCommitRead],
  );
  return rows.map(asSuspect);
}

/** Those that stand as another commit has found them. Of each node and kind the oldest ones. */
export async function readDriftsLeft(
  db: Queryable,
  commit: string,
  kinds: readonly Drift['kind'][],
): Promise<readonly SuspectDrift[]> {
  if (kinds.length === 0) return [];
  const { rows } = await db.query<SuspectRow>(
    `select d.node, d.kind, d.opened_at, null as changed_at, d.differences
       from (select *, row_number() over (partition by node, kind order by opened_index) as nth
               from drifts
              where resolved_index is null and commit is distinct from $1 and kind = any($3)) d
      where d.nth <= $2
      order by d.opened_index`,
    [commit, limits.maxDriftsOfCommitRead, kinds],
  );
  return rows.map(asSuspect);
}
