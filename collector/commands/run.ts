import { exitCodes } from '../../common/exit-codes.ts';
import { watchdogIntervalMs } from '../../common/notify.ts';
import { version } from '../../common/version.ts';
import { type Collector, startCollector } from '../app.ts';
import { systemClock } from '../clock.ts';
import type { CollectorSettings } from '../config.ts';
import { becomeOwner } from '../data/data-dir.ts';
import { passedSocket } from '../http/passed-socket.ts';
import { stdoutLogger } from '../log.ts';
import { systemdNotifier } from '../notify.ts';
import { reportService } from '../service.ts';
import type { CommandContext } from './context.ts';

export interface RunOptions {
  readonly insecure?: boolean;
}

/** How often the service manager's line about the collector is brought up to date. */
const lookMs = 5_000;

/** Serves until the program is asked to stop; as the owner of the data directory where root starts it. */
export async function run(context: CommandContext, options: RunOptions): Promise<number> {
  const { stopRequested, env } = context;
  await becomeOwner(context.settings.dataDir);
  const settings = options.insecure === true ? insecurely(context.settings) : context.settings;
  const logger = await stdoutLogger(settings.log.level, systemClock);
  const passed = passedSocket(env, process.pid);
  const collector = await startCollector(settings, { logger, clock: systemClock, passed });
  const { url, database, origin, keyFingerprint, ledgerSize } = collector;
  logger.info('collector.started', { version, url, database, origin, keyFingerprint, ledgerSize });
  greet(context, collector);
  const notifier = systemdNotifier(env, logger);
  const stopping = new AbortController();
  const lifeSignMs = watchdogIntervalMs(env.WATCHDOG_USEC);
  // Not waited for: what it looks at, it looks at in vain once the collector stops.
  if (env.NOTIFY_SOCKET) void reportService(collector, { notifier, lifeSignMs, lookMs, signal: stopping.signal });
  const reason = await stopRequested;
  logger.info('collector.stopping', { reason });
  stopping.abort();
  await notifier.stopping();
  await collector.stop();
  logger.info('collector.stopped');
  return exitCodes.done;
}

function insecurely(settings: CollectorSettings): CollectorSettings {
  return { ...settings, http: { ...settings.http, insecure: true } };
}

/** For people a few lines; for programs the code alone, in a line of its own, because logs mask it. */
function greet({ stdout, settings }: CommandContext, collector: Collector): void {
  const { url, database, origin, keyFingerprint, ledgerSize, setupCode } = collector;
  if (stdout.isTTY !== true) {
    if (setupCode !== undefined) stdout.write(`${JSON.stringify({ event: 'setup_code', setupCode })}\n`);
    return;
  }
  const first =
    setupCode === undefined
      ? ''
      : `\n  setup code      ${setupCode}\n                  makes the first administrator: sigilwatch-collector login --server ${url} --setup`;
  stdout.write(`
  Sigilwatch collector ${version}
  address         ${url}${first}
  data            ${settings.dataDir}
  database        ${database}
  ledger          ${origin}, ${ledgerSize} entries
  key             ${keyFingerprint}
  add a node      sigilwatch-collector nodes token NAME

`);
}
