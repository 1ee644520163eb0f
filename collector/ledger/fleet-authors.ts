import { AppError } from '../../common/errors.ts';
import {
  type BaseFacts,
  type ChainPlace,
  type FleetView,
  type KeyFacts,
  type NodeFacts,
  type NodeNow,
  type Placed,
  type PlacedBody,
  readBody,
} from './fleet-view.ts';
import { storable } from './projections.ts';

/** Nodes that have said something since: their rows no longer tell what was the case. */
export interface SpokenSince {
  readonly size: number;
  /** Where the last erasure ended; what was said before it is known from `base` alone. */
  readonly boundary: number;
  readonly base: BaseFacts;
  /** The last entry of each of them among the first `size`; number 0 for one that had said nothing. */
  readonly places: readonly ChainPlace[];
  readonly facts: ReadonlyMap<string, NodeFacts>;
}

const nothingKept: BaseFacts = { nodes: new Map(), containers: [], drifts: new Map() };
const nothingSaid: NodeFacts = { last: null, agent: null, report: null };

/** Looks up what the nodes that have gone on since had said by then. */
export async function spokenSince(view: FleetView, nodes: readonly NodeNow[], size: number): Promise<SpokenSince> {
  const moved = nodes.filter(({ head }) => head !== null && head.index >= size);
  const boundary = await view.boundary();
  if (moved.length === 0) return { size, boundary, base: nothingKept, places: [], facts: new Map() };
  const names = moved.map(({ node }) => node);
  const base = boundary === 0 ? nothingKept : await view.base(names);
  const places = await placesAt(view, moved, size);
  const reports = by(await view.lastOf('report', places));
  const starts = by(await view.lastOf('agent.started', places));
  const last = by(await view.places(places.filter(({ seq }) => seq > 0)));
  const facts = moved.map(({ node, first_index }): [string, NodeFacts] => {
    // What was said under the name before its first enrolment was not said by the node.
    const own = <T extends { readonly index: number }>(found: T | undefined) =>
      found !== undefined && found.index > first_index ? found : undefined;
    const kept = base.nodes.get(node) ?? nothingSaid;
    return [
      node,
      {
        last: lastFact(own(last.get(node))),
        report: factFrom(own(reports.get(node)), { boundary, kept: kept.report, read: reportFact }),
        agent: factFrom(own(starts.get(node)), { boundary, kept: kept.agent, read: agentFact }),
      },
    ];
  });
  return { size, boundary, base, places, facts: new Map(facts) };
}

function by<T extends { readonly author: string }>(found: readonly T[]): ReadonlyMap<string, T> {
  return new Map(found.map((one) => [one.author, one]));
}

/** Indexes grow along a chain, so the last entry before `size` is found by halving, all authors at once. */
async function placesAt(view: FleetView, moved: readonly NodeNow[], size: number): Promise<readonly ChainPlace[]> {
  const spans = new Map(moved.map(({ node, head }) => [node, { before: 0, after: head?.seq ?? 0 }]));
  for (;;) {
    const open = [...spans].filter(([, { before, after }]) => after - before > 1);
    if (open.length === 0) return [...spans].map(([author, { before }]) => ({ author, seq: before }));
    const middles = open.map(([author, { before, after }]) => ({ author, seq: Math.floor((before + after) / 2) }));
    const found = by(await view.places(middles));
    for (const { author, seq } of middles) {
      const place = found.get(author);
      const span = spans.get(author);
      if (place === undefined || span === undefined) {
        throw new AppError('ledger.tampered', `entry ${seq} of ${author} is missing although later ones are there`);
      }
      if (place.index < size) span.before = seq;
      else span.after = seq;
    }
  }
}

function lastFact(place: Placed | undefined): NodeFacts['last'] {
  return place === undefined ? null : { index: place.index, at: place.at };
}

/** From the entry, or from what was kept of it when its body was erased. */
function factFrom<T>(
  found: PlacedBody | undefined,
  { boundary, kept, read }: { boundary: number; kept: T | null; read: (found: PlacedBody) => T | null },
): T | null {
  if (found === undefined) return null;
  return found.index < boundary ? kept : read(found);
}

function reportFact(found: PlacedBody): NodeFacts['report'] {
  const logged = readBody(found);
  const { kind, body } = storable(logged);
  if (kind !== 'report') return null;
  return {
    index: logged.index,
    minute: body.minute,
    coverage: body.coverage,
    containers: body.containers.count,
    unobserved: body.containers.unobserved,
    open_drifts: body.drifts.open,
    stores: body.stores,
    commit: body.commit,
  };
}

function agentFact(found: PlacedBody): NodeFacts['agent'] {
  const logged = readBody(found);
  const { kind, body } = storable(logged);
  if (kind !== 'agent.started') return null;
  return { index: logged.index, version: body.version, hostname: body.hostname, started_at: logged.entry.at };
}

/** Enrolments and revocations of the nodes whose rows do not tell how it was. */
export async function keyFactsAt(
  view: FleetView,
  nodes: readonly NodeNow[],
  size: number,
): Promise<ReadonlyMap<string, KeyFacts>> {
  // When a key was revoked is known, but not by which entry.
  const unsure = nodes.filter((row) => row.enrolled_index >= size || row.revoked_at !== null);
  const facts = new Map<string, KeyFacts>();
  if (unsure.length === 0) return facts;
  const names = new Set(unsure.map(({ node }) => node));
  const from = Math.min(...unsure.map((row) => row.first_index));
  for (const stored of await view.keyStatements({ from, to: size })) {
    const logged = readBody(stored);
    const { kind, body } = storable(logged);
    if ((kind !== 'node.enrolled' && kind !== 'node.revoked') || !names.has(body.node)) continue;
    const known = facts.get(body.node);
    const { at } = logged.entry;
    if (kind === 'node.enrolled') {
      const { fingerprint } = body;
      const enrolled = { enrolled_at: at, enrolled_index: logged.index, revoked_at: null };
      facts.set(body.node, { state: 'active', fingerprint, ...enrolled });
    } else if (known?.revoked_at === null) {
      facts.set(body.node, { ...known, state: 'revoked', revoked_at: at });
    }
  }
  return facts;
}
