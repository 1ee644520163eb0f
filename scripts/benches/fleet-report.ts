import type { BenchReport, Row } from './bench.ts';
import type { FleetAudit, TableSize } from './fleet-ledger.ts';
import type { FleetDone } from './fleet-words.ts';
import type { Sampled } from './processes.ts';
import { keepsLimits, quantile, round } from './report.ts';

/** One thing that all agents did. */
export interface Phase {
  readonly done: FleetDone;
  readonly seconds: number;
  readonly collector: Sampled;
  /** All processes of the server; memory that they share is counted once for each. */
  readonly postgres: Sampled;
  readonly walBytes: number;
  /** Afterwards. */
  readonly databaseBytes: number;
}

export interface FleetMeasured {
  readonly agents: number;
  readonly steady: { readonly reports: number; readonly everyMs: number };
  /** Reports of each agent that waited. */
  readonly waiting: number;
  readonly connected: Phase;
  readonly reported: Phase;
  /** From the last packet of the agents until the collector had given the last one up. */
  readonly silence: { readonly seconds: number; readonly collector: Sampled };
  readonly drained: Phase;
  readonly audit: FleetAudit;
  /** By `ledger verify`. */
  readonly verified: boolean;
  readonly refusals: Readonly<Record<string, number>>;
  readonly tables: readonly TableSize[];
}

const most = { drainSeconds: 300, rssMb: 512, duplicates: 0 } as const;
const shownTables = 6;

export function fleetReport(measured: FleetMeasured): BenchReport {
  const { agents, steady, waiting, connected, reported, silence, drained, audit } = measured;
  const rssMb = Math.max(...[connected, reported, silence, drained].map(({ collector }) => collector.rssMb));
  const ackP99Ms = quantile(reported.done.ackMs, 0.99);
  const rows: Row[] = [
    { what: 'back at once until drained', measured: drained.seconds, unit: 's', limit: most.drainSeconds },
    { what: 'counted twice', measured: audit.duplicates, unit: '', limit: most.duplicates },
    { what: 'missing, or not what the node said', measured: audit.missing + audit.otherHeads, unit: '', limit: 0 },
    { what: 'resident memory of the collector, peak', measured: rssMb, unit: 'MB', limit: most.rssMb },
    { what: 'report to proof checked, p99, steady', measured: ackP99Ms, unit: 'ms' },
    { what: 'the same, p50', measured: quantile(reported.done.ackMs, 0.5), unit: 'ms' },
    { what: 'frame to proof checked, p99, draining', measured: quantile(drained.done.ackMs, 0.99), unit: 'ms' },
    { what: 'first connection, the last one welcome', measured: slowest(connected.done.welcomeMs), unit: 's' },
    { what: 'back at once, the last one welcome', measured: slowest(drained.done.welcomeMs), unit: 's' },
    { what: 'processor of the collector, steady', measured: share(reported.collector), unit: '%' },
    { what: 'processors of PostgreSQL, steady', measured: share(reported.postgres), unit: '%' },
    { what: 'cosignatures, steady', measured: cosigned(measured) / reported.seconds, unit: '/s' },
  ];
  return {
    title: `${agents} agents: ${steady.reports} reports each in ${reported.seconds.toFixed(0)} s, then silence, then ${waiting} each at once`,
    rows,
    notes: notesOn(measured),
    facts: { ...factsOf(measured), rss_mb: round(rssMb, 1), ack_p99_ms: round(ackP99Ms, 1), kept: keepsLimits(rows) },
  };
}

function factsOf(measured: FleetMeasured) {
  const { agents, waiting, connected, reported, drained, audit, verified } = measured;
  const reports = agents * measured.steady.reports;
  return {
    drain_s: round(drained.seconds, 1),
    duplicates: audit.duplicates,
    ...{ agents, entries: audit.entries, missing: audit.missing, other_heads: audit.otherHeads, verified },
    steady_reports: reports,
    waiting_reports: agents * waiting,
    drain_entries_per_s: round((agents * waiting) / drained.seconds, 0),
    ack_p50_ms: round(quantile(reported.done.ackMs, 0.5), 1),
    drain_ack_p99_ms: round(quantile(drained.done.ackMs, 0.99), 1),
    welcome_s: round(slowest(connected.done.welcomeMs), 1),
    rejoin_s: round(slowest(drained.done.welcomeMs), 1),
    cosignatures_per_s: round(cosigned(measured) / reported.seconds, 1),
    steady_s: round(reported.seconds, 1),
    connect_collector_cpu_s: round(connected.collector.cpuSeconds, 2),
    collector_cpu_s: round(reported.collector.cpuSeconds, 2),
    postgres_cpu_s: round(reported.postgres.cpuSeconds, 2),
    steady_wal_bytes_per_report: round(reported.walBytes / reports, 0),
    drain_collector_cpu_s: round(drained.collector.cpuSeconds, 2),
    drain_postgres_cpu_s: round(drained.postgres.cpuSeconds, 2),
    drain_wal_bytes_per_report: round(drained.walBytes / (agents * waiting), 0),
    drain_database_bytes_per_report: round((drained.databaseBytes - reported.databaseBytes) / (agents * waiting), 0),
    connection_failures: total(connected.done.failures) + total(reported.done.failures) + total(drained.done.failures),
  };
}

function notesOn({ connected, reported, silence, drained, verified, refusals, tables }: FleetMeasured): string[] {
  return [
    `ledger verify: ${verified ? 'everything in order' : 'FAULTS'}; given up after ${silence.seconds.toFixed(1)} s of silence`,
    `connections that failed, as the agents saw it: first ${shown(connected.done.failures)}; steady ${shown(reported.done.failures)}; back ${shown(drained.done.failures)}`,
    `refused by the collector: ${shown(refusals)}`,
    `tables: ${tables
      .slice(0, shownTables)
      .map(({ name, rows, bytes }) => `${name} ${rows} rows, ${(bytes / 2 ** 20).toFixed(1)} MiB`)
      .join('; ')}`,
    'Every agent runs the real link: handshake, signatures, proofs, consistency and cosignatures; only its outbox is in memory.',
    'Agents and collector share this machine, so the agents cost the collector time that it would have in the field.',
  ];
}

function cosigned({ connected, reported }: FleetMeasured): number {
  return reported.done.cosignatures - connected.done.cosignatures;
}

function share({ cpuSeconds, seconds }: Sampled): number {
  return (100 * cpuSeconds) / seconds;
}

function slowest(ms: readonly number[]): number {
  return Math.max(...ms) / 1_000;
}

function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

function shown(counts: Readonly<Record<string, number>>): string {
  const words = Object.entries(counts).map(([code, count]) => `${code} ${count}`);
  return words.length === 0 ? 'none' : words.join(', ');
}
