import { z } from 'zod';
import { driftKinds } from '../../common/drift-kind.ts';
import { foreignText, nodeName, ownText } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { approvalSchema } from '../../common/order.ts';
import { shownLook } from '../desired/look.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { pageParameters } from './fields.ts';

/*
 * What decides about orders: the manifest in force, frozen commits, silences, announced changes.
 */

const silenceFields = {
  id: z.string(),
  node: z.string().nullable(),
  container: z.string().nullable(),
  kind: z.string().nullable(),
  until: moment,
  actor: z.string(),
  reason: z.string(),
};

const silence = z.object(silenceFields).meta({ id: 'Silence' });
const standingSilence = z.object({ index: z.int(), at: moment, ...silenceFields }).meta({ id: 'StandingSilence' });

export const silenceList = contract({
  operation: 'silences.list',
  method: 'get',
  path: '/api/v1/silences',
  permission: 'governance.read',
  summary: 'Silences of drifts that stand',
  answers: { 200: z.object({ items: z.array(standingSilence) }) },
});

export const silenceAdd = contract({
  operation: 'silences.add',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/silences',
  permission: 'governance.change',
  summary: 'Order nothing because of these drifts for a while; they stay on record',
  body: z.strictObject({
    node: nodeName.nullable().default(null),
    container: foreignText.min(1).nullable().default(null),
    kind: z.enum(driftKinds).nullable().default(null),
    for_seconds: z
      .int()
      .min(1)
      .max(limits.maxSilenceMs / 1_000),
    reason: ownText,
  }),
  bodyIs: 'a silence',
  answers: { 201: silence },
});

export const silenceEnd = contract({
  operation: 'silences.end',
  recordsItself: true,
  method: 'delete',
  path: '/api/v1/silences/:id',
  permission: 'governance.change',
  summary: 'End a silence before its time; the first 8 digits of its id will do',
  params: z.object({ id: pathText }),
  query: z.strictObject({ reason: ownText.default('not needed any more') }),
  answers: { 200: silence.extend({ ended: z.literal(true) }) },
});

export const enforcementShow = contract({
  operation: 'enforcement.show',
  method: 'get',
  path: '/api/v1/enforcement',
  permission: 'governance.read',
  summary: 'Mode, commit in force, frozen commits and silences',
  answers: {
    200: z.object({
      commit: z.string().nullable(),
      mode: z.string().nullable(),
      manual_orders: z.boolean().nullable(),
      approvers: z.array(z.string()).nullable(),
      frozen: z.array(
        z.object({
          index: z.int(),
          at: moment,
          commit: z.string(),
          drift: z.string(),
          nodes: z.array(z.string()),
          reason: z.string(),
        }),
      ),
      silences: z.array(standingSilence),
    }),
  },
});

export const enforcementRelease = contract({
  operation: 'enforcement.release',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/enforcement/release',
  permission: 'governance.change',
  summary: 'Give orders by a frozen commit again, once somebody has looked at it',
  body: z.strictObject({ commit: ownText.min(1), reason: ownText }),
  bodyIs: 'a release',
  answers: { 200: z.object({ commit: z.string(), released: z.literal(true) }) },
});

export const governanceStatus = contract({
  operation: 'governance.status',
  method: 'get',
  path: '/api/v1/governance/status',
  permission: 'governance.read',
  summary: 'How far orders may go now: what each rule would do, and what is left of the limits of each node',
  query: z.strictObject({ ...pageParameters, node: nodeName.optional().describe('only this one') }),
  answers: {
    200: z.object({
      commit: z.string().nullable().describe('of the manifest in force; null where there is none'),
      mode: z.string().nullable(),
      frozen: z.boolean().describe('nothing is ordered by this commit until somebody releases it'),
      limits: z
        .object({
          daily_limit: z.int().describe('orders on one node in any 24 hours'),
          cooldown_seconds: z.number(),
          blast_radius_percent: z.number(),
          approval_seconds: z.number(),
          settling_seconds: z.number(),
          when_offline: z.string(),
        })
        .nullable(),
      rules: z.array(
        z.object({
          rule: z.string(),
          drift_kind: z.enum(driftKinds),
          action: z.string().nullable().describe('null where drift is put on record and no more'),
          mode: z.string(),
          grace_seconds: z.number(),
          approvals_needed: z.int(),
          held_by_window: z.string().nullable().describe('the maintenance window that holds its orders up now'),
          silences: z.int().describe('that stand for drifts of this kind, here or there'),
        }),
      ),
      windows: z.array(
        z.object({ name: z.string(), timezone: z.string(), days: z.array(z.string()), open: z.boolean() }),
      ),
      silences: z.array(standingSilence),
      nodes: pageOf(
        z.object({
          node: z.string(),
          commit: z.string().nullable().describe('that it follows'),
          used_today: z.int().describe('orders of the last 24 hours that count'),
          daily_limit: z.int(),
          remaining_today: z.int(),
          free_at: moment.nullable().describe('when there is room again, where the limit is reached'),
          used_by: z.array(z.object({ by: z.string(), count: z.int() })).describe('by rule, or by operator'),
          cooldowns: z.array(z.object({ container: z.string(), until: moment })),
        }),
      ),
    }),
  },
});

const change = z
  .object({
    index: z.int(),
    node: z.string().nullable(),
    container: z.string(),
    becomes: z.string(),
    before: z.string(),
    approver: z.string(),
  })
  .meta({ id: 'AnnouncedChange' });

export const changeList = contract({
  operation: 'changes.list',
  method: 'get',
  path: '/api/v1/changes',
  permission: 'governance.read',
  summary: 'Changes of images that somebody has announced',
  query: z.strictObject({ state: z.enum(['standing', 'all']).default('standing') }),
  answers: {
    200: z.object({ items: z.array(change.extend({ at: moment, key: z.string().nullable(), stands: z.boolean() })) }),
  },
});

export const changeAnnounce = contract({
  operation: 'changes.announce',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/changes',
  permission: 'changes.announce',
  summary: 'Announce, signed, that a container will get another image',
  body: z.strictObject({
    text: ownText.describe('the announced text byte for byte, line end included'),
    approval: approvalSchema.describe('who has signed it'),
  }),
  bodyIs: 'an announced change',
  answers: { 201: change },
});

export const desiredRefresh = contract({
  operation: 'desired.refresh',
  method: 'post',
  path: '/api/v1/desired/refresh',
  permission: 'desired.refresh',
  summary: 'Have the repository of the manifest looked at now',
  answers: { 200: shownLook },
});
