import { stringify } from 'yaml';
import { exitCodes } from '../../common/exit-codes.ts';
import { witnessPins } from '../api/ledger-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';

/**
 * The keys of the active nodes as a manifest pins them. Whoever commits them vouches for them: what this says is what the database
 * says, and on each node "sigilwatch-agent witness show" says what is so.
 */
export function witnessesPins(context: CommandContext): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const { witnesses } = await api.call(witnessPins, {});
    show(context, { witnesses, ...contradictedField() }, formatPins);
    return exitCodes.done;
  });
}

function formatPins({ witnesses: { nodes } }: Pick<AnswerOf<typeof witnessPins>, 'witnesses'>): string {
  const check = '# compare each key with what "sigilwatch-agent witness show" says on its node before you commit it\n';
  return `${check}${stringify({ witnesses: { nodes } }, { lineWidth: 0 })}`;
}
