import type { DriftKind } from '../../common/drift-kind.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import {
  silenceAdd as addContract,
  silenceEnd as endContract,
  silenceList as listContract,
} from '../api/governance-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, optionalNodeName, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { showList } from './list.ts';

export interface SilenceOptions {
  readonly node?: string;
  readonly container?: string;
  readonly kind?: DriftKind;
  readonly for: string;
  readonly reason: string;
}

/** Silences that stand. */
export function silenceList(context: CommandContext): Promise<number> {
  return showList(
    context,
    {},
    {
      page: (api) => api.call(listContract, {}),
      heading: silenceHeading,
      cells: silenceCells,
      none: noSilence,
    },
  );
}

/** Keeps orders away from some drifts for a while. */
export function silenceAdd(context: CommandContext, options: SilenceOptions): Promise<number> {
  const { container, kind, reason } = options;
  const scope = { node: optionalNodeName(options.node), container, kind };
  const body = { ...scope, for_seconds: parsePeriod(options.for) / 1_000, reason };
  return withApi(context, async ({ api }) => {
    show(context, await api.call(addContract, { body }), ({ id, until }) => `silence ${id} stands until ${until}\n`);
    return exitCodes.done;
  });
}

/** Ends a silence before its time. */
export function silenceEnd(context: CommandContext, id: string, reason: string): Promise<number> {
  return withApi(context, async ({ api }) => {
    const ended = await api.call(endContract, { params: { id }, query: { reason } });
    show(context, ended, () => `silence ${ended.id} is over\n`);
    return exitCodes.done;
  });
}

const shownIdChars = 12;

export const noSilence = 'no silence stands';

export const silenceHeading = ['SILENCE', 'NODE', 'CONTAINER', 'KIND', 'UNTIL', 'BY', 'REASON'];

/** A row of a table of silences. */
export function silenceCells(silence: AnswerOf<typeof listContract>['items'][number]): readonly string[] {
  const { id, node, container, kind, until, actor, reason } = silence;
  return [
    id.slice(0, shownIdChars),
    node ?? 'any',
    shownCell(container ?? 'any'),
    kind ?? 'any',
    until,
    shownCell(actor),
    shownCell(reason),
  ];
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `--for`. @throws AppError `validation.request`. */
export function parsePeriod(text: string): number {
  const [, amount = '', unit = ''] = /^([1-9][0-9]{0,5})([smhd])$/.exec(text) ?? [];
  const each = unitMs[unit];
  if (each !== undefined) return Number(amount) * each;
  throw new AppError('validation.request', `--for "${text.slice(0, 64)}": a time such as 90s, 30m, 2h or 7d`);
}
