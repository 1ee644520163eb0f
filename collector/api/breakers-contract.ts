import { z } from 'zod';
import { breakerStates } from '../../common/job-words.ts';
import { contract, moment, pathText } from './contract.ts';

const breaker = z
  .object({
    service: z.string().describe('arweave, webhook: and a host, or channel: and the name of a channel of alerts'),
    state: z.enum(breakerStates).describe('half-open: the next request decides'),
    failures_in_a_row: z.int(),
    opened_at: moment.nullable(),
    open_until: moment.nullable().describe('until when nothing is tried'),
    successes: z.int().describe('since it was first used, or reset'),
    failures: z.int(),
    refused: z.int().describe('requests that were not made because it was open'),
    last_failure: z.string().nullable(),
    changed_at: moment,
  })
  .meta({ id: 'Breaker' });

export const breakerList = contract({
  operation: 'breakers.list',
  method: 'get',
  path: '/api/v1/breakers',
  permission: 'breakers.read',
  summary: 'The circuit breakers of outside services',
  answers: { 200: z.object({ items: z.array(breaker) }) },
});

export const breakerReset = contract({
  operation: 'breakers.reset',
  recordsItself: true,
  method: 'post',
  path: '/api/v1/breakers/:service/reset',
  permission: 'breakers.reset',
  summary: 'Close a breaker now, for all collectors',
  params: z.object({ service: pathText }),
  answers: { 200: breaker },
});
