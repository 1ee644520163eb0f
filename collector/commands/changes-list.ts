import { exitCodes } from '../../common/exit-codes.ts';
import { type ChangeView, changeViews } from '../enforcement/changes.ts';
import { readMeasures } from '../postgres/standing-measure-store.ts';
import { type CommandContext, formatTable, show } from './context.ts';
import { contradictedField } from './contradicted.ts';
import { lookAtEnforcement } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';

export interface ChangesListOptions {
  /** Those that are over, too. */
  readonly all?: boolean;
}

/** Changes that somebody has announced. */
export async function changesList(context: CommandContext, { all = false }: ChangesListOptions): Promise<number> {
  const contradicted = await lookAtEnforcement(context, async ({ db, nowMs, contradicted: found }) => {
    const { announcements } = await readMeasures(db, nowMs);
    const items = changeViews(announcements, nowMs, all ? 'all' : 'standing');
    show(context, { items, ...contradictedField(found) }, () => formatChanges(items));
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

function formatChanges(changes: readonly ChangeView[]): string {
  if (changes.length === 0) return 'no change is announced\n';
  const cells = changes.map(({ index, node, container, becomes, before, stands, approver }) => [
    String(index),
    node ?? 'all',
    shownCell(container),
    shownCell(becomes),
    stands ? before : `${before} (over)`,
    shownCell(approver),
  ]);
  return formatTable([['ENTRY', 'NODE', 'CONTAINER', 'BECOMES', 'BEFORE', 'BY'], ...cells]);
}
