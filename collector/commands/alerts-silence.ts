import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { endAlertSilence, type SilenceEnd, silenceAlerts } from '../alerts/operator.ts';
import { type AlertSilenceView, alertSilenceView } from '../alerts/view.ts';
import { createAlertOperating } from '../operating.ts';
import { alertSilences } from '../postgres/alert-query-store.ts';
import { databaseNow } from '../postgres/erasure-run-store.ts';
import { type CommandContext, formatTable, show, withCollectorData, withLedger } from './context.ts';
import { contradictedField, contradictionOf } from './contradicted.ts';
import { shownCell } from './ledger-replay.ts';
import { parsePeriod } from './silences.ts';

export interface AlertsSilenceOptions {
  readonly for?: string;
  readonly until?: string;
  readonly reason: string;
}

/** Keeps people from being told of some alerts for a while. */
export async function alertsSilence(
  context: CommandContext,
  pattern: string,
  options: AlertsSilenceOptions,
): Promise<number> {
  const end = endOf(options);
  await withLedger(context, async ({ ledger, database: { db } }) => {
    const made = await silenceAlerts(createAlertOperating({ db, ledger }), { pattern, end, reason: options.reason });
    show(context, made, ({ id, until }) => `silence ${id} stands until ${until}\n`);
  });
  return exitCodes.done;
}

/** Silences that stand. */
export async function alertsSilences(context: CommandContext): Promise<number> {
  const contradicted = await withCollectorData(context, async (data) => {
    const found = await contradictionOf(context, data);
    const { db } = data.database;
    const items = (await alertSilences(db, await databaseNow(db))).map(alertSilenceView);
    show(context, { items, ...contradictedField(found) }, () => formatSilences(items));
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

/** Ends a silence before its time. */
export async function alertsUnsilence(context: CommandContext, name: string, reason: string): Promise<number> {
  await withLedger(context, async ({ ledger, database: { db } }) => {
    const ended = await endAlertSilence(createAlertOperating({ db, ledger }), name, reason);
    show(context, ended, ({ id }) => `silence ${id} is over\n`);
  });
  return exitCodes.done;
}

/** @throws AppError `validation.request` unless one of both is given. */
function endOf(options: AlertsSilenceOptions): SilenceEnd {
  if ((options.for === undefined) === (options.until === undefined)) {
    throw new AppError('validation.request', 'say when the silence ends: either --for or --until');
  }
  if (options.for !== undefined) return { forMs: parsePeriod(options.for) };
  const until = options.until ?? '';
  const untilMs = /^\d{4}-\d\d-\d\dT/.test(until) && /(Z|[+-]\d\d:\d\d)$/.test(until) ? Date.parse(until) : Number.NaN;
  if (Number.isFinite(untilMs)) return { untilMs };
  throw new AppError('validation.request', `--until "${until.slice(0, 64)}": a time such as 2026-01-31T12:00:00Z`);
}

const shownIdChars = 12;

function formatSilences(silences: readonly AlertSilenceView[]): string {
  if (silences.length === 0) return 'no alert is silenced\n';
  const cells = silences.map(({ id, pattern, until, actor, reason }) => [
    ...[id.slice(0, shownIdChars), shownCell(pattern), until],
    ...[shownCell(actor), shownCell(reason)],
  ]);
  return formatTable([['SILENCE', 'ALERTS', 'UNTIL', 'BY', 'REASON'], ...cells]);
}
