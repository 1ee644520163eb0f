import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { fleetAt } from './at.ts';
import { type FleetMoment, momentOf } from './moment.ts';
import type { FleetNode, FleetPage, FleetView } from './view.ts';

/** What the fleet is told from. */
export interface FleetSources {
  /** Runs `work` on one state of the database. */
  readonly atOneMoment: <T>(work: (view: FleetView) => Promise<T>) => Promise<T>;
  /** Root hash of the first `size` entries. */
  readonly rootAt: (size: number) => Promise<Buffer>;
}

export interface FleetNeeds extends FleetSources {
  readonly collectorKey: KeyObject;
  readonly clock: Clock;
}

/** The moment that is told of: size and root are those of the checkpoint it can be held against. */
export interface AsOf {
  readonly size: number;
  /** When the last of these entries was received, by the collector's clock and under its signature. */
  readonly received_at: string;
  /** Base64. */
  readonly root: string;
  /** The present is read from the projections, every past from the entries themselves. */
  readonly source: 'projections' | 'entries';
}

export interface Fleet {
  readonly as_of: AsOf;
  readonly nodes: readonly FleetNode[];
}

/**
 * A page of the fleet, by name of the node, as the ledger knew it at that moment.
 * @throws AppError as `momentOf` and `fleetAt`.
 */
export async function tellFleet(
  { atOneMoment, rootAt, collectorKey, clock }: FleetNeeds,
  moment: FleetMoment,
  page: FleetPage,
): Promise<Fleet> {
  const { size, receivedAt, nodes } = await atOneMoment(async (view) => {
    const found = await momentOf(view, moment, { now: clock.now(), collectorKey });
    if (moment === 'present') return { ...found, nodes: await view.present(page) };
    return { ...found, nodes: await fleetAt(view, found.size, page, collectorKey) };
  });
  const root = (await rootAt(size)).toString('base64');
  const source = moment === 'present' ? 'projections' : 'entries';
  return { as_of: { size, received_at: receivedAt, root, source }, nodes };
}
