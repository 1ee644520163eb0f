import { rfc3339 } from '../../common/clock.ts';
import type { ArtifactStore, Registration, StoredArtifact, StoredScore } from './ports.ts';
import { requireArtifact } from './register.ts';
import { scoreTrend, trendMs } from './trend.ts';

/*
 * Artifacts as the API and the commands tell of them.
 */

/** One row of a list, and the answer to a registration. */
export function artifactView(artifact: StoredArtifact) {
  const { id, firstIndex, firstAtMs, index, atMs, name, kind, lineage, driftScore, scorecardScore, score } = artifact;
  return {
    artifact_id: id,
    hash: id,
    ...{ name, kind, lineage, drift_score: driftScore, scorecard_score: scorecardScore },
    created_at: rfc3339(firstAtMs),
    created_index: firstIndex,
    registered_at: rfc3339(atMs),
    registered_index: index,
    score: score === null ? null : { total: score.total, index: score.index, at: rfc3339(score.atMs) },
  };
}

export type ArtifactView = ReturnType<typeof artifactView>;

function registrationView({ index, atMs, name, kind, lineage, driftScore, scorecardScore, actor }: Registration) {
  const said = { name, kind, lineage, drift_score: driftScore, scorecard_score: scorecardScore };
  return { index, at: rfc3339(atMs), ...said, actor };
}

export function scoreView({ index, atMs, total, previous, metric, parts }: StoredScore) {
  return { index, at: rfc3339(atMs), total, previous, metric, parts };
}

/** Artifacts by what they are worth now, and how that went in four weeks. */
export async function scoredView(
  store: Pick<ArtifactStore, 'scoresOf'>,
  page: readonly StoredArtifact[],
  nowMs: number,
) {
  const scores = await store.scoresOf(
    page.map(({ id }) => id),
    nowMs - trendMs,
  );
  return page.map((artifact) => {
    const { artifact_id, name, score } = artifactView(artifact);
    const its = scores.filter(({ artifact: of }) => of === artifact.id);
    return { artifact_id, name, score, parts: its.at(-1)?.parts ?? [], trend: scoreTrend(its, nowMs) };
  });
}

/** An artifact with all that was said of it, newest first, what its score is made of, and how that went in four weeks. */
export async function artifactStory(store: ArtifactStore, id: string, nowMs: number) {
  const artifact = await requireArtifact(store, id);
  const [registrations, scores] = await Promise.all([store.registrations(id), store.scoresOf([id], nowMs - trendMs)]);
  return {
    ...artifactView(artifact),
    registrations: registrations.map(registrationView),
    parts: scores.at(-1)?.parts ?? [],
    scores: scores.map(scoreView).reverse(),
    trend: scoreTrend(scores, nowMs),
  };
}

export type ArtifactStory = Awaited<ReturnType<typeof artifactStory>>;
