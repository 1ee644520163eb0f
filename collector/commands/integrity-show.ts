import { collectedPage } from '../../common/collected-page.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { printableLines } from '../../common/printable.ts';
import { findReport } from '../integrity/reading.ts';
import { formatCollected } from '../integrity/text.ts';
import { writeNewFile } from '../new-file.ts';
import { postgresReportSources } from '../postgres/integrity-store.ts';
import { type CommandContext, withCollectorData } from './context.ts';
import { contradictionOf } from './contradicted.ts';

/** Where a report goes beside standard output. Files that are there already are not overwritten. */
export interface ReportFiles {
  /** One self-contained page. */
  readonly html?: string;
  /** The JSON, byte for byte as it is archived. */
  readonly report?: string;
}

/** One report; `--json` gives the document. Exit code 1 when the database is not the one that was published. */
export async function integrityShow(context: CommandContext, reference: string, files: ReportFiles): Promise<number> {
  return withCollectorData(context, async (data) => {
    const contradicted = await contradictionOf(context, data);
    const { report, document } = await findReport(postgresReportSources(data.database.db), reference);
    const { json, stdout } = context;
    stdout.write(json ? document : printableLines(formatCollected(report)));
    await writeFiles(files, { page: () => collectedPage(report), document });
    return contradicted === undefined ? exitCodes.done : exitCodes.findings;
  });
}

export async function writeFiles(
  { html, report }: ReportFiles,
  { page, document }: { readonly page: () => string; readonly document: string },
): Promise<void> {
  if (html !== undefined) await writeNewFile(html, [page()]);
  if (report !== undefined) await writeNewFile(report, [document]);
}
