import { amount } from '../../common/amount.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { releaseCommit } from '../enforcement/measures.ts';
import { type EnforcementView, enforcementView } from '../enforcement/view.ts';
import { readMeasures } from '../postgres/standing-measure-store.ts';
import { type CommandContext, show } from './context.ts';
import { contradictedField } from './contradicted.ts';
import { lookAtEnforcement, operate } from './enforcing.ts';
import { shownCell } from './ledger-replay.ts';
import { formatSilences } from './silences.ts';

/** What decides about orders at this moment. */
export async function enforcementShow(context: CommandContext): Promise<number> {
  const contradicted = await lookAtEnforcement(context, async ({ db, nowMs, manifest, contradicted: found }) => {
    const view = enforcementView(manifest(), await readMeasures(db, nowMs));
    show(context, { ...view, ...contradictedField(found) }, () => formatEnforcement(view));
    return found;
  });
  return contradicted === undefined ? exitCodes.done : exitCodes.findings;
}

/** Lets orders be given by a commit again that was suspected. */
export async function enforcementRelease(context: CommandContext, commit: string, reason: string): Promise<number> {
  await operate(context, {}, async (ports) => {
    const released = { commit: (await releaseCommit(ports, commit, reason)).commit, released: true };
    show(context, released, (it) => `orders are given by ${shownCell(it.commit)} again\n`);
  });
  return exitCodes.done;
}

function formatEnforcement({ commit, mode, manual_orders, approvers, frozen, silences }: EnforcementView): string {
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
  return `${[...lines, ...freezes].join('\n')}\n\n${formatSilences(silences)}`;
}
