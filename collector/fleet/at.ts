import type { KeyObject } from 'node:crypto';
import { AppError } from '../../common/errors.ts';
import { project } from '../ledger/projections.ts';
import { requireSigned, storableEntry } from '../ledger/replay.ts';
import type { StorableEntry } from '../ledger/store.ts';
import { goOn, stateOf } from './fold.ts';
import type { ChainBody, ChainSpan, FleetNode, FleetPage, FleetView, KeyFacts, Placed } from './view.ts';

/*
 * The fleet as the first entries of the ledger tell it: read from the entries alone, each checked against the leaf hash it
 * was logged under, and from what a signed entry vouches for where older ones were erased. The stored projections, which
 * tell the present, play no part in it. What it costs follows what the nodes of the page have said up to then.
 */

/** Entries of a node read at once. */
const stepEntries = 500;

/**
 * A page of nodes, by name, as the first `size` entries tell them.
 * @param size not before the last erasure; see `momentOf`.
 * @throws AppError `ledger.tampered` when something that is read is not what was logged or signed.
 */
export async function fleetAt(
  view: FleetView,
  size: number,
  page: FleetPage,
  collectorKey: KeyObject,
): Promise<readonly FleetNode[]> {
  const nodes = pageOf(await enrolledBy(view, size), page);
  const names = nodes.map(({ node }) => node);
  const boundary = await view.boundary();
  if (boundary > 0) await requireSigned({ boundary, digest: await view.baseDigest(boundary) }, view, collectorKey);
  const kept = new Map((await view.kept(boundary, names)).map((row) => [row.node, row]));
  const starts = await placesBefore(view, names, boundary);
  const ends = await placesBefore(view, names, size);
  const reports = new Map((await view.lastReports([...ends.values()])).map((found) => [found.author, found]));
  const fleet: FleetNode[] = [];
  for (const { node, first_index: firstIndex, ...keys } of nodes) {
    const state = stateOf(kept.get(node));
    const end = ends.get(node);
    const span = { author: node, after: starts.get(node)?.seq ?? 0, to: end?.seq ?? 0 };
    for await (const entries of statementsOf(view, span)) goOn(state, entries, firstIndex);
    const report = reports.get(node);
    if (report !== undefined && report.index >= boundary) goOn(state, [chainEntry(report)], firstIndex);
    fleet.push({
      node,
      ...keys,
      last: end === undefined || end.index < firstIndex ? null : { index: end.index, at: end.at },
      agent: state.agent,
      report: state.report,
      containers: [...state.containers.values()].sort((a, b) => (a.id < b.id ? -1 : 1)),
      drifts: [...state.drifts.values()].sort((a, b) => a.opened_index - b.opened_index),
      findings: [...state.findings.values()].sort((a, b) => a.opened_index - b.opened_index),
    });
  }
  return fleet;
}

interface Enrolled extends KeyFacts {
  readonly node: string;
  /** Of the first enrolment. */
  readonly first_index: number;
}

/** Every node enrolled by one of the first `size` entries. */
async function enrolledBy(view: FleetView, size: number): Promise<readonly Enrolled[]> {
  const nodes = new Map<string, Enrolled>();
  for (const stored of await view.keyStatements(size)) {
    const { enrolled, revoked } = project([storableEntry(stored)]);
    for (const { node, index, at, fingerprint } of enrolled) {
      const first_index = nodes.get(node)?.first_index ?? index;
      const since = { enrolled_at: at, enrolled_index: index, revoked_at: null };
      nodes.set(node, { node, first_index, state: 'active', fingerprint, ...since });
    }
    for (const { node, at } of revoked) {
      const known = nodes.get(node);
      if (known?.state === 'active') nodes.set(node, { ...known, state: 'revoked', revoked_at: at });
    }
  }
  return [...nodes.values()];
}

/** Names are ASCII, so this is the order that PostgreSQL calls "C". */
function pageOf(nodes: readonly Enrolled[], { after = '', limit, node }: FleetPage): readonly Enrolled[] {
  return nodes
    .filter((one) => one.node > after && (node === undefined || one.node === node))
    .sort((a, b) => (a.node < b.node ? -1 : 1))
    .slice(0, limit);
}

/**
 * The last of each author's entries among the first `size`; none for who had said nothing by then. Indexes grow along a
 * chain, so it is found by halving, for all authors at once.
 */
async function placesBefore(
  view: FleetView,
  authors: readonly string[],
  size: number,
): Promise<ReadonlyMap<string, Placed>> {
  const found = new Map<string, Placed>();
  if (size === 0) return found;
  const spans = (await view.chainEnds(authors)).map(({ author, seq }) => ({ author, from: 1, to: seq }));
  for (let open = spans; open.length > 0; open = open.filter(({ from, to }) => from <= to)) {
    const middles = open.map(({ author, from, to }) => ({ author, seq: Math.ceil((from + to) / 2) }));
    const placed = new Map((await view.places(middles)).map((place) => [place.author, place]));
    open.forEach((span, at) => {
      const seq = middles[at]?.seq ?? 0;
      const place = placed.get(span.author);
      if (place === undefined) throw missing(span.author, seq);
      if (place.index < size) {
        found.set(span.author, place);
        span.from = seq + 1;
      } else {
        span.to = seq - 1;
      }
    });
  }
  return found;
}

function missing(author: string, seq: number): AppError {
  return new AppError('ledger.tampered', `entry ${seq} of ${author} is missing although there are later ones`);
}

async function* statementsOf(view: FleetView, { author, after, to }: ChainSpan) {
  for (let at = after; at < to; ) {
    const page = await view.statements({ author, after: at, to }, stepEntries);
    yield page.map(chainEntry);
    if (page.length < stepEntries) return;
    at = page.at(-1)?.seq ?? to;
  }
}

/** The entry, if it is the one that its columns say: columns are what it was looked for by. */
function chainEntry(found: ChainBody): StorableEntry {
  const logged = storableEntry(found);
  const { author, seq } = logged.entry;
  if (author === found.author && seq === found.seq) return logged;
  throw new AppError(
    'ledger.tampered',
    `entry ${found.index} is number ${seq} of ${author}, not ${found.seq} of ${found.author} as its columns say`,
    { details: { index: found.index } },
  );
}
