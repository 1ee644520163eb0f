import { exitCodes } from '../../common/exit-codes.ts';
import { withNamedFiles } from '../data/named-files.ts';
import { witnessesBeside } from '../wiring/witnessed.ts';
import { type CommandContext, show, withLedger } from './context.ts';

/** The policy (C2SP tlog-policy) that says whom an offline verifier should believe: this ledger and its witnesses. */
export async function ledgerPolicy(context: CommandContext, { output }: { output?: string }): Promise<number> {
  await withNamedFiles(context.settings.dataDir, [output], (writeFile) =>
    withLedger(context, async (open) => {
      const policy = await witnessesBeside(context.settings, open).published.policy();
      if (output === undefined) return show(context, { policy }, () => policy);
      await writeFile(output, [policy]);
      show(context, { policy_file: output }, () => `${output}\n`);
    }),
  );
  return exitCodes.done;
}
