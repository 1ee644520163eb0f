import type { LoggedEntry } from '../../common/entry.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { SpokenSince } from './fleet-authors.ts';
import { type ChainPlace, type FleetContainer, type FleetView, type OfNode, readBody } from './fleet-view.ts';
import { project } from './projections.ts';

/** `observed` entries read at once on the way back to the last baseline. */
const pageEntries = 500;

/** The containers of the nodes: as they stand now for those that have observed nothing since, else folded again. */
export async function containersAt(
  view: FleetView,
  nodes: readonly string[],
  spoken: SpokenSince,
): Promise<readonly OfNode<FleetContainer>[]> {
  const changed = await view.observedAfter(spoken.places);
  const rows = [...(await view.containers(nodes.filter((node) => !changed.has(node))))];
  for (const place of spoken.places.filter(({ author }) => changed.has(author))) {
    rows.push(...(await foldContainers(view, place, spoken)));
  }
  return rows;
}

async function foldContainers(
  view: FleetView,
  place: ChainPlace,
  { boundary, base }: SpokenSince,
): Promise<readonly OfNode<FleetContainer>[]> {
  const { entries, baseline } = await observedSinceBaseline(view, place, boundary);
  const kept = baseline ? [] : base.containers.filter(({ node }) => node === place.author);
  const containers = new Map(kept.map((container) => [container.id, container]));
  for (const { id, node, index, container } of project(entries).containers) {
    if (container === null) containers.delete(id);
    else containers.set(id, { node, ...containerRow(container), seen_index: index });
  }
  return [...containers.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** A baseline starts from nothing: what was observed before it does not matter. */
async function observedSinceBaseline(view: FleetView, { author, seq }: ChainPlace, boundary: number) {
  const entries: LoggedEntry[] = [];
  for (let below = seq; below > 0; ) {
    const page = await view.observedBefore({ author, seq: below }, boundary, pageEntries);
    for (const stored of page) {
      const logged = readBody(stored);
      entries.push(logged);
      const { kind, body } = logged.entry;
      if (kind === 'observed' && body.baseline) return { entries: entries.reverse(), baseline: true };
    }
    if (page.length < pageEntries) break;
    below = (page.at(-1)?.seq ?? 1) - 1;
  }
  return { entries: entries.reverse(), baseline: false };
}

function containerRow(seen: ObservedContainer): Omit<FleetContainer, 'seen_index'> {
  return {
    id: seen.id,
    name: seen.name,
    image: seen.image,
    image_id: seen.imageId,
    state: seen.state,
    health: seen.health,
    exit_code: seen.exitCode,
    restart_count: seen.restartCount,
    created_at: seen.createdAt,
    started_at: seen.startedAt,
    finished_at: seen.finishedAt,
  };
}
