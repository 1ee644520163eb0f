import { Counter, Gauge, type Registry } from 'prom-client';
import { setOrForget } from '../gauges.ts';
import type { Standing } from './ports.ts';

/** What rounds count. Calls never throw. */
export interface WitnessMetrics {
  /** `quorum`: reached; `skipped`: an agent was too far ahead to take part. */
  round(outcome: 'begun' | 'quorum' | 'skipped'): void;
  cosignature(kind: 'node' | 'outside', outcome: 'accepted' | 'refused'): void;
  forkReport(verdict: 'proved' | 'refuted' | 'unsigned'): void;
  outside(outcome: string): void;
}

/** @param standing read at each scrape; gauges are missing while it fails. */
export function witnessMetrics(registry: Registry, standing: () => Promise<Standing>): WitnessMetrics {
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name: `sigilwatch_collector_${name}`, help, labelNames, registers });
  const rounds = counter('witness_rounds_total', 'Rounds of cosigning, by what became of them', ['outcome']);
  const cosignatures = counter('cosignatures_total', 'Cosignatures received', ['kind', 'outcome']);
  const forks = counter('witness_forks_reported_total', 'Forks that agents reported, by what they proved', ['verdict']);
  const outside = counter('outside_witness_requests_total', 'Requests to outside witnesses', ['outcome']);
  new Gauge({
    name: 'sigilwatch_collector_witnessed_size',
    help: 'Size of the largest checkpoint that a quorum of witnesses cosigned',
    registers,
    async collect() {
      await setOrForget(this, async () => this.set((await standing()).witnessed?.size ?? 0));
    },
  });
  new Gauge({
    name: 'sigilwatch_collector_unwitnessed_entries',
    help: 'Entries after the largest checkpoint with a quorum',
    registers,
    async collect() {
      await setOrForget(this, async () => {
        const { ledgerSize, witnessed } = await standing();
        this.set(Math.max(0, ledgerSize - (witnessed?.size ?? 0)));
      });
    },
  });
  return {
    round: (outcome) => rounds.inc({ outcome }),
    cosignature: (kind, outcome) => cosignatures.inc({ kind, outcome }),
    forkReport: (verdict) => forks.inc({ verdict }),
    outside: (outcome) => outside.inc({ outcome }),
  };
}
