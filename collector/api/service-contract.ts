import { z } from 'zod';
import { enrolPath, enrolRequest, enrolResponse } from '../../common/enrol.ts';
import { contract, contradictable } from './contract.ts';

/*
 * The service itself, and how a node comes to it.
 */

export const health = contract({
  operation: 'service.health',
  method: 'get',
  path: '/health',
  permission: 'service.health',
  rate: 'none',
  summary: 'The process lives',
  answers: { 200: z.object({ status: z.literal('ok') }) },
});

const readiness = z.object({
  checks: z.object({ database: z.string(), ledger: z.string() }).describe('ok, or the code of what went wrong'),
  budgets: z
    .string()
    .describe('ok, or state.conflict where another collector has put others in force; ready it is all the same'),
  contradiction: z.string().optional(),
});

export const ready = contract({
  operation: 'service.ready',
  method: 'get',
  path: '/ready',
  permission: 'service.operate',
  summary: 'Entries can be taken and proven at this moment',
  answers: {
    200: readiness.extend({ status: z.literal('ready') }),
    503: readiness.extend({ status: z.literal('not_ready') }),
  },
});

export const metrics = contract({
  operation: 'service.metrics',
  method: 'get',
  path: '/metrics',
  permission: 'service.operate',
  summary: 'Figures for Prometheus',
  answers: { 200: { media: ['text/plain'], description: 'Prometheus text format' } },
});

export const metricTargets = contract({
  operation: 'service.targets',
  method: 'get',
  path: '/sd/prometheus',
  permission: 'service.operate',
  summary: 'Where the agents have their metrics, as http_sd_configs of Prometheus takes it',
  answers: {
    200: z.array(
      z.object({
        targets: z.array(z.string()).describe('host:port'),
        labels: z.object({ job: z.string(), node: z.string() }),
      }),
    ),
  },
});

const counts = z.record(z.string(), z.int());

export const stats = contract({
  operation: 'stats.show',
  method: 'get',
  path: '/api/v1/stats',
  aliases: ['/stats'],
  permission: 'fleet.read',
  summary: 'Counts of what there is',
  answers: {
    200: z.object({
      ledger: z.object({ origin: z.string(), vkey: z.string(), size: z.int(), root: z.string().nullable() }),
      nodes: z.object({ active: z.int(), revoked: z.int() }),
      containers: z.int(),
      open_drifts: counts.describe('by kind'),
      open_findings: counts.describe('by check'),
      coverage_minutes_24h: counts.describe('scan minutes of the last day, by status'),
      ...contradictable,
    }),
  },
});

export const enrol = contract({
  operation: 'nodes.enrol',
  recordsItself: true,
  method: 'post',
  path: enrolPath,
  permission: 'nodes.enrol',
  summary: 'Enrol a node under a key made on the node; the join token in the body is the credential',
  body: enrolRequest,
  bodyIs: 'an enrolment request',
  // Nobody is signed in there, and the token binds itself to the first key that comes with it.
  idempotency: false,
  // Bounded for all together, in a route of its own.
  rate: 'none',
  answers: { 200: enrolResponse },
});
