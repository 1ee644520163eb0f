import { randomBytes } from 'node:crypto';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import { parseCron } from '../../common/cron.ts';
import { jitterOf } from '../../common/due.ts';
import { toAppError } from '../../common/errors.ts';
import { newReportId } from '../../common/integrity-report.ts';
import type { KeyPair } from '../../common/keys.ts';
import type { LedgerCheck } from '../../common/ledger-check.ts';
import type { Logger } from '../../common/log.ts';
import { signatureTypes, verifierKey } from '../../common/note.ts';
import { type CollectorSettings, noSchedule } from '../config.ts';
import { applicationName, type OpenDatabase } from '../database.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { CheckedLedger } from '../integrity/check.ts';
import { checkInProcess } from '../integrity/check-process.ts';
import { createNightly, type Nightly } from '../integrity/nightly.ts';
import { uncheckedLedger } from '../integrity/report.ts';
import { newestKept } from '../ledger/verify/kept.ts';
import { aloneInDatabase, postgresIntegrityStore } from '../postgres/integrity-store.ts';

export interface CheckingNeeds {
  readonly database: OpenDatabase;
  readonly keys: KeyPair;
  readonly ledger: Recorder;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The collector's checks of its own ledger, by the schedule; undefined when something else has them made. */
export function createChecking(settings: CollectorSettings, needs: CheckingNeeds): Nightly | undefined {
  const { schedule, jitterMs, ...kept } = settings.integrity;
  if (schedule === noSchedule) return undefined;
  const { database, ledger, clock, logger } = needs;
  const { origin } = settings.ledger;
  return createNightly({
    timetable: { schedule: parseCron(schedule), jitterMs: jitterOf(origin, jitterMs) },
    store: postgresIntegrityStore(database.db),
    alone: aloneInDatabase({ url: database.url, applicationName }),
    check: (signal) => checkApart(settings, needs, signal),
    newId: newCheckId,
    ...{ ledger, kept, clock, logger },
  });
}

/** @param startedMs Unix milliseconds */
export function newCheckId(startedMs: number): string {
  return newReportId(startedMs, randomBytes);
}

/** What is checked, with the newest checkpoint that was published from here. @throws AppError as {@link newestKept}. */
export async function checkedLedger(
  { dataDir, ledger: { origin } }: CollectorSettings,
  { keys, logger }: Pick<CheckingNeeds, 'keys' | 'logger'>,
): Promise<CheckedLedger> {
  const kept = await newestKept(dataDir, verifierKey(origin, signatureTypes.ed25519, keys.publicKey), logger);
  return { origin, collectorKey: keys.publicKey, checkpoints: kept === undefined ? [] : [kept] };
}

async function checkApart(
  settings: CollectorSettings,
  needs: Omit<CheckingNeeds, 'ledger'>,
  signal: AbortSignal,
): Promise<LedgerCheck> {
  const { clock, database, logger } = needs;
  const [startedAt, startedMs] = [rfc3339(clock.now()), clock.monotonicMs()];
  try {
    const ledger = await checkedLedger(settings, needs);
    const onBegun = (pid: number | undefined) => logger.info('integrity.begun', { pid });
    return await checkInProcess(ledger, { databaseUrl: database.url, signal, onBegun });
  } catch (thrown) {
    const error = toAppError(thrown);
    if (signal.aborted) throw error;
    const { origin } = settings.ledger;
    return uncheckedLedger({ origin, startedAt, durationMs: clock.monotonicMs() - startedMs }, error);
  }
}
