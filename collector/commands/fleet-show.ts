import { rfc3339 } from '../../common/clock.ts';
import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { fleetShow as contract } from '../api/fleet-contract.ts';
import type { Client } from '../client/client.ts';
import { systemClock } from '../clock.ts';
import { withApi } from './api.ts';
import { type CommandContext, optionalNodeName, show } from './context.ts';
import { type Fleet, formatFleet } from './fleet-text.ts';
import { parseMoment } from './moment.ts';

export interface FleetShowOptions {
  readonly at?: string;
  readonly size?: string;
  readonly node?: string;
}

/** The fleet of the present, or as the ledger knew it at a moment. */
export function fleetShow(context: CommandContext, options: FleetShowOptions): Promise<number> {
  const node = optionalNodeName(options.node);
  const query = { node, ...momentOf(options, systemClock.now()) };
  return withApi(context, async ({ api, contradictedField }) => {
    const fleet = await wholeFleet(api, query);
    if (node !== undefined && fleet.items.length === 0) throw unknownNode(node, fleet);
    show(context, { ...fleet, ...contradictedField() }, formatFleet);
    return exitCodes.done;
  });
}

interface Moment {
  readonly at?: string;
  readonly size?: string;
}

function momentOf({ at, size }: FleetShowOptions, now: number): Moment {
  if (at !== undefined && size !== undefined) {
    throw new AppError('validation.request', '--at and --size both name a moment: give one of them');
  }
  if (at !== undefined) return { at: rfc3339(parseMoment(at, now)) };
  if (size === undefined || decodeDecimal(size) !== undefined) return { ...(size !== undefined && { size }) };
  throw new AppError('validation.request', `--size ${size}: a number of entries, as in a checkpoint`);
}

/** All pages, at the moment of the first: cursors hold it. */
async function wholeFleet(api: Client, query: Moment & { readonly node: string | undefined }): Promise<Fleet> {
  const limit = limits.pageSizeMax;
  const { as_of, ...first } = await api.call(contract, { query: { ...query, limit } });
  const items = [...first.items];
  for (let cursor = first.next_cursor; cursor !== null; ) {
    const next = await api.call(contract, { query: { ...query, limit, cursor } });
    items.push(...next.items);
    cursor = next.next_cursor;
  }
  return { as_of, items };
}

function unknownNode(node: string, { as_of }: Fleet): AppError {
  return new AppError('resource.not_found', `no node ${node} was enrolled by the first ${as_of.size} entries`, {
    details: { node, size: as_of.size },
  });
}
