import { rfc3339 } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';
import { lineageSchema } from '../../common/lineage.ts';
import type { ArtifactKind } from '../artifacts/artifact.ts';
import type {
  ArtifactFilter,
  ArtifactPage,
  ArtifactStore,
  Registration,
  StoredArtifact,
  StoredScore,
} from '../artifacts/ports.ts';
import { type Db, type Queryable, withTransaction } from './pool.ts';

/** First of the two numbers of an advisory lock; the second one is of the artifact. */
const artifactLocks = 7_600;

/** Artifacts, from the projections: one function per statement. */
export function postgresArtifactStore(db: Db): ArtifactStore {
  return {
    alone: (id, work) =>
      withTransaction(db, async (tx) => {
        await tx.query('select pg_advisory_xact_lock($1, hashtext($2))', [artifactLocks, id]);
        return work();
      }),
    artifact: (id) => readArtifact(db, id),
    list: (filter, page) => listArtifacts(db, filter, page),
    registrations: (id) => readRegistrations(db, id),
    scoresOf: (ids, sinceMs) => readScores(db, ids, sinceMs),
  };
}

export interface ArtifactRow {
  readonly id: string;
  readonly first_index: number;
  readonly first_at: Date;
  readonly registered_index: number;
  readonly registered_at: Date;
  readonly name: string | null;
  readonly kind: ArtifactKind | null;
  readonly lineage: string;
  readonly drift_score: number | null;
  readonly scorecard_score: number | null;
  readonly score_index: number | null;
  readonly scored_at: Date | null;
  readonly total: number | null;
}

export const artifactColumns = `id, first_index, first_at, registered_index, registered_at, name, kind, lineage, drift_score,
            scorecard_score, score_index, scored_at, total`;

export function asArtifact(row: ArtifactRow): StoredArtifact {
  const { score_index, scored_at, total } = row;
  const isScored = score_index !== null && scored_at !== null && total !== null;
  return {
    ...{ id: row.id, firstIndex: row.first_index, firstAtMs: row.first_at.getTime() },
    ...{ index: row.registered_index, atMs: row.registered_at.getTime(), name: row.name, kind: row.kind },
    lineage: lineageSchema.parse(JSON.parse(row.lineage)),
    ...{ driftScore: row.drift_score, scorecardScore: row.scorecard_score },
    score: isScored ? { index: score_index, atMs: scored_at.getTime(), total } : null,
  };
}

async function readArtifact(db: Queryable, id: string): Promise<StoredArtifact | undefined> {
  const { rows } = await db.query<ArtifactRow>(`select ${artifactColumns} from artifacts where id = $1`, [id]);
  return rows.map(asArtifact)[0];
}

/** A condition only where it filters, so that each combination is planned by what it asks for. */
async function listArtifacts(
  db: Queryable,
  filter: ArtifactFilter,
  page: ArtifactPage,
): Promise<readonly StoredArtifact[]> {
  const { text, values } = artifactListQuery(filter, page);
  const { rows } = await db.query<ArtifactRow>(text, values);
  return rows.map(asArtifact);
}

function artifactListQuery(
  { name, image, commit, scoreBelow, scoreFrom, from, to }: ArtifactFilter,
  { before, limit }: ArtifactPage,
): { readonly text: string; readonly values: unknown[] } {
  const asked: readonly (readonly [condition: string, value: unknown])[] = [
    ['name =', name],
    ['image =', image],
    ['commit =', commit],
    ['total <', scoreBelow],
    ['total >=', scoreFrom],
    ['first_at >=', from],
    ['first_at <', to],
    ['first_index <', before],
  ];
  const given = asked.filter(([, value]) => value !== undefined);
  const conditions = given.map(([condition], at) => `${condition} $${at + 1}`);
  const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`;
  return {
    text: `select ${artifactColumns} from artifacts ${where} order by first_index desc limit $${given.length + 1}`,
    values: [...given.map(([, value]) => value), limit],
  };
}

interface RegistrationRow {
  readonly index: number;
  readonly at: Date;
  readonly name: string | null;
  readonly kind: ArtifactKind | null;
  readonly lineage: string;
  readonly drift_score: number | null;
  readonly scorecard_score: number | null;
  readonly actor: string;
}

async function readRegistrations(db: Queryable, id: string): Promise<readonly Registration[]> {
  const { rows } = await db.query<RegistrationRow>(
    `select index, at, name, kind, lineage, drift_score, scorecard_score, actor
       from artifact_registrations where id = $1 order by index desc limit $2`,
    [id, limits.maxRegistrationsRead],
  );
  return rows.map(({ index, at, name, kind, lineage, drift_score, scorecard_score, actor }) => ({
    ...{ index, atMs: at.getTime(), name, kind, actor },
    lineage: lineageSchema.parse(JSON.parse(lineage)),
    ...{ driftScore: drift_score, scorecardScore: scorecard_score },
  }));
}

export interface ScoreRow {
  readonly index: number;
  readonly at: Date;
  readonly artifact: string;
  readonly total: number;
  readonly previous: number | null;
  readonly metric: string;
  readonly parts: StoredScore['parts'];
}

export const scoreColumns = 'index, at, artifact, total, previous, metric, parts';

export function asScore({ at, ...row }: ScoreRow): StoredScore {
  return { ...row, atMs: at.getTime() };
}

async function readScores(db: Queryable, ids: readonly string[], sinceMs: number): Promise<readonly StoredScore[]> {
  if (ids.length === 0) return [];
  const each = Math.min(limits.maxTrendScores, Math.ceil(limits.maxTrendScoresRead / ids.length));
  const { rows } = await db.query<ScoreRow>(
    `select s.* from unnest($1::text[]) as of(id)
      cross join lateral (
        with newest as (select ${scoreColumns} from artifact_scores where artifact = of.id order by index desc limit $3)
        select ${scoreColumns} from newest
         where index >= coalesce((select max(index) from newest where at < $2), 0)) s
      order by s.index`,
    [ids, rfc3339(Math.max(0, sinceMs)), each],
  );
  return rows.map(asScore);
}
