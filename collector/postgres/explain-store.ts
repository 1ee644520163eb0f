import { limits } from '../../common/limits.ts';
import type {
  Adoption,
  EnforcementStep,
  ExplainPorts,
  RunningArtifact,
  SeenContainer,
} from '../artifacts/explain-ports.ts';
import type { StoredArtifact, StoredScore } from '../artifacts/ports.ts';
import {
  type ArtifactRow,
  artifactColumns,
  asArtifact,
  asScore,
  postgresArtifactStore,
  type ScoreRow,
  scoreColumns,
} from './artifact-store.ts';
import { postgresEnforcementStore } from './enforcement-store.ts';
import type { Db, Queryable } from './pool.ts';
import { listDrifts } from './query-store.ts';

/** What stories are read from: one function per statement. */
export function postgresExplainStore(db: Db, now: () => number): ExplainPorts {
  const orders = postgresEnforcementStore(db);
  const any = { action: undefined, status: undefined };
  const all = { kind: undefined, state: 'all', from: undefined, to: undefined } as const;
  return {
    containers: (name, node) => readContainers(db, name, node),
    artifactsOf: (image) => readArtifactsOf(db, image),
    artifacts: (ids) => readArtifacts(db, ids),
    runs: (ids) => readRuns(db, ids),
    registrations: postgresArtifactStore(db).registrations,
    scores: (ids) => readScores(db, ids),
    drifts: ({ node, name }) =>
      listDrifts(db, { ...all, node, container: name }, { after: undefined, limit: limits.maxStoryDrifts }),
    orders: ({ node, name }) => {
      const page = { before: undefined, limit: limits.maxStoryOrders };
      return orders.listOrders({ ...any, node, container: name }, page, now());
    },
    adoptions: (node) => readAdoptions(db, node),
    enforcements: (ids) => readEnforcements(db, ids),
  };
}

interface SeenRow {
  readonly node: string;
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly image_id: string;
  readonly state: string;
  readonly seen_index: number;
  readonly seen_at: Date | null;
}

const seenColumns = `c.node, c.id, c.name, c.image, c.image_id, c.state, c.seen_index,
            (select times[c.seen_index - index + 1] from entry_runs
              where index <= c.seen_index order by index desc limit 1) as seen_at`;

function asSeen({ image_id, seen_index, seen_at, ...row }: SeenRow): SeenContainer {
  const { node, id, name, image, state } = row;
  return { node, id, name, image, imageId: image_id, state, index: seen_index, atMs: seen_at?.getTime() ?? null };
}

const partOfId = /^[0-9a-f]{12,64}$/;

async function readContainers(
  db: Queryable,
  name: string,
  node: string | undefined,
): Promise<readonly SeenContainer[]> {
  const named = await readNamed(db, name, node);
  if (named.length > 0 || node === undefined || !partOfId.test(name)) return named;
  return readByIds(db, name, node);
}

async function readNamed(db: Queryable, name: string, node: string | undefined): Promise<readonly SeenContainer[]> {
  const { rows } = await db.query<SeenRow>(
    `select ${seenColumns} from containers c
      where c.name = $1 and ($2::text is null or c.node = $2) order by c.node, c.id limit $3`,
    [name, node, limits.maxStoryContainers],
  );
  return rows.map(asSeen);
}

/** Behind every hexadecimal digit there is a g. */
async function readByIds(db: Queryable, prefix: string, node: string): Promise<readonly SeenContainer[]> {
  const { rows } = await db.query<SeenRow>(
    `select ${seenColumns} from containers c where c.node = $2 and c.id >= $1 and c.id < $1 || 'g' order by c.id limit $3`,
    [prefix, node, limits.maxStoryContainers],
  );
  return rows.map(asSeen);
}

/** By the id of the image; by what it was called only where a lineage names no id. */
async function readArtifactsOf(
  db: Queryable,
  { image, imageId }: Pick<SeenContainer, 'image' | 'imageId'>,
): Promise<readonly StoredArtifact[]> {
  const { rows } = await db.query<ArtifactRow>(
    `select distinct ${artifactColumns}
       from ((select * from artifacts where id = substr($1, 8) and $1 like 'sha256:%')
             union all (select * from artifacts where image_id = $1 order by first_index desc limit $3)
             union all (select * from artifacts where image = $2 and image_id is null order by first_index desc limit $3)) a
      order by first_index desc limit $3`,
    [imageId, image, limits.maxStoryArtifacts],
  );
  return rows.map(asArtifact);
}

