import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { type IntegrityStatus, integrityStatuses } from '../../common/integrity-report.ts';
import { snakeCased } from '../http/json.ts';
import { type ReportSummary, summaryOf } from '../integrity/reading.ts';
import { postgresReportSources } from '../postgres/integrity-store.ts';
import { type CommandContext, formatTable, requireNodeName, show, withCollectorData } from './context.ts';
import { contradictedField, contradictionOf } from './contradicted.ts';
import { moreLine, requireLimit } from './enforcing.ts';

export interface IntegrityReportsOptions {
  readonly node?: string;
  readonly status?: string;
  readonly limit?: string;
}

/** What is on record of complete checks, newest first. */
export async function integrityReports(context: CommandContext, options: IntegrityReportsOptions): Promise<number> {
  const limit = requireLimit(options.limit);
  const author = options.node === undefined ? undefined : requireNodeName(options.node);
  const status = options.status === undefined ? undefined : requireStatus(options.status);
  return withCollectorData(context, async (data) => {
    const found = await contradictionOf(context, data);
    const sources = postgresReportSources(data.database.db);
    const entries = await sources.entries({ author, status }, { after: undefined, limit: limit + 1 });
    const items = entries.slice(0, limit).map(summaryOf);
    const more = entries.length > limit;
    const result = { items: items.map(snakeCased), more, ...contradictedField(found) };
    show(context, result, () => `${formatSummaries(items)}${moreLine(more)}`);
    return found === undefined ? exitCodes.done : exitCodes.findings;
  });
}

function requireStatus(text: string): IntegrityStatus {
  const status = integrityStatuses.find((known) => known === text);
  if (status !== undefined) return status;
  throw new AppError('validation.request', `"${text}" is no status: ${integrityStatuses.join(', ')}`);
}

function formatSummaries(reports: readonly ReportSummary[]): string {
  if (reports.length === 0) return 'no reports yet\n';
  const cells = reports.map(({ index, author, status, startedAt, findings, report }) => [
    String(index),
    author,
    status ?? 'erased',
    startedAt ?? '-',
    findings === null ? '-' : String(findings),
    report ?? '-',
  ]);
  return formatTable([['ENTRY', 'AUTHOR', 'STATUS', 'STARTED', 'FINDINGS', 'REPORT'], ...cells]);
}
