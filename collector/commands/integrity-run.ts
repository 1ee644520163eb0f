import { availableParallelism } from 'node:os';
import { collectedPage } from '../../common/collected-page.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import type { IntegrityStatus } from '../../common/integrity-report.ts';
import { printableLines } from '../../common/printable.ts';
import { createTeardown } from '../../common/teardown.ts';
import { openLedger } from '../app.ts';
import { systemClock } from '../clock.ts';
import { applicationName } from '../database.ts';
import type { Recorder } from '../enforcement/ports.ts';
import { checkDatabase } from '../integrity/database-check.ts';
import { checkOnce } from '../integrity/nightly.ts';
import { putOnRecord } from '../integrity/record.ts';
import { type LedgerRun, reportOf } from '../integrity/report.ts';
import { formatCollected } from '../integrity/text.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { aloneInDatabase, postgresIntegrityStore } from '../postgres/integrity-store.ts';
import { checkedLedger, newCheckId } from '../wiring/checking.ts';
import { type CommandContext, type OpenCollectorData, stderrLogger, withCollectorData } from './context.ts';
import { type ReportFiles, type WriteReport, withReportFiles } from './integrity-show.ts';
import { progressBar, untilStopped } from './progress.ts';

const exitCodeFor: Readonly<Record<IntegrityStatus, number>> = {
  ok: exitCodes.done,
  findings: exitCodes.findings,
  unchecked: exitCodes.usage,
};

/**
 * Checks the ledger and its projections, now, beside a collector that runs or without one, and puts it on record as a nightly run does.
 * @throws AppError `state.busy` while another check is under way; `state.conflict` when it was stopped, or a file exists already
 */
export async function integrityRun(context: CommandContext, files: ReportFiles): Promise<number> {
  return withReportFiles(context, files, (write) => withCollectorData(context, (data) => runOn(context, data, write)));
}

async function runOn(context: CommandContext, data: OpenCollectorData, write: WriteReport): Promise<number> {
  const { url } = data.database;
  const run = await aloneInDatabase({ url, applicationName })(async ({ confirm }) => {
    const made = await checkNow(context, data);
    const { report, document } = reportOf(made);
    context.stdout.write(context.json ? document : printableLines(formatCollected(report)));
    await confirm();
    await record(context, data, made);
    await write({ page: () => collectedPage(report), document });
    return made;
  });
  if (run !== undefined) return exitCodeFor[run.check.status];
  throw new AppError('state.busy', 'another check of the ledger is under way: by the collector, or by hand', {
    retryable: true,
  });
}

async function checkNow(context: CommandContext, { database, keys }: OpenCollectorData): Promise<LedgerRun> {
  const { settings, stderr, stopRequested } = context;
  const ledger = await checkedLedger(settings, { keys, logger: stderrLogger(stderr) });
  const bar = progressBar(stderr, 'entries');
  let stopped: string | undefined;
  void stopRequested.then((reason) => {
    stopped = reason;
  });
  const check = () =>
    checkDatabase(ledger, {
      ...{ url: database.url, share: 1, threads: availableParallelism(), clock: systemClock },
      onProgress: untilStopped(context, bar),
    }).finally(() => bar(1, 1));
  const run = await checkOnce({ check, clock: systemClock, newId: newCheckId }, new AbortController().signal);
  // What it came to is that somebody lost patience, which is no statement about the ledger.
  if (stopped !== undefined) throw new AppError('state.conflict', `stopped by ${stopped}; nothing is known`);
  return run;
}

/** A ledger that cannot be opened is likely what the check has found; then the archived report is all there is. */
async function record(context: CommandContext, data: OpenCollectorData, run: LedgerRun): Promise<void> {
  const { settings, stderr } = context;
  const logger = stderrLogger(stderr);
  const teardown = createTeardown(logger);
  let opened: Promise<Ledger> | undefined;
  const ledger: Recorder = {
    record: async (statement) => {
      opened ??= openLedger(settings, { ...data, clock: systemClock, teardown, logger });
      return (await opened).record(statement);
    },
  };
  try {
    const store = postgresIntegrityStore(data.database.db);
    await putOnRecord(run, { store, ledger, kept: settings.integrity, logger });
  } catch (thrown) {
    const { code, message } = toAppError(thrown);
    stderr.write(`warning: this run is not on record: ${message} (${code})\n`);
  } finally {
    await teardown.run();
  }
}
