import { z } from 'zod';
import { ownText } from '../../common/fields.ts';
import { contract, moment, pageOf, pathText } from './contract.ts';
import { attemptView, enforcementTaken, jobFields } from './enforcements-contract.ts';
import { pageParameters } from './fields.ts';

const followUp = z
  .object({
    by: z.enum(['retry', 'resolution']),
    actor: z.string(),
    at: moment,
    enforcement_id: z.string().nullable().describe('the one that tries it again'),
    reason: z.string().nullable(),
  })
  .meta({ id: 'FollowUp' });

const deadLetterFields = {
  ...jobFields,
  failed_at: moment,
  follow_up: followUp.nullable().describe('what was done about it; null while it waits for somebody'),
};

const deadLetterView = z.object(deadLetterFields).meta({ id: 'DeadLetter' });
const deadLetterStory = z
  .object({ ...deadLetterFields, attempts: z.array(attemptView) })
  .meta({ id: 'DeadLetterStory' });

const id = z.object({ id: pathText });

export const deadLetterList = contract({
  operation: 'dead_letters.list',
  method: 'get',
  path: '/api/v1/dead-letters',
  permission: 'dead_letters.read',
  summary: 'Enforcements that failed for good, the last one first',
  query: z.strictObject({
    ...pageParameters,
    open: z.enum(['true', 'false']).optional().describe('whether nothing was done about it yet'),
  }),
  answers: { 200: pageOf(deadLetterView) },
});

export const deadLetterShow = contract({
  operation: 'dead_letters.show',
  method: 'get',
  path: '/api/v1/dead-letters/:id',
  permission: 'dead_letters.read',
  summary: 'One dead letter, with every attempt',
  params: id,
  answers: { 200: deadLetterStory },
});

export const deadLetterRetry = contract({
  operation: 'dead_letters.retry',
  method: 'post',
  path: '/api/v1/dead-letters/:id/retry',
  permission: 'dead_letters.manage',
  summary: 'Try it again, as an enforcement of its own that names this one',
  params: id,
  answers: { 202: enforcementTaken },
});

export const deadLetterResolve = contract({
  operation: 'dead_letters.resolve',
  method: 'post',
  path: '/api/v1/dead-letters/:id/resolve',
  permission: 'dead_letters.manage',
  summary: 'Put on record that nothing more is to be done',
  params: id,
  body: z.strictObject({ reason: ownText }),
  bodyIs: 'a resolution',
  answers: { 200: deadLetterStory },
});
