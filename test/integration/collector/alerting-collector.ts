import { collectorCli } from '../../collector-cli.ts';
import { type AlertReceivers, startAlertReceivers } from '../../fakes/alert-receivers.ts';
import { startPostgres } from '../../postgres.ts';
import { startTestCollector } from './collectors.ts';

export type AlertingCollector = Awaited<ReturnType<typeof startAlertingCollector>>;

/**
 * A collector that has no more rights than it needs, with receivers of its messages, and commands with its settings.
 * @param channelsOf settings of channels that send to the receivers
 */
export async function startAlertingCollector(
  channelsOf: (receivers: AlertReceivers) => Readonly<Record<string, string>>,
) {
  const postgres = await startPostgres();
  const receivers = await startAlertReceivers();
  const { url, ownerUrl } = await postgres.writerDatabase();
  const settings = { SIGILWATCH_ALERTS_GROUP_MS: '0', ...channelsOf(receivers) };
  const world = await startTestCollector(url, { DATABASE_OWNER_URL: ownerUrl, ...settings });
  const env = { SIGILWATCH_DATA_DIR: world.settings.dataDir, DATABASE_URL: url, ...settings };
  const cli = (...argv: string[]) => collectorCli(argv, env);
  return {
    world,
    receivers,
    cli,
    /** `alerts`, with `--json`; `said` is what it printed, undefined for nothing. */
    alerts: async (...argv: string[]) => {
      const { code, stdout, stderr } = await cli('alerts', ...argv, '--json');
      return { code, stderr, said: stdout === '' ? undefined : JSON.parse(stdout) };
    },
    stop: async () => {
      await world.stop();
      await receivers.close();
      await postgres.stop();
    },
  };
}
