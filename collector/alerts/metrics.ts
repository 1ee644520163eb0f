import { Counter, Gauge, type Registry } from 'prom-client';
import { alertSeverities } from '../../common/kinds.ts';
import { setOrForget, shared } from '../gauges.ts';
import type { AlertMetrics } from './ports.ts';

/** What is read from the database at a scrape. */
export interface AlertFigures {
  /** Alerts that stand, by severity. */
  readonly standing: Readonly<Record<string, number>>;
  /** Of channels that some collector has in its settings, or that dead letters are left of. */
  readonly channels: readonly ChannelFigures[];
}

export interface ChannelFigures {
  readonly name: string;
  readonly waiting: number;
  readonly dead: number;
}

/** @param read at each scrape; gauges are missing while it fails. */
export function alertMetrics(registry: Registry, read: () => Promise<AlertFigures>): AlertMetrics {
  const registers = [registry];
  const counter = (name: string, help: string, label = 'channel') =>
    new Counter({ name: `sigilwatch_collector_${name}`, help, labelNames: [label], registers });
  const sent = counter('notifications_sent_total', 'Notifications that a channel took, one for each alert');
  const failed = counter('notification_failures_total', 'Messages that a channel did not take');
  const died = counter('notifications_given_up_total', 'Notifications that became dead letters');
  const rules = counter('alert_rule_failures_total', 'Looks at which a rule of the alerts could not judge', 'rule');
  addGauges(registry, shared(read));
  return {
    sent: (channel, alerts) => sent.inc({ channel }, alerts),
    failed: (channel) => failed.inc({ channel }),
    died: (channel, notifications) => died.inc({ channel }, notifications),
    ruleFailed: (rule) => rules.inc({ rule }),
  };
}

function addGauges(registry: Registry, read: () => Promise<AlertFigures>): void {
  const gauge = (name: string, help: string, label: string, values: (figures: AlertFigures) => [string, number][]) =>
    new Gauge({
      name: `sigilwatch_collector_${name}`,
      help,
      labelNames: [label],
      registers: [registry],
      async collect() {
        this.reset();
        await setOrForget(this, async () => {
          for (const [value, figure] of values(await read())) this.set({ [label]: value }, figure);
        });
      },
    });
  const ofChannels = (name: string, help: string, figure: (channel: ChannelFigures) => number) =>
    gauge(name, help, 'channel', ({ channels }) => channels.map((channel) => [channel.name, figure(channel)]));
  gauge('alerts_standing', 'Alerts that stand', 'severity', ({ standing }) =>
    alertSeverities.map((severity) => [severity, standing[severity] ?? 0]),
  );
  ofChannels('notifications_waiting', 'Notifications that a channel has not taken yet', ({ waiting }) => waiting);
  ofChannels('notification_dead_letters', 'Notifications given up and not tried again since', ({ dead }) => dead);
}
