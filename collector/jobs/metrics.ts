import { Counter, Gauge, type Registry } from 'prom-client';
import { type BreakerState, breakerStates, type RunOutcome } from '../../common/job-words.ts';
import { setOrForget, shared } from '../gauges.ts';
import type { EnforcementAction } from './actions.ts';
import type { DeadLetterCount } from './dead-letters.ts';

/** What a worker counts. */
export interface JobMetrics {
  ran(action: EnforcementAction, outcome: RunOutcome): void;
  /** Its outcome is on record. */
  ended(action: EnforcementAction, outcome: 'done' | 'failed'): void;
}

/** What is read from the database at a scrape. */
export interface JobFigures {
  /** Without an outcome: pending, running or retrying. */
  readonly open: readonly { readonly action: string; readonly state: string; readonly count: number }[];
  readonly dead: readonly DeadLetterCount[];
  readonly breakers: readonly { readonly service: string; readonly state: BreakerState }[];
}

/** @param read at each scrape; gauges are missing while it fails. */
export function jobMetrics(registry: Registry, read: () => Promise<JobFigures>): JobMetrics {
  const registers = [registry];
  const runs = new Counter({
    name: 'sigilwatch_collector_job_runs_total',
    help: 'Tries of enforcement jobs by this collector; those that failed or were done count as attempts',
    labelNames: ['action', 'outcome'],
    registers,
  });
  const results = new Counter({
    name: 'sigilwatch_collector_job_results_total',
    help: 'Enforcement jobs that this collector has put an outcome on record of',
    labelNames: ['action', 'outcome'],
    registers,
  });
  addGauges(registry, shared(read));
  return {
    ran: (action, outcome) => runs.inc({ action, outcome }),
    ended: (action, outcome) => results.inc({ action, outcome }),
  };
}

type Labelled = readonly (readonly [Readonly<Record<string, string>>, number])[];

function addGauges(registry: Registry, read: () => Promise<JobFigures>): void {
  const gauge = (name: string, help: string, labelNames: string[], values: (figures: JobFigures) => Labelled) =>
    new Gauge({
      name: `sigilwatch_collector_${name}`,
      ...{ help, labelNames },
      registers: [registry],
      async collect() {
        this.reset();
        await setOrForget(this, async () => {
          for (const [labels, figure] of values(await read())) this.set(labels, figure);
        });
      },
    });
  gauge('jobs_open', 'Enforcement jobs without an outcome', ['action', 'state'], ({ open }) =>
    open.map(({ action, state, count }) => [{ action, state }, count]),
  );
  gauge('job_dead_letters', 'Dead letters of jobs that nobody has retried or resolved', ['action'], ({ dead }) =>
    dead.map(({ action, count }) => [{ action }, count]),
  );
  gauge('breaker_state', '1 for the state that the breaker of a service is in', ['service', 'state'], ({ breakers }) =>
    breakers.flatMap(({ service, state }) =>
      breakerStates.map((one) => [{ service, state: one }, one === state ? 1 : 0] as const),
    ),
  );
}
