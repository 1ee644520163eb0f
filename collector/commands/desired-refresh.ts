import { exitCodes } from '../../common/exit-codes.ts';
import { desiredRefresh as contract } from '../api/governance-contract.ts';
import type { AnswerOf } from '../client/client.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { runningServer, serverFor } from './server.ts';

/** Has the collector that runs look at its repository now, and tells what came of it. */
export async function desiredRefresh(context: CommandContext): Promise<number> {
  const server = (await serverFor(context)) ?? runningServer(context);
  return withApi({ ...context, server }, async ({ api, contradictedField }) => {
    const look = await api.call(contract, {});
    show(context, { ...look, ...contradictedField() }, () => format(look));
    return look.outcome === 'refused' ? exitCodes.findings : exitCodes.done;
  });
}

function format(look: AnswerOf<typeof contract>): string {
  if (look.outcome !== 'refused') {
    return look.outcome === 'adopted' ? `adopted ${look.commit}\n` : `unchanged: ${look.commit} is in force\n`;
  }
  const { commit, file, line, column, reason, in_force } = look;
  const stays = in_force === null ? 'nothing is in force' : `${in_force} stays in force`;
  return `refused ${commit ?? 'the repository'}: ${file}:${line}:${column}: ${reason}\n${stays}\n`;
}
