import { Counter, Gauge, type Registry } from 'prom-client';
import type { EventMetrics } from './ports.ts';

export function eventMetrics(registry: Registry): EventMetrics {
  const registers = [registry];
  const subscribers = new Gauge({
    name: 'sigilwatch_collector_event_subscribers',
    help: 'Streams of live events that are open',
    registers,
  });
  const ended = new Counter({
    name: 'sigilwatch_collector_event_streams_ended_total',
    help: 'Streams of live events that ended: left, behind (read too slowly), stalled (did not read), or an error code',
    labelNames: ['why'],
    registers,
  });
  const sent = new Counter({
    name: 'sigilwatch_collector_events_sent_total',
    help: 'Live events given to the network, over all streams',
    registers,
  });
  return {
    opened: () => subscribers.inc(),
    closed: (why) => {
      subscribers.dec();
      ended.inc({ why });
    },
    sent: (events) => sent.inc(events),
  };
}
