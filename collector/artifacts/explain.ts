import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { understood } from '../../common/lineage.ts';
import type { ExplainPorts, SeenContainer, StoryContainer } from './explain-ports.ts';
import type { StoredArtifact } from './ports.ts';
import { type Story, type StoryRows, tellStory } from './story.ts';

/** What is to be explained: a container by name, or by its id where the node is given; or an artifact by its hash. */
export type ExplainWish =
  | { readonly container: string; readonly node: string | undefined }
  | { readonly artifact: string };

/**
 * Where it comes from and what happened to it.
 * @throws AppError `resource.not_found`; `state.conflict` for a name that several nodes have, naming them.
 */
export async function explain(ports: ExplainPorts, wish: ExplainWish): Promise<Story> {
  if ('artifact' in wish) return explainArtifact(ports, wish.artifact);
  const container = await findContainer(ports, wish);
  const artifacts = container.seen === null ? [] : await ports.artifactsOf(container.seen);
  const story = await gather(ports, [container], artifacts);
  if (container.seen === null && story.drifts.length + story.orders.length === 0) throw nowhere(wish.container);
  return tellStory(story);
}

async function explainArtifact(ports: ExplainPorts, id: string): Promise<Story> {
  const artifacts = await ports.artifacts([id]);
  if (artifacts.length === 0) {
    throw new AppError('resource.not_found', `there is no artifact ${id}`, { details: { artifact: id } });
  }
  const runs = await ports.runs([id]);
  const containers = runs.map(({ container: seen }) => ({ node: seen.node, name: seen.name, seen }));
  return tellStory(await gather(ports, containers, artifacts));
}

async function findContainer(
  ports: ExplainPorts,
  { container, node }: { readonly container: string; readonly node: string | undefined },
): Promise<StoryContainer> {
  const found = await ports.containers(container, node);
  const [seen, another] = found;
  if (seen !== undefined && another === undefined) return { node: seen.node, name: seen.name, seen };
  if (seen !== undefined) throw severalOf(container, found);
  // Of one that is gone the ledger may still tell something, under its name on its node.
  if (node !== undefined) return { node, name: container, seen: null };
  throw nowhere(container);
}

function severalOf(name: string, found: readonly SeenContainer[]): AppError {
  const places = found.map(({ node, id }) => `${node} (${id.slice(0, 12)})`);
  return new AppError('state.conflict', `there are several containers ${name}; name the node: ${places.join(', ')}`, {
    details: { containers: found.map(({ node, id }) => ({ node, id })) },
  });
}

function nowhere(name: string): AppError {
  return new AppError(
    'resource.not_found',
    `no container ${name} is known; of one that is gone something is known only where its node is named, too`,
    { details: { container: name } },
  );
}

/** Everything about these; of what is read for each container or artifact, the first ones. */
async function gather(
  ports: ExplainPorts,
  found: readonly StoryContainer[],
  artifacts: readonly StoredArtifact[],
): Promise<StoryRows> {
  const containers = found.slice(0, limits.maxStoryContainersTold);
  const ids = artifacts.map(({ id }) => id);
  const parents = artifacts.flatMap(({ lineage }) => understood(lineage).parents ?? []);
  const nodes = [...new Set(containers.map(({ node }) => node))];
  const [known, runs, scores, enforcements, registrations, drifts, orders, adoptions] = await Promise.all([
    ports.artifacts([...new Set(parents)]),
    ports.runs(ids),
    ports.scores(ids),
    ports.enforcements(ids),
    flat(ids, async (id) => (await ports.registrations(id)).map((said) => ({ ...said, artifact: id }))),
    flat(containers, ports.drifts),
    flat(containers, ports.orders),
    flat(nodes, ports.adoptions),
  ]);
  const isCut =
    containers.length < found.length ||
    artifacts.length >= limits.maxStoryArtifacts ||
    runs.length >= limits.maxStoryContainers ||
    scores.length >= limits.maxStoryScores ||
    enforcements.length >= limits.maxStoryEnforcements ||
    drifts.length >= limits.maxStoryDrifts ||
    orders.length >= limits.maxStoryOrders;
  return {
    ...{ containers, artifacts, parents: known, runs, scores, enforcements, registrations, drifts, orders, adoptions },
    complete: !isCut,
  };
}

/** One after the other: a story must not take all connections of the pool. */
async function flat<T, R>(items: readonly T[], read: (item: T) => Promise<readonly R[]>): Promise<readonly R[]> {
  const all: R[] = [];
  for (const item of items) all.push(...(await read(item)));
  return all;
}
