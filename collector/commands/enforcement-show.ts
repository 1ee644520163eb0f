import { amount } from '../../common/amount.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { enforcementRelease as releaseContract, enforcementShow as showContract } from '../api/governance-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';
import { noSilence, silenceCells, silenceHeading } from './silences.ts';
import { formatTable } from './table.ts';

/** What decides about orders at this moment. */
export function enforcementShow(context: CommandContext): Promise<number> {
  return withApi(context, async ({ api, contradictedField }) => {
    const view = await api.call(showContract, {});
    show(context, { ...view, ...contradictedField() }, formatEnforcement);
    return exitCodes.done;
  });
}

/** Lets orders be given by a commit again that was suspected. */
export function enforcementRelease(context: CommandContext, commit: string, reason: string): Promise<number> {
  return withApi(context, async ({ api }) => {
    const released = await api.call(releaseContract, { body: { commit, reason } });
    show(context, released, (it) => `orders are given by ${shownCell(it.commit)} again\n`);
    return exitCodes.done;
  });
}

function formatEnforcement({
  commit,
  mode,
  manual_orders,
  approvers,
  frozen,
  silences,
}: AnswerOf<typeof showContract>): string {
  const named = approvers === null || approvers.length === 0 ? 'everybody in allowed_signers' : approvers.join(', ');
  const manual = manual_orders === true ? 'are permitted' : 'are not permitted (config.allow_manual_overrides)';
  const lines =
    commit === null
      ? ['no manifest is in force here, so nothing is ordered (manifest.repository)']
      : [`mode ${mode}, by commit ${commit}`, `orders of operators ${manual}`, `approvers: ${shownCell(named)}`];
  const freezes = frozen.map(
    (freeze) =>
      `FROZEN since ${freeze.at}: ${shownCell(freeze.commit)}, ${freeze.drift} on ${amount(freeze.nodes.length, 'node')}: ${shownCell(freeze.reason)}`,
  );
  const kept = silences.length === 0 ? `${noSilence}\n` : formatTable([silenceHeading, ...silences.map(silenceCells)]);
  return `${[...lines, ...freezes].join('\n')}\n\n${kept}`;
}
