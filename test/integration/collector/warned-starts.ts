import { startCollector } from '../../../collector/app.ts';
import { systemClock } from '../../../collector/clock.ts';
import { collectorSettings } from '../../../collector/config.ts';
import type { LogEvent, Logger } from '../../../common/log.ts';
import { loadSettings } from '../../../common/settings.ts';
import { quietLogger } from '../../quiet-logger.ts';

/** Starts a collector and stops it. @returns what it warned of, except that the server of the tests does not wait for its disk. */
export async function startAndStop(dataDir: string, env: Record<string, string>) {
  const warned: { event: string; fields: unknown }[] = [];
  const warn: LogEvent = (event, fields) => void warned.push({ event, fields });
  const logger: Logger = { ...quietLogger, warn };
  const all = { SIGILWATCH_DATA_DIR: dataDir, SIGILWATCH_HTTP_PORT: '0', ...env };
  const collector = await startCollector(loadSettings({ schema: collectorSettings, env: all }).values, {
    logger,
    clock: systemClock,
  });
  await collector.stop();
  return warned.filter((warning) => !/database\.not_durable.*\["fsync = off"\]/.test(JSON.stringify(warning)));
}
