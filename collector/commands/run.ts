import { exitCodes } from '../../common/exit-codes.ts';
import { version } from '../../common/version.ts';
import { type Collector, startCollector } from '../app.ts';
import { systemClock } from '../clock.ts';
import { stdoutLogger } from '../log.ts';
import type { CommandContext } from './context.ts';

/** Serves until the program is asked to stop. */
export async function run(context: CommandContext): Promise<number> {
  const { settings, stopRequested } = context;
  const logger = await stdoutLogger(settings.log.level, systemClock);
  const collector = await startCollector(settings, { logger, clock: systemClock });
  const { url, database, origin, keyFingerprint, ledgerSize } = collector;
  logger.info('collector.started', { version, url, database, origin, keyFingerprint, ledgerSize });
  greet(context, collector);
  const reason = await stopRequested;
  logger.info('collector.stopping', { reason });
  await collector.stop();
  logger.info('collector.stopped');
  return exitCodes.done;
}

/** For people a few lines; for programs the token alone, in a line of its own, because logs mask it. */
function greet({ stdout, settings }: CommandContext, collector: Collector): void {
  const { url, database, origin, keyFingerprint, ledgerSize, operatorToken } = collector;
  if (stdout.isTTY !== true) {
    if (operatorToken !== undefined) stdout.write(`${JSON.stringify({ event: 'operator_token', operatorToken })}\n`);
    return;
  }
  const token =
    operatorToken === undefined
      ? 'made at the first start (a new one: sigilwatch-collector operator-token)'
      : `${operatorToken}  <- keep it, it is shown only now`;
  stdout.write(`
  Sigilwatch collector ${version}
  address         ${url}
  operator token  ${token}
  data            ${settings.dataDir}
  database        ${database}
  ledger          ${origin}, ${ledgerSize} entries
  key             ${keyFingerprint}
  add a node      sigilwatch-collector nodes token NAME

`);
}
