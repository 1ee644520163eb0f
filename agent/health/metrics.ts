import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ScanResult } from '../sigils/scan.ts';
import type { Cycle } from '../told/coverage-account.ts';
import { registerProcessMetrics } from './process-metrics.ts';
import { type AgentStatus, scanShare } from './status.ts';

export interface AgentMetrics {
  readonly registry: Registry;
  cycleDone(cycle: Cycle): void;
  storeScanned(result: ScanResult): void;
  /** While a scan is under way: a full one may take hours. */
  recordsRead(store: string, records: number): void;
}

/** The agent's metrics. Gauges are read from `status` when somebody asks, so they are never stale. */
export function agentMetrics(status: () => AgentStatus): AgentMetrics {
  const registry = new Registry();
  registerProcessMetrics(registry);
  registerGauges(registry, status);
  registerChecks(registry, () => status().checks);
  registerProgress(registry, () => status().scanning);
  const registers = [registry];
  const scans = new Counter({
    name: 'sigilwatch_agent_scans_total',
    help: 'Scan intervals done, by what they count as.',
    labelNames: ['coverage'],
    registers,
  });
  const scanSeconds = new Histogram({
    name: 'sigilwatch_agent_scan_duration_seconds',
    help: 'Time to list and inspect all containers and compare them.',
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30],
    registers,
  });
  const records = new Counter({
    name: 'sigilwatch_agent_sigil_records_checked_total',
    help: 'Records read from sigil stores.',
    labelNames: ['store'],
    registers,
  });
  const storeSeconds = new Gauge({
    name: 'sigilwatch_agent_sigil_scan_duration_seconds',
    help: 'Time the last scan of the store took.',
    labelNames: ['store', 'mode'],
    registers,
  });
  return {
    registry,
    cycleDone: ({ coverage, scanMs }) => {
      scans.inc({ coverage });
      scanSeconds.observe(scanMs / 1000);
    },
    recordsRead: (store, read) => records.inc({ store }, read),
    storeScanned: ({ store, mode, durationMs }) => {
      storeSeconds.set({ store, mode }, durationMs / 1000);
    },
  };
}

function registerGauges(registry: Registry, status: () => AgentStatus): void {
  const gauge = (name: string, help: string, read: (now: AgentStatus) => number) => {
    const made: Gauge = new Gauge({
      name: `sigilwatch_agent_${name}`,
      help,
      registers: [registry],
      collect: () => made.set(read(status())),
    });
  };
  gauge('engine_up', 'Whether the container engine answers.', ({ engine }) => Number(engine === 'up'));
  gauge('link_up', 'Whether the collector is connected.', ({ link }) => Number(link.state === 'connected'));
  gauge('witness_fork', 'Whether the collector has shown a forked or rolled back ledger.', ({ link }) =>
    Number(link.state === 'forked'),
  );
  gauge('witness_size', 'Size of the last checkpoint accepted.', ({ link }) => link.witness.held?.size ?? 0);
  gauge('witness_cosigned_size', 'Size of the last checkpoint cosigned since the start.', ({ link }) => {
    return link.witness.cosigned?.size ?? 0;
  });
  gauge('containers', 'Containers seen by the last scan.', ({ containers }) => containers);
  gauge('containers_unobserved', 'Containers that could not be inspected.', ({ unobserved }) => unobserved);
  gauge('drifts_open', 'Drifts that stand.', ({ openDrifts }) => openDrifts);
  gauge('outbox_entries', 'Entries not yet acknowledged.', ({ outbox }) => outbox.depth);
  gauge('outbox_bytes', 'Bytes of entries not yet acknowledged.', ({ outbox }) => outbox.bytes);
  gauge('outbox_recovered', 'Whether the outbox was found damaged and built anew since the start.', ({ outbox }) =>
    Number(outbox.recovered !== null),
  );
  gauge('outbox_missing_entries', 'Entries that could not be kept of it, as far as is known.', ({ outbox }) => {
    return outbox.recovered?.missing ?? 0;
  });
  const findings: Gauge<'store'> = new Gauge({
    name: 'sigilwatch_agent_sigil_findings_open',
    help: 'Findings that stand, by store.',
    labelNames: ['store'],
    registers: [registry],
    collect: () => {
      findings.reset();
      for (const { store, openFindings } of status().stores) findings.set({ store }, openFindings);
    },
  });
}

/** What the last full check of each store came to, whoever asked for it; a store that had none is not there. */
function registerChecks(registry: Registry, checks: () => AgentStatus['checks']): void {
  const gauge = (name: string, help: string, read: (check: AgentStatus['checks'][number]) => number | undefined) => {
    const made: Gauge<'store'> = new Gauge({
      name: `sigil_integrity_${name}`,
      help,
      labelNames: ['store'],
      registers: [registry],
      collect: () => {
        made.reset();
        for (const check of checks()) {
          const value = read(check);
          if (value !== undefined) made.set({ store: check.store }, value);
        }
      },
    });
  };
  gauge('last_status', '1 when the last full check read everything and found nothing, else 0.', ({ status }) => {
    return Number(status === 'ok');
  });
  gauge('last_duration_seconds', 'Time the last full check took.', ({ durationMs }) => durationMs / 1000);
  gauge('checked_records', 'Records that the last full check read.', ({ checkedRecords }) => checkedRecords);
  gauge(
    'failed_records',
    'Findings that stood after the last full check: failed checks of records, and bad places in files.',
    ({ findings }) => findings,
  );
  gauge('last_success_timestamp_seconds', 'When a full check last found everything in order.', ({ lastOkAt }) =>
    lastOkAt === null ? undefined : Date.parse(lastOkAt) / 1000,
  );
}

/** How far scans under way have come; nothing where none is. */
function registerProgress(registry: Registry, scanning: () => AgentStatus['scanning']): void {
  const gauge = (name: string, help: string, read: (scan: AgentStatus['scanning'][number]) => number | undefined) => {
    const made: Gauge<'store' | 'mode'> = new Gauge({
      name: `sigilwatch_agent_sigil_scan_${name}`,
      help,
      labelNames: ['store', 'mode'],
      registers: [registry],
      collect: () => {
        made.reset();
        for (const scan of scanning()) {
          const value = read(scan);
          if (value !== undefined) made.set({ store: scan.store, mode: scan.mode }, value);
        }
      },
    });
  };
  gauge('progress_records', 'Records that the scan under way has read until now.', ({ records }) => records);
  gauge('progress_bytes', 'Bytes that the scan under way has read until now.', ({ bytes }) => bytes);
  gauge('progress_ratio', 'Share of the store that the full scan under way has read until now.', scanShare);
}
