import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { type DeadLetterRow, listDeadLetters, retryDeadLetter } from '../postgres/alert-query-store.ts';
import { type CommandContext, formatTable, show, withCollectorData } from './context.ts';
import { moreLine, requireLimit } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';

/** Notifications that were given up, newest first. */
export async function alertsDead(context: CommandContext, options: { readonly limit?: string }): Promise<number> {
  const limit = requireLimit(options.limit);
  await withCollectorData(context, async ({ database }) => {
    const rows = await listDeadLetters(database.db, limit + 1);
    const items = rows.slice(0, limit);
    const more = rows.length > limit;
    show(context, { items, more }, () => formatLetters(items) + moreLine(more));
  });
  return exitCodes.done;
}

/** Puts dead letters back into their queues; a running collector sends them at once. */
export async function alertsRetry(context: CommandContext, names: readonly string[]): Promise<number> {
  const ids = names.map(requireId);
  await withCollectorData(context, async ({ database }) => {
    for (const id of ids) {
      const retried = await retryDeadLetter(database.db, id);
      if (retried === 'unknown') throw noLetter(String(id));
      if (retried === 'overtaken') throw overtaken(id);
    }
    show(context, { retried: ids }, () => `${ids.length === 1 ? 'it waits' : 'they wait'} to be sent again\n`);
  });
  return exitCodes.done;
}

function requireId(name: string): number {
  const id = decodeDecimal(name);
  if (id === undefined) throw noLetter(name);
  return id;
}

function noLetter(name: string): AppError {
  return new AppError(
    'resource.not_found',
    `there is no dead letter ${name.slice(0, 20)}; "alerts dead" lists those there are`,
  );
}

function overtaken(id: number): AppError {
  return new AppError(
    'state.conflict',
    `dead letter ${id} is not sent any more: its alert is over, began anew, or its channel was told since what became of it`,
  );
}

function formatLetters(letters: readonly DeadLetterRow[]): string {
  if (letters.length === 0) return 'there are no dead letters\n';
  const cells = letters.map((letter) => [
    String(letter.id),
    letter.channel,
    letter.change,
    shownCell(letter.key),
    letter.died_at.toISOString(),
    String(letter.attempts),
    shownCell(letter.last_error ?? '-'),
  ]);
  return formatTable([['ID', 'CHANNEL', 'CHANGE', 'ALERT', 'GIVEN UP', 'ATTEMPTS', 'ERROR'], ...cells]);
}
