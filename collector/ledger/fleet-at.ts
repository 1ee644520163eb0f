import { AppError } from '../../common/errors.ts';
import { keyFactsAt, spokenSince } from './fleet-authors.ts';
import { containersAt } from './fleet-containers.ts';
import { driftsAt } from './fleet-drifts.ts';
import type { FleetNode, FleetPage, FleetView, OfNode } from './fleet-view.ts';

/*
 * The fleet as the first entries of the ledger tell it. What was last said before that point still stands in the
 * projections; for the rest the few entries that decide it are looked up, so that the cost follows what has changed
 * since and not the length of the ledger.
 */

/** Which past is asked for; the present without either. */
export interface FleetMoment {
  readonly at?: number | undefined;
  readonly size?: number | undefined;
}

export interface AsOf {
  readonly size: number;
  /** When the last of the entries was received. */
  readonly received_at: string | null;
}

/**
 * How many entries the ledger had at that moment.
 * @throws AppError `resource.not_found` before its first entry and beyond its end, `resource.gone` where bodies that would
 *   tell were erased.
 */
export async function momentOf(view: FleetView, { at, size: asked }: FleetMoment): Promise<AsOf> {
  const head = await view.head();
  if (asked !== undefined && asked > head) {
    throw new AppError('resource.not_found', `the ledger has ${head} entries`, { details: { size: head } });
  }
  const size = asked ?? (at === undefined ? head : await view.sizeAt(at));
  if (size === undefined || size === 0) throw await beforeAll(view);
  const boundary = await view.boundary();
  if (size < boundary) {
    throw new AppError(
      'resource.gone',
      `what would tell of the first ${size} entries was erased up to ${boundary}; the entry ledger.erased says when and whether it was exported`,
      { details: { size, erasedTo: boundary } },
    );
  }
  return { size, received_at: await view.receivedAt(size) };
}

async function beforeAll(view: FleetView): Promise<AppError> {
  const first = await view.receivedAt(1);
  return new AppError(
    'resource.not_found',
    `the ledger has nothing from then: it begins at ${first ?? 'its first entry'}`,
    {
      details: { beginsAt: first },
    },
  );
}

/**
 * Nodes as the first `size` entries tell them.
 * @param size not before the last erasure; see {@link momentOf}.
 * @throws AppError `ledger.tampered` when an entry that decides it cannot be read.
 */
export async function fleetAt(view: FleetView, size: number, page: FleetPage): Promise<readonly FleetNode[]> {
  const nodes = await view.nodes(size, page);
  const names = nodes.map(({ node }) => node);
  const spoken = await spokenSince(view, nodes, size);
  const [keys, containers, drifts, findings] = [
    await keyFactsAt(view, nodes, size),
    await containersAt(view, names, spoken),
    await driftsAt(view, names, spoken),
    await view.findings(names, size),
  ];
  return nodes.map(({ node, first_index: _first, head: _head, ...now }): FleetNode => {
    const then = spoken.facts.get(node);
    return {
      node,
      ...now,
      ...(keys.get(node) ?? {}),
      ...(then ?? {}),
      containers: ofNode(containers, node),
      drifts: ofNode(drifts, node),
      findings: ofNode(findings, node),
    };
  });
}

function ofNode<T>(rows: readonly OfNode<T>[], of: string): Omit<OfNode<T>, 'node'>[] {
  return rows.filter(({ node }) => node === of).map(({ node: _node, ...row }) => row);
}
