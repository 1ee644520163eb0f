import { z } from 'zod';
import { hex64, ownText } from '../../common/fields.ts';
import { jobStatuses, runOutcomes } from '../../common/job-words.ts';
import { enforcementActions } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { pageParameters } from './fields.ts';

export const attemptView = z
  .object({
    n: z.int(),
    runs: z.int().describe('more than one where they only waited'),
    begun_at: moment,
    ended_at: moment.nullable(),
    outcome: z
      .enum(runOutcomes)
      .nullable()
      .describe('failed: counts as a try. waiting: a service is not there, or has not finished. null: it runs'),
    error: z.string().nullable(),
  })
  .meta({ id: 'EnforcementAttempt' });

const step = z.discriminatedUnion('step', [
  z.object({
    step: z.literal('requested'),
    at: moment,
    ledger_entry: z.int(),
    actor: z.string(),
    retry_of: z.string().nullable(),
  }),
  attemptView.extend({ step: z.literal('attempt') }),
  z.object({
    step: z.literal('result'),
    at: moment,
    ledger_entry: z.int(),
    outcome: z.enum(['done', 'failed']),
    trace: z.string().describe('SHA-256 of the attempts, as the ledger has it'),
  }),
]);

export const jobFields = {
  enforcement_id: z.string(),
  artifact_id: z.string(),
  action: z.enum(enforcementActions),
  target: z.string(),
  reason: z.string(),
  actor: z.string(),
  retry_of: z.string().nullable().describe('the dead letter that this one tries again'),
  status: z.enum(jobStatuses),
  tx_id: z.string().nullable().describe('of the Arweave transaction, from the moment it was signed'),
  error_msg: z.string().nullable().describe('why it failed, or what it waits for'),
  requested_at: moment,
};

export const enforcementView = z.object(jobFields).meta({ id: 'Enforcement' });

export const enforcementStory = z
  .object({
    ...jobFields,
    attempts: z.array(attemptView),
    inflow_trace: z.array(step).describe('every step from the request to the result'),
  })
  .meta({ id: 'EnforcementStory' });

const taken = z.object({ enforcement_id: z.string(), status: z.enum(jobStatuses) }).meta({ id: 'EnforcementTaken' });
export const enforcementTaken = taken;

export const jobRequest = contract({
  operation: 'enforcements.request',
  method: 'post',
  path: '/api/v1/enforcements',
  aliases: ['/enforce', '/api/v1/enforce'],
  permission: 'enforcements.request',
  summary:
    'Have something done about an artifact: tell somebody by a signed webhook, or keep its registration on Arweave',
  body: z.strictObject({
    artifact_id: hex64,
    action: z.enum(enforcementActions),
    target: z
      .string()
      .min(1)
      .max(limits.maxTargetChars)
      .describe('of webhook_alert the URL; of pin_arweave a word for people. It goes on record'),
    reason: ownText.default(''),
  }),
  bodyIs: 'an enforcement',
  answers: { 202: taken },
});

export const jobList = contract({
  operation: 'enforcements.list',
  method: 'get',
  path: '/api/v1/enforcements',
  aliases: ['/enforcements'],
  permission: 'enforcements.read',
  summary: 'Enforcements of artifacts, newest first',
  query: z.strictObject({
    ...pageParameters,
    artifact_id: hex64.optional(),
    action: z.enum(enforcementActions).optional(),
    status: z.enum(jobStatuses).optional(),
  }),
  answers: { 200: pageOf(enforcementView) },
});

export const jobShow = contract({
  operation: 'enforcements.show',
  method: 'get',
  path: '/api/v1/enforcements/:id',
  aliases: ['/enforcements/:id'],
  permission: 'enforcements.read',
  summary: 'One enforcement, with every attempt',
  params: z.object({ id: pathText }),
  answers: { 200: enforcementStory },
});
