import { rfc3339 } from '../../common/clock.ts';
import { collectorAuthor } from '../../common/entry.ts';
import { type LineageFacts, understood } from '../../common/lineage.ts';
import type { StoredOrder } from '../enforcement/ports.ts';
import type { DriftRow } from '../postgres/query-store.ts';
import type { Adoption, EnforcementStep, RunningArtifact, SeenContainer, StoryContainer } from './explain-ports.ts';
import type { Registration, StoredArtifact, StoredScore } from './ports.ts';
import { artifactView } from './view.ts';

/** Everything that a story is made of. */
export interface StoryRows {
  readonly containers: readonly StoryContainer[];
  readonly artifacts: readonly StoredArtifact[];
  /** Those of their parents that are registered. */
  readonly parents: readonly StoredArtifact[];
  readonly runs: readonly RunningArtifact[];
  readonly registrations: readonly (Registration & { readonly artifact: string })[];
  readonly scores: readonly StoredScore[];
  readonly drifts: readonly DriftRow[];
  readonly orders: readonly StoredOrder[];
  readonly adoptions: readonly Adoption[];
  readonly enforcements: readonly EnforcementStep[];
  /** False where there was more than is read. */
  readonly complete: boolean;
}

/** One entry of the ledger, as part of a story. What does not apply is null. */
export interface StoryStep {
  readonly index: number;
  readonly at: string | null;
  readonly kind: string;
  /** Whose entry it is. */
  readonly author: string;
  /** In a few words. */
  readonly what: string;
  readonly artifact: string | null;
  readonly container: string | null;
  readonly drift: string | null;
  readonly order: string | null;
  readonly commit: string | null;
}

/** Where containers and artifacts come from, and what happened to them: what is known now, then entry by entry, oldest first. Pure. */
export function tellStory(rows: StoryRows) {
  const steps = [
    ...rows.registrations.map(registrationStep),
    ...rows.scores.map(scoreStep),
    ...rows.containers.flatMap(({ seen }) => (seen === null ? [] : [seenStep(seen)])),
    ...rows.drifts.flatMap(driftSteps),
    ...rows.orders.flatMap(orderSteps),
    ...rows.enforcements.map(enforcementStep),
  ];
  const named = commitsOf(steps);
  const adopted = rows.adoptions.filter(({ commit }) => named.has(commit)).map(adoptionStep);
  return {
    containers: rows.containers.map(containerView),
    artifacts: rows.artifacts.map((artifact) => originView(artifact, rows)),
    commits: [...named].map(([commit, indexes]) => ({ commit, named_by: indexes, adopted: adoptedBy(commit, rows) })),
    steps: [...steps, ...adopted].sort((a, b) => a.index - b.index),
    complete: rows.complete,
  };
}

export type Story = ReturnType<typeof tellStory>;

function containerView({ node, name, seen }: StoryContainer) {
  if (seen === null) return { node, name, seen };
  const { id, image, imageId, state } = seen;
  return { node, name, seen: { id, image, image_id: imageId, state, ...placeOf(seen) } };
}

function placeOf({ index, atMs }: Pick<SeenContainer, 'index' | 'atMs'>) {
  return { index, at: atMs === null ? null : rfc3339(atMs) };
}

/** An artifact with what is understood of its lineage, and where it runs. */
function originView(artifact: StoredArtifact, { parents, runs }: StoryRows) {
  const { image, imageId, commit, builder, signature, parents: ids } = understood(artifact.lineage);
  const known = new Map(parents.map(({ id, name }) => [id, name]));
  return {
    ...artifactView(artifact),
    origin: {
      ...{ image, image_id: imageId, commit, builder, signature },
      parents: ids?.map((id) => ({ artifact_id: id, name: known.get(id) ?? null, is_known: known.has(id) })) ?? null,
    },
    runs_on: runs
      .filter((run) => run.artifact === artifact.id)
      .map(({ by, container: { node, name, id, state, ...seen } }) => {
        return { node, container: name, container_id: id, state, matched_by: by, ...placeOf(seen) };
      }),
  };
}

