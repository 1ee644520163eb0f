import { z } from 'zod';
import { driftKinds } from '../../common/drift-kind.ts';
import { nodeName } from '../../common/fields.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { filterText, filterTime, pageParameters } from './fields.ts';
import { orderView } from './orders-contract.ts';

export const fieldDifference = z.object({
  field: z.string(),
  desired: z.string().nullable(),
  observed: z.string().nullable(),
});

export const drift = z
  .object({
    opened_index: z.int().describe('of the entry that opened it: its name'),
    node: z.string(),
    id: z.string(),
    kind: z.string(),
    container: z.string(),
    container_id: z.string().nullable(),
    differences: z.array(fieldDifference),
    commit: z.string().nullable().describe('of the manifest it was judged by'),
    state: z.enum(['open', 'resolved']),
    opened_at: moment,
    changed_index: z.int(),
    resolved_at: moment.nullable(),
    resolved_index: z.int().nullable(),
  })
  .meta({ id: 'Drift' });

export const driftList = contract({
  operation: 'drifts.list',
  method: 'get',
  path: '/api/v1/drifts',
  permission: 'fleet.read',
  summary: 'Differences between what should run and what does, newest first',
  query: z.strictObject({
    ...pageParameters,
    node: nodeName.optional(),
    kind: z.enum(driftKinds).optional(),
    container: filterText.optional(),
    state: z.enum(['open', 'resolved', 'all']).default('all'),
    from: filterTime.optional(),
    to: filterTime.optional(),
  }),
  answers: { 200: pageOf(drift) },
});

export const driftShow = contract({
  operation: 'drifts.show',
  method: 'get',
  path: '/api/v1/drifts/:index',
  permission: 'fleet.read',
  summary: 'One drift, and the orders that answered it, oldest first',
  params: z.object({ index: pathText }),
  answers: { 200: drift.extend({ orders: z.array(orderView) }) },
});
