import { toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { IntegrityStore } from './ports.ts';
import { alertOf, integrityAlertKey, type LedgerRun, reportOf, statementOf } from './report.ts';

export interface RecordNeeds {
  readonly store: Pick<IntegrityStore, 'archive' | 'tidy' | 'alerted' | 'setAlerted'>;
  readonly ledger: Recorder;
  readonly kept: { readonly keepDays: number; readonly keepReports: number };
  readonly logger: Logger;
}

/**
 * Archives what a check came to, puts it on record, and raises or resolves the alert. A crash between two steps leaves the run to be made
 * again: a report without an entry, or an alert that is raised twice, which is no news.
 * @returns index of the entry; undefined when nothing can be put on record, because the database contradicts what was published
 * @throws AppError as the ledger and the database do
 */
export async function putOnRecord(
  run: LedgerRun,
  { store, ledger, kept, logger }: RecordNeeds,
): Promise<number | undefined> {
  const made = reportOf(run);
  const { id } = made.report;
  await store.archive(made);
  await store.tidy(kept);
  try {
    const { index } = await ledger.record(statementOf(run, made));
    await tell(run, { store, ledger });
    return index;
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code !== 'ledger.tampered') throw error;
    logger.error('integrity.unrecorded', { id, error });
    return undefined;
  }
}

async function tell({ id, check }: LedgerRun, { store, ledger }: Pick<RecordNeeds, 'store' | 'ledger'>): Promise<void> {
  const alert = alertOf(id, check);
  const alerted = await store.alerted();
  if (alert !== undefined) {
    // First: an alert that nobody remembers would stand for ever, and the end of one that was not raised is no news.
    if (!alerted) await store.setAlerted(true);
    await ledger.record({ kind: 'alert.raised', body: { key: integrityAlertKey, ...alert, node: null } });
  } else if (alerted) {
    const reason = `the check ${id} found nothing`;
    await ledger.record({ kind: 'alert.resolved', body: { key: integrityAlertKey, reason } });
    await store.setAlerted(false);
  }
}
