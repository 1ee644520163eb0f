import type { IntegrityStatus } from '../../common/integrity-report.ts';
import { integrityReportList } from '../api/integrity-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { type CommandContext, optionalNodeName } from './context.ts';
import { type ListOptions, showList } from './list.ts';

export interface IntegrityReportsOptions extends ListOptions {
  readonly node?: string;
  readonly status?: IntegrityStatus;
}

/** What is on record of complete checks, newest first. */
export function integrityReports(context: CommandContext, options: IntegrityReportsOptions): Promise<number> {
  const query = { node: optionalNodeName(options.node), status: options.status };
  return showList(context, options, {
    page: (api, at) => api.call(integrityReportList, { query: { ...query, ...at } }),
    heading: ['ENTRY', 'AUTHOR', 'STATUS', 'STARTED', 'FINDINGS', 'REPORT'],
    cells: reportCells,
    none: 'no such reports',
  });
}

function reportCells(row: AnswerOf<typeof integrityReportList>['items'][number]): readonly string[] {
  return [
    String(row.index),
    row.author,
    row.status ?? 'erased',
    row.started_at ?? '-',
    row.findings === null ? '-' : String(row.findings),
    row.report ?? '-',
  ];
}
