import { z } from 'zod';
import { nodeName, ownText } from '../../common/fields.ts';
import { approvalSchema, orderActions, orderOrigins, orderOutcomes, orderStatuses } from '../../common/order.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { filterText, pageParameters } from './fields.ts';

const orderFields = {
  node: z.string(),
  action: z.enum(orderActions),
  container: z.string(),
  container_id: z.string().nullable(),
  drift: z
    .object({ id: z.string(), kind: z.string(), digest: z.string() })
    .nullable()
    .describe("what it answers; null for an operator's own decision"),
  commit: z.string(),
  origin: z.enum(orderOrigins),
  by: z.string().describe("the operator, or the rule's key in the manifest"),
  reason: z.string(),
  approvals_needed: z.int(),
  issued_at: moment,
  expires_at: moment,
};

const hold = z.object({ code: z.string(), reason: z.string() }).describe('something that stands in its way now');

export const orderView = z
  .object({
    hash: z.string().describe('its name: the SHA-256 of its canonical form'),
    index: z.int().describe('of the entry that issued it'),
    status: z.enum(orderStatuses),
    ...orderFields,
    approvals: z.array(z.object({ approver: z.string(), key: z.string().nullable(), index: z.int(), at: moment })),
  })
  .meta({ id: 'Order' });

const eventHead = { index: z.int(), node: z.string(), at: moment };

const orderEvent = z.discriminatedUnion('kind', [
  z.object({ ...eventHead, kind: z.literal('order.approved'), approver: z.string(), signature: z.string() }),
  z.object({ ...eventHead, kind: z.literal('order.rejected'), actor: z.string(), reason: z.string() }),
  z.object({
    ...eventHead,
    kind: z.literal('order.result'),
    outcome: z.enum(orderOutcomes),
    code: z.string().nullable(),
    reason: z.string(),
    evidence: z
      .object({
        sha256: z.string(),
        bytes: z.int(),
        image_id: z.string(),
        changed_files: z.int(),
        log_bytes: z.int(),
      })
      .nullable(),
    container_id: z.string().nullable(),
  }),
]);

export const orderStory = orderView
  .extend({
    approval_text: z.string().describe('what approvers sign, byte for byte'),
    held_up_by: z.array(hold),
    events: z.array(orderEvent).describe('what was said of it, oldest first'),
  })
  .meta({ id: 'OrderStory' });

const orderPlan = z.object({ dry_run: z.literal(true), ...orderFields, held_up_by: z.array(hold) });

const hash = z.object({ hash: pathText });

export const orderList = contract({
  operation: 'orders.list',
  method: 'get',
  path: '/api/v1/orders',
  permission: 'orders.read',
  summary: 'Orders, newest first',
  query: z.strictObject({
    ...pageParameters,
    node: nodeName.optional(),
    container: filterText.optional(),
    action: z.enum(orderActions).optional(),
    status: z.enum(orderStatuses).optional(),
  }),
  answers: { 200: pageOf(orderView) },
});

export const orderShow = contract({
  operation: 'orders.show',
  method: 'get',
  path: '/api/v1/orders/:hash',
  permission: 'orders.read',
  summary: 'The whole story of an order, and what holds it up; the first 8 digits of its hash will do',
  params: hash,
  answers: { 200: orderStory },
});

export const orderIssue = contract({
  operation: 'orders.issue',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/orders',
  permission: 'orders.issue',
  summary: 'Give an order by hand, where the manifest permits it; with dry_run only tell what it would be',
  body: z.strictObject({
    node: nodeName,
    action: z.enum(orderActions),
    container: filterText,
    reason: ownText,
    confirm: z.string().optional().describe("the container's name once more"),
    dry_run: z.boolean().default(false),
  }),
  bodyIs: 'an order',
  answers: { 200: orderPlan, 201: orderStory },
});

export const orderApprove = contract({
  operation: 'orders.approve',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/orders/:hash/approve',
  permission: 'orders.approve',
  summary: 'Add the signature of an approver',
  params: hash,
  body: approvalSchema,
  bodyIs: 'an approval',
  answers: { 200: orderStory },
});

export const orderReject = contract({
  operation: 'orders.reject',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/orders/:hash/reject',
  permission: 'orders.reject',
  summary: 'End an order before it is carried out',
  params: hash,
  body: z.strictObject({ reason: ownText }),
  bodyIs: 'a rejection',
  answers: { 200: orderStory },
});
