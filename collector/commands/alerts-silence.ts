import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { alertSilenceAdd, alertSilenceEnd, alertSilenceList } from '../api/alerts-contract.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { showList } from './list.ts';
import { parsePeriod } from './silences.ts';

export interface AlertsSilenceOptions {
  readonly for?: string;
  readonly until?: string;
  readonly reason: string;
}

/** Keeps people from being told of some alerts for a while. */
export function alertsSilence(
  context: CommandContext,
  pattern: string,
  options: AlertsSilenceOptions,
): Promise<number> {
  const body = { pattern, reason: options.reason, ...endOf(options) };
  return withApi(context, async ({ api }) => {
    show(
      context,
      await api.call(alertSilenceAdd, { body }),
      ({ id, until }) => `silence ${id} stands until ${until}\n`,
    );
    return exitCodes.done;
  });
}

const shownIdChars = 12;

/** Silences that stand. */
export function alertsSilences(context: CommandContext): Promise<number> {
  return showList(
    context,
    {},
    {
      page: (api) => api.call(alertSilenceList, {}),
      heading: ['SILENCE', 'ALERTS', 'UNTIL', 'BY', 'REASON'],
      cells: ({ id, pattern, until, actor, reason }) => [
        ...[id.slice(0, shownIdChars), shownCell(pattern), until],
        ...[shownCell(actor), shownCell(reason)],
      ],
      none: 'no alert is silenced',
    },
  );
}

/** Ends a silence before its time. */
export function alertsUnsilence(context: CommandContext, id: string, reason: string): Promise<number> {
  return withApi(context, async ({ api }) => {
    const ended = await api.call(alertSilenceEnd, { params: { id }, query: { reason } });
    show(context, ended, () => `silence ${ended.id} is over\n`);
    return exitCodes.done;
  });
}

/** @throws AppError `validation.request` unless one of both is given. */
function endOf(options: AlertsSilenceOptions): { readonly for_seconds: number } | { readonly until: string } {
  if ((options.for === undefined) === (options.until === undefined)) {
    throw new AppError('validation.request', 'say when the silence ends: either --for or --until');
  }
  if (options.for !== undefined) return { for_seconds: parsePeriod(options.for) / 1_000 };
  const until = options.until ?? '';
  const whole = /^\d{4}-\d\d-\d\dT/.test(until) && /(Z|[+-]\d\d:\d\d)$/.test(until);
  if (whole && Number.isFinite(Date.parse(until))) return { until };
  throw new AppError('validation.request', `--until "${until.slice(0, 64)}": a time such as 2026-01-31T12:00:00Z`);
}
