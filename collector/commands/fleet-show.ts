import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { systemClock } from '../clock.ts';
import { type Fleet, type FleetNeeds, tellFleet } from '../fleet/fleet.ts';
import type { FleetMoment } from '../fleet/moment.ts';
import type { FleetNode } from '../fleet/view.ts';
import { snakeCased } from '../http/json.ts';
import { postgresFleetSources } from '../postgres/history-store.ts';
import { type CommandContext, requireNodeName, show, withCollectorData } from './context.ts';
import { contradictedField, contradictionOf } from './contradicted.ts';
import { formatFleet } from './fleet-text.ts';
import { parseMoment } from './moment.ts';

export interface FleetShowOptions {
  readonly at?: string;
  readonly size?: string;
  readonly node?: string;
}

/** The fleet of the present, or as the ledger knew it at a moment. */
export async function fleetShow(context: CommandContext, options: FleetShowOptions): Promise<number> {
  const moment = momentOf(options, systemClock.now());
  const node = options.node === undefined ? undefined : requireNodeName(options.node);
  const contradicted = await withCollectorData(context, async (data) => {
    const { database, keys } = data;
    const found = await contradictionOf(context, data);
    const needs = { ...postgresFleetSources(database.db), collectorKey: keys.publicKey, clock: systemClock };
    const fleet = await wholeFleet(needs, moment, node);
    if (node !== undefined && fleet.nodes.length === 0) throw unknownNode(node, fleet);
    const { as_of, nodes } = fleet;
    if (context.json) show(context, { as_of, items: nodes.map(snakeCased), ...contradictedField(found) }, () => '');
    else show(context, fleet, formatFleet);
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

function momentOf({ at, size }: FleetShowOptions, now: number): FleetMoment {
  if (at !== undefined && size !== undefined) {
    throw new AppError('validation.request', '--at and --size both name a moment: give one of them');
  }
  if (at !== undefined) return { at: parseMoment(at, now) };
  if (size === undefined) return 'present';
  const parsed = decodeDecimal(size);
  if (parsed !== undefined) return { size: parsed };
  throw new AppError('validation.request', `--size ${size}: a number of entries, as in a checkpoint`);
}

/** All pages, at the moment of the first. */
async function wholeFleet(needs: FleetNeeds, moment: FleetMoment, node: string | undefined): Promise<Fleet> {
  const limit = limits.pageSizeMax;
  const first = await tellFleet(needs, moment, { after: undefined, limit, node });
  const nodes: FleetNode[] = [...first.nodes];
  const { size } = first.as_of;
  for (let got = nodes.length; got === limit; ) {
    const next = await tellFleet(needs, { size }, { after: nodes.at(-1)?.node, limit, node });
    nodes.push(...next.nodes);
    got = next.nodes.length;
  }
  return { as_of: first.as_of, nodes };
}

function unknownNode(node: string, { as_of }: Fleet): AppError {
  return new AppError('resource.not_found', `no node ${node} was enrolled by the first ${as_of.size} entries`, {
    details: { node, size: as_of.size },
  });
}