async function readArtifacts(db: Queryable, ids: readonly string[]): Promise<readonly StoredArtifact[]> {
  if (ids.length === 0) return [];
  const { rows } = await db.query<ArtifactRow>(`select ${artifactColumns} from artifacts where id = any($1)`, [ids]);
  return rows.map(asArtifact);
}

async function readRuns(db: Queryable, ids: readonly string[]): Promise<readonly RunningArtifact[]> {
  if (ids.length === 0) return [];
  const { rows } = await db.query<SeenRow & { artifact: string; by: RunningArtifact['by'] }>(
    `select a.id as artifact, c.by, ${seenColumns}
       from artifacts a
      cross join lateral (
        select 'image_id' as by, c.* from containers c where c.image_id = any(array[('sha256:' || a.id) collate "default", a.image_id])
        union all
        select 'image' as by, c.* from containers c
         where a.image_id is null and c.image = a.image and c.image_id <> ('sha256:' || a.id) collate "default"
         limit $2) c
      where a.id = any($1)
      order by c.node, c.name, c.id limit $2`,
    [ids, limits.maxStoryContainers],
  );
  return rows.map((row) => ({ artifact: row.artifact, by: row.by, container: asSeen(row) }));
}

async function readScores(db: Queryable, ids: readonly string[]): Promise<readonly StoredScore[]> {
  if (ids.length === 0) return [];
  const { rows } = await db.query<ScoreRow>(
    `select s.* from unnest($1::text[]) as of(id)
      cross join lateral (select ${scoreColumns} from artifact_scores where artifact = of.id order by index desc limit $2) s
      order by s.index desc limit $2`,
    [ids, limits.maxStoryScores],
  );
  return rows.map(asScore);
}

async function readAdoptions(db: Queryable, node: string): Promise<readonly Adoption[]> {
  const { rows } = await db.query<{ index: number; at: Date; node: string; commit: string }>(
    `select index, at, node, body ->> 'commit' as commit from measures
      where kind = 'desired.adopted' and node = $1 order by index desc limit $2`,
    [node, limits.maxStoryCommits],
  );
  return rows.map(({ at, ...row }) => ({ ...row, atMs: at.getTime() }));
}

interface EnforcementRow extends Omit<EnforcementStep, 'atMs' | 'what'> {
  readonly at: Date;
  readonly action: string;
  readonly target: string;
  readonly reason: string;
  readonly actor: string;
  readonly outcome: string | null;
  readonly error: string | null;
  readonly tx_id: string | null;
}

/** Of each artifact the newest, with what became of them. */
async function readEnforcements(db: Queryable, ids: readonly string[]): Promise<readonly EnforcementStep[]> {
  if (ids.length === 0) return [];
  const { rows } = await db.query<EnforcementRow>(
    `select said.*, e.id, e.artifact, e.action, e.target
       from unnest($1::text[]) as of(id)
      cross join lateral (select * from enforcements where artifact = of.id order by index desc limit $2) e
      cross join lateral (
        select e.index, e.at, 'enforcement.requested' as kind, e.actor, e.reason,
               null as outcome, null as error, null as tx_id
         union all
        select index, at, kind, coalesce(body ->> 'actor', ''), coalesce(body ->> 'reason', ''),
               body ->> 'outcome', body ->> 'error', body ->> 'txId'
          from enforcement_events where enforcement = e.id) said
      order by said.index`,
    [ids, limits.maxStoryEnforcements],
  );
  return rows.map((row) => {
    const { index, at, kind, id, artifact } = row;
    return { index, atMs: at.getTime(), kind, id, artifact, what: enforcementText(row) };
  });
}

function enforcementText({ kind, action, target, reason, actor, outcome, error, tx_id }: EnforcementRow): string {
  switch (kind) {
    case 'enforcement.requested':
      return `${actor} asked for ${[action, target].filter(Boolean).join(' ')}${reason === '' ? '' : `: ${reason}`}`;
    case 'enforcement.resolved':
      return `${actor} wants no more done about ${action}: ${reason}`;
    default:
      return `${action} ${outcome}${tx_id === null ? '' : `, transaction ${tx_id}`}${error === null ? '' : `: ${error}`}`;
  }
}
