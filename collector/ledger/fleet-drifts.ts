import type { LoggedEntry } from '../../common/entry.ts';
import type { SpokenSince } from './fleet-authors.ts';
import { type FleetDrift, type FleetView, type OfNode, readBody } from './fleet-view.ts';
import { storable } from './projections.ts';

/** `drift.changed` entries looked through at once. */
const pageEntries = 500;

/** The drifts that were open, with the values they had. */
export async function driftsAt(
  view: FleetView,
  nodes: readonly string[],
  spoken: SpokenSince,
): Promise<readonly OfNode<FleetDrift>[]> {
  const rows = await view.drifts(nodes, spoken.size);
  const changed = rows.filter((row) => row.changed_index >= spoken.size);
  if (changed.length === 0) return rows;
  const then = await valuesBefore(view, changed, spoken);
  return rows.map((row) => then.get(row.opened_index) ?? row);
}

type DriftRow = OfNode<FleetDrift>;

/**
 * Values of drifts that were changed since: from the last change before, or what opened them, or, when that was erased,
 * what was kept of it.
 */
async function valuesBefore(view: FleetView, rows: readonly DriftRow[], { size, boundary, base }: SpokenSince) {
  const values = new Map<number, DriftRow>();
  const wanted = new Map(rows.map((row) => [driftKey(row.node, row.id), row]));
  const take = (logged: LoggedEntry) => {
    const { kind, body } = storable(logged);
    if (kind !== 'drift.changed' && kind !== 'drift.opened') return;
    const key = driftKey(logged.entry.author, body.drift.id);
    const row = wanted.get(key);
    if (row === undefined || logged.index < row.opened_index) return;
    wanted.delete(key);
    const { kind: driftKind, container, containerId, differences } = body.drift;
    const value = { kind: driftKind, container, container_id: containerId, differences, commit: body.commit };
    values.set(row.opened_index, { ...row, ...value, changed_index: logged.index });
  };
  const from = Math.max(boundary, Math.min(...rows.map((row) => row.opened_index)));
  for await (const logged of changesBefore(view, wanted, { from, to: size })) take(logged);
  const unchanged = [...wanted.values()];
  const openings = unchanged.filter((row) => row.opened_index >= boundary).map((row) => row.opened_index);
  for (const stored of await view.bodies(openings)) take(readBody(stored));
  for (const row of unchanged) {
    const kept = base.drifts.get(row.opened_index);
    if (kept !== undefined && row.opened_index < boundary) values.set(row.opened_index, { ...row, ...kept });
  }
  return values;
}

/** Newest first, until nothing is `wanted` any more. */
async function* changesBefore(
  view: FleetView,
  wanted: ReadonlyMap<string, DriftRow>,
  { from, to }: { from: number; to: number },
): AsyncGenerator<LoggedEntry> {
  for (let before = to; wanted.size > 0; ) {
    const nodes = [...new Set([...wanted.values()].map(({ node }) => node))];
    const page = await view.driftChanges(nodes, { from, to: before }, pageEntries);
    for (const stored of page) yield readBody(stored);
    if (page.length < pageEntries) return;
    before = page.at(-1)?.index ?? from;
  }
}

/** At most one drift of a name is open at a time. */
function driftKey(node: string, id: string): string {
  return `${node}\n${id}`;
}
