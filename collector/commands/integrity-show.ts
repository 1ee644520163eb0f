import { collectedPage } from '../../common/collected-page.ts';
import { type CollectedReport, collectedReport } from '../../common/collected-report.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { printableLines } from '../../common/printable.ts';
import { integrityReportShow } from '../api/integrity-contract.ts';
import { type WriteFile, withNamedFiles } from '../data/named-files.ts';
import { formatCollected } from '../integrity/text.ts';
import { withApi } from './api.ts';
import type { CommandContext } from './context.ts';

/** Where a report goes beside standard output. Files that are there already are not overwritten. */
export interface ReportFiles {
  /** One self-contained page. */
  readonly html?: string;
  /** The JSON, byte for byte as it is archived. */
  readonly report?: string;
}

/** One report; `--json` gives the document. Exit code 1 when the database is not the one that was published. */
export function integrityShow(context: CommandContext, reference: string, files: ReportFiles): Promise<number> {
  return withReportFiles(context, files, (write) =>
    withApi(context, async ({ api }) => {
      const document = await api.text(integrityReportShow, { params: { id: `${reference}.json` } });
      const report = reportIn(document);
      context.stdout.write(context.json ? document : printableLines(formatCollected(report)));
      await write({ page: () => collectedPage(report), document });
      return exitCodes.done;
    }),
  );
}

/** What is handed on byte for byte must not move a cursor either. */
function reportIn(document: string): CollectedReport {
  const parsed = collectedReport.safeParse(jsonIn(document));
  if (parsed.success && printableLines(document) === document) return parsed.data;
  throw new AppError('collector.refused', "the collector's answer is not understood: it is no integrity report");
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A report in the forms that files are asked for. */
interface WrittenForms {
  readonly page: () => string;
  readonly document: string;
}

export type WriteReport = (forms: WrittenForms) => Promise<void>;

/** Has `work` write those files that are asked for. @throws as {@link withNamedFiles} */
export function withReportFiles(
  { settings: { dataDir } }: CommandContext,
  { html, report }: ReportFiles,
  work: (write: WriteReport) => Promise<number>,
): Promise<number> {
  const writeAll = async (write: WriteFile, { page, document }: WrittenForms): Promise<void> => {
    if (html !== undefined) await write(html, [page()]);
    if (report !== undefined) await write(report, [document]);
  };
  return withNamedFiles(dataDir, [html, report], (write) => work((forms) => writeAll(write, forms)));
}
