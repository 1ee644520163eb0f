import { exitCodes } from '../../common/exit-codes.ts';
import { deadLetterList, deadLetterResolve, deadLetterRetry, deadLetterShow } from '../api/dead-letters-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { attemptText, jobLines, takenText } from './enforcements.ts';
import { shownCell } from './ledger-replay.ts';
import { type ListOptions, showList } from './list.ts';

export interface DeadLettersListOptions extends ListOptions {
  readonly state: 'open' | 'followed' | 'all';
}

type DeadLetter = AnswerOf<typeof deadLetterList>['items'][number];
type Story = AnswerOf<typeof deadLetterShow>;

const openOf = { open: 'true', followed: 'false', all: undefined } as const;

/** Enforcements that failed for good, the last one first. */
export function deadLettersList(context: CommandContext, options: DeadLettersListOptions): Promise<number> {
  const open = openOf[options.state];
  return showList(context, options, {
    page: (api, at) => api.call(deadLetterList, { query: { open, ...at } }),
    heading: ['ENFORCEMENT', 'FAILED', 'ACTION', 'TARGET', 'ARTIFACT', 'FOLLOWED BY', 'ERROR'],
    cells: letterCells,
    none: 'no such dead letters',
  });
}

function letterCells(letter: DeadLetter): readonly string[] {
  const { enforcement_id, failed_at, action, target, artifact_id, follow_up, error_msg } = letter;
  const rest = [artifact_id, follow_up?.by ?? '-', shownCell(error_msg ?? '-')];
  return [enforcement_id, failed_at, action, shownCell(target), ...rest];
}

/** One dead letter with every try. */
export function deadLettersShow(context: CommandContext, id: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const story = await api.call(deadLetterShow, { params: { id } });
    show(context, { ...story, ...contradictedField() }, () => formatLetter(story));
    return exitCodes.done;
  });
}

/** Tries it again, as an enforcement of its own. */
export function deadLettersRetry(context: CommandContext, id: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const taken = await api.call(deadLetterRetry, { params: { id } });
    show(context, { ...taken, ...contradictedField() }, () => takenText(taken));
    return exitCodes.done;
  });
}

/** Puts on record that nothing more is to be done. */
export function deadLettersResolve(context: CommandContext, id: string, reason: string): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const story = await api.call(deadLetterResolve, { params: { id }, body: { reason } });
    show(context, { ...story, ...contradictedField() }, () => formatLetter(story));
    return exitCodes.done;
  });
}

function formatLetter(story: Story): string {
  const lines = [
    `dead letter ${story.enforcement_id}: failed ${story.failed_at}`,
    ...jobLines(story),
    `  ${followUpText(story.follow_up)}`,
    '',
    ...story.attempts.map(attemptText),
  ];
  return `${lines.join('\n')}\n`;
}

function followUpText(done: Story['follow_up']): string {
  if (done === null) return 'waits for somebody: "dead-letters retry" or "dead-letters resolve"';
  const { at, by, actor, enforcement_id, reason } = done;
  const what = by === 'retry' ? `tried again as ${enforcement_id}` : `resolved: ${shownCell(reason ?? '')}`;
  return `${at}  ${what}, by ${shownCell(actor)}`;
}
