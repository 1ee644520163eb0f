import { Counter, collectDefaultMetrics, Gauge, Histogram, type Registry } from 'prom-client';
import { version } from '../common/version.ts';
import { skews, versionSkew } from '../common/version-skew.ts';
import { type AlertFigures, alertMetrics } from './alerts/metrics.ts';
import type { AlertMetrics } from './alerts/ports.ts';
import type { EnforcementMetrics } from './enforcement/desk-ports.ts';
import { enforcementMetrics } from './enforcement/metrics.ts';
import { eventMetrics } from './events/metrics.ts';
import type { EventMetrics } from './events/ports.ts';
import { setOrForget, shared } from './gauges.ts';
import { integrityMetrics } from './integrity/metrics.ts';
import type { LastLedgerCheck } from './integrity/ports.ts';
import { type JobFigures, type JobMetrics, jobMetrics } from './jobs/metrics.ts';
import type { SocketMetrics } from './ws/ports.ts';

export interface HttpMetrics {
  observe(request: { method: string; route: string; status: number }, seconds: number): void;
}

/** The collector's Prometheus metrics, over a registry of their own. */
export interface CollectorMetrics {
  readonly registry: Registry;
  readonly http: HttpMetrics;
  readonly sockets: SocketMetrics;
  readonly enforcement: EnforcementMetrics;
  readonly alerts: AlertMetrics;
  readonly jobs: JobMetrics;
  readonly events: EventMetrics;
  readonly contentType: string;
  text(): Promise<string>;
}

/** What is read from elsewhere at the moment of a scrape. */
export interface MetricSources {
  /** Entries in the ledger, and those waiting for the sequencer. */
  ledgerEntries(): Promise<number>;
  /** True once the database contradicts what was published: nothing is signed or recorded any more. */
  ledgerContradicted(): boolean;
  queuedEntries(): number;
  /** Entries whose bodies were erased, and when the last look for more succeeded, Unix milliseconds. */
  erasedEntries(): Promise<number>;
  retentionSucceededAt(): number | undefined;
  /** For how much longer nothing is deleted by age because the clock was set, milliseconds. */
  deletionsHeldMs(): number;
  fleet(): Promise<Fleet>;
  alerts(): Promise<AlertFigures>;
  jobs(): Promise<JobFigures>;
  /** The last check of the ledger, whoever made it; undefined before the first. */
  ledgerCheck(): Promise<LastLedgerCheck | undefined>;
}

/** Counts of what there is; drifts by kind, findings by check. */
export interface Fleet {
  readonly nodes: { readonly active: number; readonly revoked: number };
  readonly containers: number;
  readonly open_drifts: Readonly<Record<string, number>>;
  readonly open_findings: Readonly<Record<string, number>>;
}

const secondsBuckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5];
/** Fine where most of them lie and where the limit is that we set ourselves: 99 of 100 within 50 ms. */
const ackBuckets = [0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 10];

/** Gauges that prom-client names like counters, which Prometheus would take them for; each is there by type as well. */
const misnamed = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** @param registry without collector metrics in it; names are `sigilwatch_collector_*`. */
export function createMetrics(registry: Registry, sources: MetricSources): CollectorMetrics {
  collectDefaultMetrics({ register: registry });
  for (const name of misnamed) registry.removeSingleMetric(name);
  addLedgerMetrics(registry, sources);
  addRetentionMetrics(registry, sources);
  addFleetMetrics(registry, sources);
  integrityMetrics(registry, () => sources.ledgerCheck());
  return {
    registry,
    http: httpMetrics(registry),
    sockets: socketMetrics(registry),
    enforcement: enforcementMetrics(registry),
    alerts: alertMetrics(registry, () => sources.alerts()),
    jobs: jobMetrics(registry, () => sources.jobs()),
    events: eventMetrics(registry),
    contentType: registry.contentType,
    text: () => registry.metrics(),
  };
}

function httpMetrics(registry: Registry): HttpMetrics {
  const requests = new Counter({
    name: 'sigilwatch_collector_http_requests_total',
    help: 'HTTP requests answered',
    labelNames: ['method', 'route', 'status'],
    registers: [registry],
  });
  const duration = new Histogram({
    name: 'sigilwatch_collector_http_request_duration_seconds',
    help: 'Time to answer a request',
    labelNames: ['method', 'route'],
    buckets: secondsBuckets,
    registers: [registry],
  });
  return {
    observe: ({ method, route, status }, seconds) => {
      requests.inc({ method, route, status });
      duration.observe({ method, route }, seconds);
    },
  };
}

