import { exitCodes } from '../../common/exit-codes.ts';
import { alertAcknowledge } from '../api/alerts-contract.ts';
import { withApi } from './api.ts';
import { type CommandContext, show } from './context.ts';
import { shownCell } from './ledger-replay.ts';

/** Puts on record that somebody knows of an alert. */
export function alertsAck(context: CommandContext, key: string, reason: string): Promise<number> {
  return withApi(context, async ({ api }) => {
    const acknowledged = await api.call(alertAcknowledge, { body: { key, reason } });
    show(context, acknowledged, () => `${shownCell(key)} is acknowledged until it ends or gets worse\n`);
    return exitCodes.done;
  });
}
