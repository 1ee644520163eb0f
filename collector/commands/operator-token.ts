import { randomBytes } from 'node:crypto';
import { exitCodes } from '../../common/exit-codes.ts';
import { replaceOperatorToken } from '../auth/operator-token.ts';
import { systemClock } from '../clock.ts';
import { postgresOperatorTokens } from '../postgres/access-store.ts';
import { type CommandContext, show, withLedger } from './context.ts';

/** A new operator token for whoever has the collector's machine; the way back in when the first one was lost. */
export async function operatorToken(context: CommandContext): Promise<number> {
  await withLedger(context, async ({ ledger, database }) => {
    const store = postgresOperatorTokens(database.db);
    const token = await replaceOperatorToken({ store, ledger, clock: systemClock, randomBytes });
    show(context, { operator_token: token }, () => `${token}\n`);
  });
  return exitCodes.done;
}