function socketMetrics(registry: Registry): SocketMetrics {
  const sessions = new Gauge({
    name: 'sigilwatch_collector_agent_sessions',
    help: 'Agents connected and identified',
    registers: [registry],
  });
  const versions = new Gauge({
    name: 'sigilwatch_collector_agent_versions',
    help: 'Agents connected and identified, by how their version stands to that of the collector',
    labelNames: ['skew'],
    registers: [registry],
  });
  for (const skew of skews) versions.set({ skew }, 0);
  const refused = new Counter({
    name: 'sigilwatch_collector_agent_refused_total',
    help: 'Connections and messages of agents refused, by error code',
    labelNames: ['code'],
    registers: [registry],
  });
  const acknowledged = new Counter({
    name: 'sigilwatch_collector_entries_acknowledged_total',
    help: 'Entries acknowledged to agents',
    registers: [registry],
  });
  const took = new Histogram({
    name: 'sigilwatch_collector_append_ack_seconds',
    help: 'From the frame of an append read to its ack given to the network',
    buckets: ackBuckets,
    registers: [registry],
  });
  return {
    opened: (theirs) => {
      sessions.inc();
      versions.inc({ skew: versionSkew(theirs, version) });
    },
    closed: (theirs) => {
      sessions.dec();
      versions.dec({ skew: versionSkew(theirs, version) });
    },
    refused: (code) => refused.inc({ code }),
    acknowledged: (entries, seconds) => {
      acknowledged.inc(entries);
      took.observe(seconds);
    },
  };
}

function addLedgerMetrics(registry: Registry, sources: MetricSources): void {
  new Gauge({
    name: 'sigilwatch_collector_ledger_entries',
    help: 'Entries in the ledger (its tree size)',
    registers: [registry],
    async collect() {
      await setOrForget(this, async () => this.set(await sources.ledgerEntries()));
    },
  });
  new Gauge({
    name: 'sigilwatch_collector_ledger_contradicted',
    help: '1 once the database contradicts a checkpoint that was published; nothing is signed or recorded then',
    registers: [registry],
    collect() {
      this.set(sources.ledgerContradicted() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'sigilwatch_collector_ledger_queued_entries',
    help: 'Entries waiting to be written',
    registers: [registry],
    collect() {
      this.set(sources.queuedEntries());
    },
  });
}

function addRetentionMetrics(registry: Registry, sources: MetricSources): void {
  new Gauge({
    name: 'sigilwatch_collector_ledger_erased_entries',
    help: 'Entries before the boundary of the last erasure; their hashes and proofs stay',
    registers: [registry],
    async collect() {
      await setOrForget(this, async () => this.set(await sources.erasedEntries()));
    },
  });
  new Gauge({
    name: 'sigilwatch_collector_retention_last_success_timestamp_seconds',
    help: 'When retention last looked and left nothing undone',
    registers: [registry],
    collect() {
      const at = sources.retentionSucceededAt();
      if (at !== undefined) this.set(at / 1000);
    },
  });
  new Gauge({
    name: 'sigilwatch_collector_deletions_held_seconds',
    help: 'For how much longer nothing is deleted by age because the clock was set',
    registers: [registry],
    collect() {
      this.set(sources.deletionsHeldMs() / 1000);
    },
  });
}

function addFleetMetrics(registry: Registry, sources: MetricSources): void {
  const fleet = shared(() => sources.fleet());
  const fleetGauge = (name: string, help: string, label: string, figures: (fleet: Fleet) => Record<string, number>) =>
    new Gauge({
      name: `sigilwatch_collector_${name}`,
      help,
      labelNames: label === '' ? [] : [label],
      registers: [registry],
      async collect() {
        this.reset();
        await setOrForget(this, async () => {
          for (const [value, figure] of Object.entries(figures(await fleet()))) {
            this.set(label === '' ? {} : { [label]: value }, figure);
          }
        });
      },
    });
  fleetGauge('nodes', 'Enrolled nodes', 'state', ({ nodes }) => nodes);
  fleetGauge('containers', 'Containers as last observed', '', ({ containers }) => ({ all: containers }));
  fleetGauge('open_drifts', 'Drifts that stand', 'kind', ({ open_drifts }) => open_drifts);
  fleetGauge('open_findings', 'Findings that stand', 'check', ({ open_findings }) => open_findings);
}
