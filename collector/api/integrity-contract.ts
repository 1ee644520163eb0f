import { z } from 'zod';
import { nodeName } from '../../common/fields.ts';
import { integrityStatuses } from '../../common/integrity-report.ts';
import { contract, pageOf } from './contract.ts';
import { pageParameters } from './fields.ts';

const summary = z
  .object({
    index: z.int().describe('of its entry'),
    author: z.string(),
    report: z.string().nullable().describe('null, as what follows, once retention has dropped the body of its entry'),
    status: z.enum(integrityStatuses).nullable(),
    started_at: z.string().nullable(),
    finished_at: z.string().nullable(),
    sha256: z.string().nullable(),
    stores: z.int().nullable(),
    findings: z.int().nullable(),
  })
  .meta({ id: 'IntegrityReportSummary' });

export const integrityReportList = contract({
  operation: 'integrity_reports.list',
  method: 'get',
  path: '/api/v1/integrity-reports',
  permission: 'fleet.read',
  summary: "Reports of complete checks, the nodes' and the collector's own (node=collector), newest first",
  query: z.strictObject({
    ...pageParameters,
    node: nodeName.optional(),
    status: z.enum(integrityStatuses).optional(),
  }),
  answers: { 200: pageOf(summary) },
});

export const integrityReportShow = contract({
  operation: 'integrity_reports.show',
  method: 'get',
  path: '/api/v1/integrity-reports/:id',
  permission: 'fleet.read',
  summary: 'One report, by the index of its entry, as JSON or, with .html or by Accept, as a page',
  params: z.object({ id: z.string() }),
  query: z.strictObject({ download: z.enum(['true', 'false']).default('false') }),
  answers: {
    200: {
      media: ['application/json', 'text/html'],
      description: 'the report, as docs/integrity-report.schema.json describes it',
    },
  },
});
