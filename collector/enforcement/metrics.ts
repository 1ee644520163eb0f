import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { EnforcementMetrics } from './desk-ports.ts';

/** Fine where decisions lie that wait for nothing but two commits. */
const decisionBuckets = [0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 5];

/** @param registry without these metrics in it. */
export function enforcementMetrics(registry: Registry): EnforcementMetrics {
  const registers = [registry];
  const orders = new Counter({
    name: 'sigilwatch_collector_orders_issued_total',
    help: 'Orders of rules put on record, by action',
    labelNames: ['action'],
    registers,
  });
  const took = new Histogram({
    name: 'sigilwatch_collector_order_decision_seconds',
    help: 'From the look at a node to its order on record',
    buckets: decisionBuckets,
    registers,
  });
  const sent = new Counter({
    name: 'sigilwatch_collector_orders_sent_total',
    help: 'Orders given to the network, repetitions included',
    registers,
  });
  const frozen = new Counter({
    name: 'sigilwatch_collector_enforcement_frozen_total',
    help: 'Commits frozen because many nodes began to drift alike',
    registers,
  });
  const failed = new Counter({
    name: 'sigilwatch_collector_enforcement_failures_total',
    help: 'Looks at a node that failed and are made again',
    registers,
  });
  const held = new Gauge({
    name: 'sigilwatch_collector_drifts_held',
    help: 'Drifts of connected nodes that are not answered with an order now, by reason',
    labelNames: ['code'],
    registers,
  });
  return {
    ordered: (action, seconds) => {
      orders.inc({ action });
      took.observe(seconds);
    },
    sent: () => sent.inc(),
    frozen: () => frozen.inc(),
    failed: () => failed.inc(),
    held: (code, change) => held.inc({ code }, change),
  };
}
