import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { count } from '../../common/fields.ts';
import {
  artifactList,
  artifactRegister,
  artifactShow,
  artifactSweep,
  artifactTrends,
  explainShow,
} from '../api/artifacts-contract.ts';
import { type ExplainWish, explain } from '../artifacts/explain.ts';
import type { ArtifactFilter, StoredArtifact } from '../artifacts/ports.ts';
import { createRegister } from '../artifacts/register.ts';
import type { Sweeper } from '../artifacts/sweep.ts';
import { type ArtifactView, artifactStory, artifactView, scoredView } from '../artifacts/view.ts';
import type { Recorder } from '../enforcement/ports.ts';
import { postgresArtifactStore } from '../postgres/artifact-store.ts';
import { postgresExplainStore } from '../postgres/explain-store.ts';
import type { Db } from '../postgres/pool.ts';
import { type Paging, page } from './paging.ts';
import { badParameter } from './query.ts';
import type { Serve } from './serving.ts';

export interface ArtifactSources {
  readonly sweep?: Sweeper['sweep'];
}

interface ArtifactNeeds extends ArtifactSources {
  readonly db: Db;
  readonly ledger: Recorder;
  readonly clock: Clock;
}

const key = { list: 'artifacts', key: count, keyOf: ({ firstIndex }: StoredArtifact) => firstIndex };
const paging: Paging<StoredArtifact, number, ArtifactView> = { ...key, show: artifactView };
const unshown: Paging<StoredArtifact, number, StoredArtifact> = { ...key, list: 'artifact_scores', show: (row) => row };

/** Artifacts: what they are, what they are worth, and where they run. */
export function addArtifactsRoutes(serve: Serve, { db, ledger, clock, sweep }: ArtifactNeeds): void {
  const store = postgresArtifactStore(db);
  const register = createRegister({ store, ledger });
  const stories = postgresExplainStore(db, clock.now);
  serve.json(artifactList, ({ query: { limit, cursor, ...asked } }) =>
    page(paging, { limit, cursor }, (at) => store.list(filterOf(asked), { before: at.after, limit: at.limit })),
  );
  serve.json(artifactTrends, async ({ query: { limit, cursor, ...asked } }) => {
    const listed = await page(unshown, { limit, cursor }, (at) =>
      store.list(filterOf(asked), { before: at.after, limit: at.limit }),
    );
    return { ...listed, items: await scoredView(store, listed.items, clock.now()) };
  });
  serve.either(artifactRegister, async ({ body, caller }) => {
    const { hash: id, name, kind, lineage, drift_score: driftScore, scorecard_score: scorecardScore } = body;
    const wish = { id, name, kind, lineage, driftScore, scorecardScore };
    const { artifact, isNews } = await register(wish, caller.actor);
    return { status: isNews ? 201 : 200, body: artifactView(artifact) };
  });
  serve.json(artifactShow, ({ params }) => artifactStory(store, params.id, clock.now()));
  serve.json(artifactSweep, async () => {
    const swept = await sweep?.(new AbortController().signal);
    return { swept: swept !== undefined, ...(swept ?? { looked: 0, scored: 0, requested: 0 }) };
  });
  serve.json(explainShow, ({ query }) => explain(stories, wishOf(query)));
}

interface Filters {
  readonly name?: string | undefined;
  readonly image?: string | undefined;
  readonly commit?: string | undefined;
  readonly score_below?: number | undefined;
  readonly score_at_least?: number | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

function filterOf({ name, image, commit, score_below, score_at_least, from, to }: Filters): ArtifactFilter {
  return { name, image, commit, scoreBelow: score_below, scoreFrom: score_at_least, from, to };
}

/** @throws AppError `validation.request`. */
function wishOf(asked: { container?: string | undefined; node?: string | undefined; artifact?: string | undefined }) {
  const { container, node, artifact } = asked;
  if (container !== undefined && artifact === undefined) return { container, node } satisfies ExplainWish;
  if (artifact !== undefined && container === undefined && node === undefined) return { artifact };
  if (artifact !== undefined) throw badParameter('artifact', 'stands alone: an artifact is not of a node');
  throw new AppError('validation.request', 'name a container (and its node where several have one), or an artifact', {
    details: { parameter: 'container' },
  });
}
