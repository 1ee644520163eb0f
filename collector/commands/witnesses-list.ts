import { amount } from '../../common/amount.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { witnessList } from '../api/ledger-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { formatTable } from './table.ts';

/** Who witnesses the ledger, what each cosigned last, and what no quorum vouches for yet. */
export function witnessesList(context: CommandContext): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const view = await api.call(witnessList, {});
    show(context, { ...view, ...contradictedField() }, () => formatWitnesses(view));
    return exitCodes.done;
  });
}

function formatWitnesses(view: AnswerOf<typeof witnessList>): string {
  const { quorum, ledger_size, witnessed_size, unwitnessed, witnesses } = view;
  const rows = witnesses.map((one) => [
    one.name,
    one.kind,
    String(one.last_size ?? '-'),
    one.last_at ?? 'never',
    one.key,
  ]);
  const table = formatTable([['WITNESS', 'KIND', 'COSIGNED', 'AT', 'KEY'], ...rows]);
  const wanted =
    (quorum.problem === null ? undefined : shownCell(quorum.problem)) ??
    `quorum: ${quorum.required} of ${quorum.of} (${quorum.rule})`;
  const gap =
    unwitnessed === null
      ? 'all of it witnessed'
      : `entries ${unwitnessed.from} to ${unwitnessed.to - 1} not witnessed since ${unwitnessed.since}`;
  return `${table}${wanted}\nledger of ${amount(ledger_size, 'entry', 'entries')}, witnessed up to ${witnessed_size}: ${gap}\n`;
}
