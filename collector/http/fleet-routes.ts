import pLimit from 'p-limit';
import { z } from 'zod';
import { count, nodeName } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { fleetShow } from '../api/fleet-contract.ts';
import { type AsOf, type FleetNeeds, tellFleet } from '../fleet/fleet.ts';
import type { FleetMoment } from '../fleet/moment.ts';
import type { FleetNode } from '../fleet/view.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { contradictedField } from './contradicted.ts';
import { findingView } from './findings-routes.ts';
import { snakeCased } from './json.ts';
import { type Paging, page } from './paging.ts';
import { badParameter } from './query.ts';
import type { Serve } from './serving.ts';

/** A row and the size it is told at, so that the pages of one answer tell of one moment, whatever is appended meanwhile. */
interface Row {
  readonly size: number;
  readonly node: FleetNode;
}

const paging: Paging<Row, [number, string], ReturnType<typeof shown>> = {
  list: 'the fleet',
  key: z.tuple([count, nodeName]),
  keyOf: ({ size, node }) => [size, node.node],
  show: ({ node }) => shown(node),
};

/** What nodes say in names of their own is told as everything else is. */
function shown({ report, findings, ...node }: FleetNode) {
  return {
    ...node,
    report: report === null ? null : { ...report, stores: snakeCased(report.stores) },
    findings: findings.map((row) => ({ ...row, finding: findingView(row.finding) })),
  };
}

export interface FleetRoutesNeeds extends FleetNeeds {
  readonly ledger: Pick<Ledger, 'contradiction'>;
}

/** The fleet of the present, or as the ledger knew it: `at` a time, or at a tree `size`. */
export function addFleetRoutes(serve: Serve, needs: FleetRoutesNeeds): void {
  // Each holds a connection for as long as it reads: most are to be left to who appends.
  const inTurn = pLimit(limits.fleetReadsAtOnce);
  serve.json(fleetShow, async ({ query: { node, at, size, ...rest } }) => {
    const asked = momentAsked(at, size);
    let asOf: AsOf | undefined;
    const answer = await page(paging, rest, async ({ after, limit }) => {
      if (after !== undefined && size !== undefined && after[0] !== size) {
        throw badParameter('size', `is not that of the cursor, ${after[0]}`);
      }
      const moment: FleetMoment = after === undefined ? asked : { size: after[0] };
      const fleet = await inTurn(() => tellFleet(needs, moment, { after: after?.[1], limit, node }));
      asOf = fleet.as_of;
      return fleet.nodes.map((row) => ({ size: fleet.as_of.size, node: row }));
    });
    if (asOf === undefined) throw new Error('a page of the fleet was told without its moment');
    return { as_of: asOf, ...answer, ...contradictedField(needs.ledger) };
  });
}

function momentAsked(at: string | undefined, size: number | undefined): FleetMoment {
  if (at !== undefined && size !== undefined)
    throw badParameter('size', 'and "at" both name a moment: give one of them');
  if (at !== undefined) return { at: Date.parse(at) };
  return size === undefined ? 'present' : { size };
}
