import { exitCodes } from '../../common/exit-codes.ts';
import { acknowledgeAlert } from '../alerts/operator.ts';
import { createAlertOperating } from '../operating.ts';
import { type CommandContext, show, withLedger } from './context.ts';
import { shownCell } from './ledger-replay.ts';

/** Puts on record that somebody knows of an alert. */
export async function alertsAck(context: CommandContext, key: string, reason: string): Promise<number> {
  await withLedger(context, async ({ ledger, database: { db } }) => {
    const acknowledged = await acknowledgeAlert(createAlertOperating({ db, ledger }), key, reason);
    show(context, acknowledged, () => `${shownCell(key)} is acknowledged until it ends or gets worse\n`);
  });
  return exitCodes.done;
}
