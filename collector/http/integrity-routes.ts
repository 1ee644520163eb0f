import type { Context } from 'hono';
import { accepts } from 'hono/accepts';
import { collectedPage } from '../../common/collected-page.ts';
import { count } from '../../common/fields.ts';
import { pagePolicy } from '../../common/report-html.ts';
import { integrityReportList, integrityReportShow } from '../api/integrity-contract.ts';
import type { ReportEntry, ReportSources } from '../integrity/ports.ts';
import { type FoundReport, findReport, summaryOf } from '../integrity/reading.ts';
import type { HttpEnv } from './env.ts';
import { type Paging, page } from './paging.ts';
import type { Serve } from './serving.ts';

const paging: Paging<ReportEntry, number, ReturnType<typeof shown>> = {
  list: 'integrity-reports',
  key: count,
  keyOf: ({ index }) => index,
  show: shown,
};

function shown(entry: ReportEntry) {
  const { startedAt, finishedAt, ...summary } = summaryOf(entry);
  return { ...summary, started_at: startedAt, finished_at: finishedAt };
}

/** Reports of complete checks, the nodes' and the collector's own (`node=collector`), newest first; and each one as JSON or as a page. */
export function addIntegrityRoutes(serve: Serve, sources: ReportSources): void {
  serve.json(integrityReportList, async ({ query: { node: author, status, ...rest } }) =>
    page(paging, rest, (at) => sources.entries({ author, status }, at)),
  );
  serve.raw(integrityReportShow, async ({ params, query: { download } }, c) => {
    const [, reference = '', extension] = /^(.*?)(\.html|\.json)?$/.exec(params.id) ?? [];
    const found = await findReport(sources, reference);
    const asPage = extension === undefined ? wantsPage(c) : extension === '.html';
    return asPage ? answerPage(c, found, download === 'true') : answerJson(c, found, download === 'true');
  });
}

function wantsPage(c: Context<HttpEnv>): boolean {
  c.header('Vary', 'Accept');
  const [json, html] = ['application/json', 'text/html'];
  return accepts(c, { header: 'Accept', supports: [json, html], default: json }) === html;
}

/** The document as it stands: what is archived has the SHA-256 that its entry names. */
function answerJson(c: Context<HttpEnv>, found: FoundReport, download: boolean): Response {
  asFile(c, found, 'json', download);
  c.header('Content-Type', 'application/json; charset=utf-8');
  return c.body(found.document);
}

/** What is in it comes from nodes: it is escaped, and the policy lets nothing run or load, nor anybody frame it, should that fail. */
function answerPage(c: Context<HttpEnv>, found: FoundReport, download: boolean): Response {
  asFile(c, found, 'html', download);
  c.header('Content-Security-Policy', `${pagePolicy}; frame-ancestors 'none'; sandbox`);
  c.header('Referrer-Policy', 'no-referrer');
  return c.html(collectedPage(found.report));
}

function asFile(c: Context<HttpEnv>, { index, report }: FoundReport, extension: string, download: boolean): void {
  c.header('Cache-Control', 'no-store');
  if (!download) return;
  // Neither has anything that a header or a file name would need quoted.
  const name = `integrity-${report.author}-${index ?? report.id}.${extension}`;
  c.header('Content-Disposition', `attachment; filename="${name}"`);
}
