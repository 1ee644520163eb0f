import { type CollectedReport, collectedReport } from '../../common/collected-report.ts';
import { collectorAuthor, parseLogged } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { type IntegrityStatus, reportId } from '../../common/integrity-report.ts';
import type { Body, Statement } from '../../common/kinds.ts';
import { ledgerFindings } from '../../common/ledger-check.ts';
import { limits } from '../../common/limits.ts';
import { printableJson } from '../../common/printable.ts';
import { sigilFinding } from '../../common/sigil.ts';
import { storable } from '../ledger/projections.ts';
import type { ReportEntry, ReportSources, StandingFinding } from './ports.ts';
import { digestOf } from './report.ts';

/** A report, and as what it is handed out. */
export interface FoundReport {
  /** Of its entry; null for a report of the collector that could not be put on record. */
  readonly index: number | null;
  readonly report: CollectedReport;
  /** One line of JSON: byte for byte as archived, where it is. */
  readonly document: string;
}

/** What a list says of a report. */
export interface ReportSummary {
  readonly index: number;
  readonly author: string;
  /** Null, as what follows, once retention has dropped the entry's body. */
  readonly report: string | null;
  readonly status: IntegrityStatus | null;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly sha256: string | null;
  readonly stores: number | null;
  readonly findings: number | null;
}

export function summaryOf({ index, author, bytes }: ReportEntry): ReportSummary {
  const said = bytes === null ? undefined : saidIn(bytes);
  switch (said?.kind) {
    case 'integrity.report': {
      const { report, status, startedAt, finishedAt, sha256, stores } = said.body;
      // A node may claim as many as a number holds, for each of its stores.
      const all = stores.reduce((sum, store) => sum + store.findings, 0);
      const findings = Math.min(all, Number.MAX_SAFE_INTEGER);
      return { index, author, report, status, startedAt, finishedAt, sha256, stores: stores.length, findings };
    }
    case 'ledger.checked': {
      const { report, status, startedAt, finishedAt, sha256, check } = said.body;
      const counted = { stores: 0, findings: ledgerFindings(check) };
      return { index, author, report, status, startedAt, finishedAt, sha256, ...counted };
    }
    default: {
      const unknown = { report: null, status: null, startedAt: null, finishedAt: null };
      return { index, author, ...unknown, sha256: null, stores: null, findings: null };
    }
  }
}

/**
 * The report of an entry, by its index; or one of the collector's own, by its name.
 * @throws AppError `resource.not_found`; `resource.gone` when retention has dropped the entry's body.
 */
export async function findReport(sources: ReportSources, reference: string): Promise<FoundReport> {
  if (/^\d{1,15}$/.test(reference)) {
    const entry = await sources.entry(Number(reference));
    if (entry === undefined) throw notFound(reference);
    return reportAt(sources, entry);
  }
  if (!reportId.safeParse(reference).success) throw notFound(reference);
  const entry = await sources.ownEntry(reference);
  if (entry !== undefined) return reportAt(sources, entry);
  const document = await sources.archived(reference);
  const report = document === undefined ? undefined : readDocument(document);
  if (document === undefined || report === undefined) throw notFound(reference);
  return { index: null, report, document };
}

function notFound(reference: string): AppError {
  return new AppError(
    'resource.not_found',
    `there is no integrity report ${JSON.stringify(reference.slice(0, 64))}; reports are known by the index of their entry`,
  );
}

async function reportAt(sources: ReportSources, entry: ReportEntry): Promise<FoundReport> {
  const { index, author, bytes } = entry;
  if (bytes === null) {
    throw new AppError('resource.gone', `retention has dropped the body of entry ${index}, and with it the report`);
  }
  const said = saidIn(bytes);
  if (said.kind === 'ledger.checked') return ownReport(sources, index, said.body);
  if (said.kind !== 'integrity.report' || author === collectorAuthor) throw notFound(String(index));
  const perStore = Math.floor(limits.maxReportFindings / Math.max(said.body.stores.length, 1));
  const names = [...new Set(said.body.stores.map(({ store }) => store))];
  const report = composedOf({ index, author, said: said.body }, await sources.standing(entry, names, perStore));
  return { index, report, document: printableJson(report) };
}

/** The archived document counts only while it is the one that the entry vouches for. */
async function ownReport(
  sources: ReportSources,
  index: number,
  { report: id, sha256, status, startedAt, finishedAt, check }: Body<'ledger.checked'>,
): Promise<FoundReport> {
  const document = await sources.archived(id);
  const archived = document !== undefined && digestOf(document) === sha256 ? readDocument(document) : undefined;
  if (document !== undefined && archived !== undefined) return { index, report: archived, document };
  const report: CollectedReport = {
    ...{ version: 1, id, author: collectorAuthor, startedAt, finishedAt, status },
    ...{ composed: { index, sha256 }, stores: [], ledger: check },
  };
  return { index, report, document: printableJson(report) };
}

/** What a node has put on record of a run, as a report. It says no more than the ledger holds. */
export function composedOf(
  { index, author, said }: { readonly index: number; readonly author: string; readonly said: Body<'integrity.report'> },
  standing: readonly StandingFinding[],
): CollectedReport {
  const { report: id, status, startedAt, finishedAt, sha256 } = said;
  const stores = said.stores.map(({ store, status: its, counts, findings: counted }) => {
    const findings = standing.filter((found) => found.store === store).flatMap(listed);
    return { store, status: its, counts, findings, moreFindings: Math.max(counted - findings.length, 0) };
  });
  return {
    ...{ version: 1, id, author, startedAt, finishedAt, status },
    ...{ composed: { index, sha256 }, stores, ledger: null },
  };
}

/** A projection can be edited, unlike an entry: what is no finding any more is only counted. */
function listed({ finding, openedAt }: StandingFinding): CollectedReport['stores'][number]['findings'] {
  const parsed = sigilFinding.safeParse(finding);
  return parsed.success ? [{ ...parsed.data, firstSeen: openedAt }] : [];
}

function saidIn(bytes: Buffer): Statement {
  return storable({ entry: parseLogged(bytes), bytes });
}

function readDocument(document: string): CollectedReport | undefined {
  try {
    const parsed = collectedReport.safeParse(JSON.parse(document));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
