import { hash } from 'node:crypto';
import { amount } from '../../common/amount.ts';
import { rfc3339 } from '../../common/clock.ts';
import type { CollectedReport } from '../../common/collected-report.ts';
import { collectorAuthor } from '../../common/entry.ts';
import type { AppError } from '../../common/errors.ts';
import type { StatementOf } from '../../common/kinds.ts';
import { type LedgerCheck, ledgerFindings } from '../../common/ledger-check.ts';
import { limits } from '../../common/limits.ts';
import { printableJson } from '../../common/printable.ts';
import type { Severity } from '../alerts/alert.ts';
import type { AlertKey } from '../alerts/catalog.ts';
import type { NewReport } from './ports.ts';

/** Key of the one alert that tells of what checks of the ledger find. */
export const integrityAlertKey: AlertKey = 'ledger.integrity/ledger';

/** One check of the ledger. Times are Unix milliseconds. */
export interface LedgerRun {
  readonly id: string;
  readonly startedMs: number;
  readonly finishedMs: number;
  readonly check: LedgerCheck;
}

export function reportOf({ id, startedMs, finishedMs, check }: LedgerRun): NewReport {
  const report: CollectedReport = {
    ...{ version: 1, id, author: collectorAuthor, startedAt: rfc3339(startedMs) },
    // A clock that was set back meanwhile must not make the report contradict itself.
    finishedAt: rfc3339(Math.max(startedMs, finishedMs)),
    ...{ status: check.status, composed: null, stores: [], ledger: check },
  };
  const checked = check.verified?.size ?? 0;
  return { report, document: printableJson(report), checked, failed: ledgerFindings(check) };
}

/** The entry that vouches for an archived report. */
export function statementOf(run: LedgerRun, { report, document }: NewReport): StatementOf<'ledger.checked'> {
  const { id, status, startedAt, finishedAt } = report;
  const sha256 = digestOf(document);
  return {
    kind: 'ledger.checked',
    body: { report: id, status, startedAt, finishedAt, sha256, check: withoutRows(run.check) },
  };
}

/** Hex SHA-256. */
export function digestOf(document: string): string {
  return hash('sha256', document, 'hex');
}

/** The values of rows come from whoever edited them, and may be long: they do not go on record. */
function withoutRows({ projections, ...check }: LedgerCheck): LedgerCheck {
  if (projections === null) return { ...check, projections };
  return { ...check, projections: { ...projections, tables: projections.tables.map((it) => ({ ...it, rows: [] })) } };
}

/** What people are told; undefined when all is in order. */
export function alertOf(id: string, check: LedgerCheck): { severity: Severity; summary: string } | undefined {
  if (check.status === 'ok') return undefined;
  const said = [...foundIn(check), ...(check.error === null ? [] : [`not checked: ${check.error.message}`])];
  const more = `; "sigilwatch-collector integrity show ${id}" says more`;
  const summary =
    said
      .join('; ')
      .slice(0, limits.maxOwnTextChars - more.length)
      .toWellFormed() + more;
  // What was found weighs more for people than what was not looked at.
  const severity = ledgerFindings(check) > 0 ? 'critical' : 'error';
  return { severity, summary };
}

/** The check that could not even be begun. Times as of {@link LedgerCheck}. */
export function uncheckedLedger(
  { origin, startedAt, durationMs }: Pick<LedgerCheck, 'origin' | 'startedAt' | 'durationMs'>,
  { code, message }: AppError,
): LedgerCheck {
  const error = { code, message: message.slice(0, limits.maxOwnTextChars).toWellFormed() };
  const nothing = { verified: null, fault: null, projections: null };
  return { origin, status: 'unchecked', startedAt, durationMs: Math.round(durationMs), ...nothing, error };
}

/** What is wrong, in words. */
export function foundIn({ fault, projections }: LedgerCheck): readonly string[] {
  const where = fault?.index === null ? 'the ledger' : `entry ${fault?.index}`;
  const differing = (projections?.tables ?? []).filter((table) => table.differing > 0);
  return [
    ...(fault === null ? [] : [`${where} is not in order (${fault.fault}): ${fault.message}`]),
    ...differing.map(
      (it) =>
        `${amount(it.differing, 'row')} of ${it.table} ${it.differing === 1 ? 'is' : 'are'} not what the entries say`,
    ),
  ];
}