function commitsOf(steps: readonly StoryStep[]): ReadonlyMap<string, readonly number[]> {
  const named = new Map<string, number[]>();
  for (const { commit, index, kind } of steps) {
    // That of an artifact is one of its source, not of the manifest.
    if (commit === null || kind.startsWith('artifact.')) continue;
    named.set(
      commit,
      [...(named.get(commit) ?? []), index].sort((a, b) => a - b),
    );
  }
  return named;
}

function adoptedBy(commit: string, { adoptions }: StoryRows) {
  return adoptions
    .filter((adoption) => adoption.commit === commit)
    .map(({ node, ...place }) => ({ node, ...placeOf(place) }));
}

const nothing = { artifact: null, container: null, drift: null, order: null, commit: null };

function registrationStep(said: StoryRows['registrations'][number]): StoryStep {
  const { artifact, actor, lineage, name } = said;
  const origin = understood(lineage);
  const what = `${actor} registered ${name ?? 'it'}${originText(origin)}`;
  const step = { ...nothing, ...placeOf(said), kind: 'artifact.registered', author: collectorAuthor, what };
  return { ...step, artifact, commit: origin.commit };
}

function originText({ commit, builder, signature }: LineageFacts): string {
  const parts = [
    ...(commit === null ? [] : [`from commit ${commit}`]),
    ...(builder === null ? [] : [`built by ${builder}`]),
    ...(signature === 'none' ? ['without a signature'] : [`signature ${signature}`]),
  ];
  return `: ${parts.join(', ')}`;
}

function scoreStep(score: StoredScore): StoryStep {
  const { artifact, total, previous, metric } = score;
  const what = `scored ${total}${previous === null ? '' : `, ${previous} before`} (${metric})`;
  return { ...nothing, ...placeOf(score), kind: 'artifact.scored', author: collectorAuthor, what, artifact };
}

function seenStep(seen: SeenContainer): StoryStep {
  const { node, name, state, image, imageId } = seen;
  const what = `seen last: ${state}, of ${image} (${imageId})`;
  return { ...nothing, ...placeOf(seen), kind: 'observed', author: node, what, container: name };
}

function driftSteps(drift: DriftRow): readonly StoryStep[] {
  const { node, id, kind, container, commit, opened_index, opened_at, resolved_index, resolved_at } = drift;
  const about = { ...nothing, author: node, container, drift: id, commit };
  const opened = { ...about, index: opened_index, at: opened_at.toISOString(), kind: 'drift.opened', what: kind };
  if (resolved_index === null) return [opened];
  const at = resolved_at === null ? null : resolved_at.toISOString();
  return [opened, { ...about, index: resolved_index, at, kind: 'drift.resolved', what: `${kind} is over` }];
}

function orderSteps({ hash, index, order, events }: StoredOrder): readonly StoryStep[] {
  const { action, container, commit, origin, by, reason, issuedAt, node, drift } = order;
  const about = { ...nothing, container, order: hash, commit, drift: drift?.id ?? null };
  const [kind, author] = origin === 'local' ? ['order.local', node] : ['order.issued', collectorAuthor];
  const issued = { ...about, index, at: issuedAt, kind, author, what: `${action}, by ${origin} ${by}: ${reason}` };
  const told = events.map((event) => {
    const at = rfc3339(event.atMs);
    return { ...about, index: event.index, at, kind: event.said.kind, author: event.node, what: eventText(event.said) };
  });
  return [issued, ...told];
}

function eventText(said: StoredOrder['events'][number]['said']): string {
  switch (said.kind) {
    case 'order.approved':
      return `approved by ${said.body.approval.approver}`;
    case 'order.rejected':
      return `rejected by ${said.body.actor}: ${said.body.reason}`;
    case 'order.result':
      return `${said.body.outcome}: ${said.body.reason}`;
    default:
      return said satisfies never;
  }
}

function enforcementStep({ id, artifact, kind, what, ...place }: EnforcementStep): StoryStep {
  return { ...nothing, ...placeOf(place), kind, author: collectorAuthor, what: `${what} (${id})`, artifact };
}

function adoptionStep({ node, commit, ...place }: Adoption): StoryStep {
  const what = `follows commit ${commit}`;
  return { ...nothing, ...placeOf(place), kind: 'desired.adopted', author: node, what, commit };
}
