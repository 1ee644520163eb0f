import { driftKinds } from '../../common/drift-kind.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { endSilence, silenceDrifts } from '../enforcement/measures.ts';
import { silenceFields, silenceView } from '../enforcement/view.ts';
import { readMeasures } from '../postgres/standing-measure-store.ts';
import { type CommandContext, formatTable, requireNodeName, show } from './context.ts';
import { contradictedField } from './contradicted.ts';
import { lookAtEnforcement, operate, requireWord } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';

export interface SilenceOptions {
  readonly node?: string;
  readonly container?: string;
  readonly kind?: string;
  readonly for: string;
  readonly reason: string;
}

/** Silences that stand. */
export async function silenceList(context: CommandContext): Promise<number> {
  const contradicted = await lookAtEnforcement(context, async ({ db, nowMs, contradicted: found }) => {
    const items = (await readMeasures(db, nowMs)).silences.map(silenceView);
    show(context, { items, ...contradictedField(found) }, () => formatSilences(items));
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

/** Keeps orders away from some drifts for a while. */
export async function silenceAdd(context: CommandContext, options: SilenceOptions): Promise<number> {
  const scope = {
    node: options.node === undefined ? null : requireNodeName(options.node),
    container: options.container ?? null,
    kind: requireWord('--kind', driftKinds, options.kind) ?? null,
  };
  const forMs = parsePeriod(options.for);
  await operate(context, {}, async (ports) => {
    const made = silenceFields(await silenceDrifts(ports, { scope, forMs, reason: options.reason }));
    show(context, made, ({ id, until }) => `silence ${id} stands until ${until}\n`);
  });
  return exitCodes.done;
}

/** Ends a silence before its time. */
export async function silenceEnd(context: CommandContext, name: string, reason: string): Promise<number> {
  await operate(context, {}, async (ports) => {
    const ended = { ...silenceFields(await endSilence(ports, name, reason)), ended: true };
    show(context, ended, ({ id }) => `silence ${id} is over\n`);
  });
  return exitCodes.done;
}

const shownIdChars = 12;

/** Silences as a table. */
export function formatSilences(silences: readonly ReturnType<typeof silenceView>[]): string {
  if (silences.length === 0) return 'no silence stands\n';
  const cells = silences.map(({ id, node, container, kind, until, actor, reason }) => [
    id.slice(0, shownIdChars),
    node ?? 'any',
    shownCell(container ?? 'any'),
    kind ?? 'any',
    until,
    shownCell(actor),
    shownCell(reason),
  ]);
  return formatTable([['SILENCE', 'NODE', 'CONTAINER', 'KIND', 'UNTIL', 'BY', 'REASON'], ...cells]);
}

const unitMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `--for`. @throws AppError `validation.request`. */
export function parsePeriod(text: string): number {
  const [, amount = '', unit = ''] = /^([1-9][0-9]{0,5})([smhd])$/.exec(text) ?? [];
  const each = unitMs[unit];
  if (each !== undefined) return Number(amount) * each;
  throw new AppError('validation.request', `--for "${text.slice(0, 64)}": a time such as 90s, 30m, 2h or 7d`);
}
