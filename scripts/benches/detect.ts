import { setTimeout as delay } from 'node:timers/promises';
import { startNode } from '../../test/system.ts';
import { until } from '../../test/until.ts';
import { type BareReader, startBareReader } from './bare-reader.ts';
import type { Bench, BenchReport, Row } from './bench.ts';
import { type BenchEngine, containers, engineNotes, images, layGround, sleeping } from './ground.ts';
import { type LedgerEye, openLedgerEye } from './ledger-eye.ts';
import { keepsLimits, quantile, round } from './report.ts';

const defaultRuns = 100;
const warmUpRuns = 5;
const limitP99Ms = 100;
/** About five a second, so that each run meets a system at rest. */
const paceMs = 200;

/** What one run measured, in milliseconds from the engine's own time of the start event. */
interface Run {
  /** Until the drift was committed in the ledger; negative when it was there before. */
  readonly ledgerMs: number;
  /** Until the same event arrived at a process that does nothing else. */
  readonly bareMs: number;
}

/** Something that happens to a container again and again, and the drift that has to follow. */
interface Scenario {
  /** What makes it a drift. */
  readonly opens: 'create' | 'start';
  /** Ends with the container's start. */
  provoke(): Promise<unknown>;
  /** Puts the container with this id back. */
  undo(id: string): Promise<unknown>;
  /** The drift's id, which is resolved after that. */
  driftId(id: string): string;
}

interface Scene {
  readonly engine: BenchEngine;
  readonly eye: LedgerEye;
  readonly bare: BareReader;
}

/**
 * From the engine's start event to the `drift.opened` entry committed in the ledger, beside {@link containers} running
 * containers, or as many as are asked for.
 *
 * A container that nobody wants is a drift from the moment it is created, so most times it is on record before it starts.
 * The start that opens a drift by itself is that of a wanted container from an image that is not: at rest it is merely
 * missing. Both are measured.
 */
export const detect: Bench = {
  run: async ({ progress, runs = defaultRuns, records: running = containers }) => {
    const ground = await layGround({ progress, running, alsoWanted: [impostor] });
    const { engine, collector, nodeOptions } = ground;
    const starts = await startOfImpostor(engine);
    const bare = await startBareReader(engine.socketPath);
    progress('starting the agent');
    const agent = await startNode(nodeOptions);
    await until('the agent has seen all containers and is connected', async () => {
      const status = await agent.status();
      return status.containers > running && status.link.state === 'connected';
    });
    const scene = { engine, bare, eye: await openLedgerEye(collector.dir, eyePauseMs) };
    progress(`${runs} starts of a container from the wrong image`);
    const started = await repeat(runs, starts, scene);
    progress(`${runs} unauthorized containers`);
    const created = await repeat(runs, creationOfIntruder(engine), scene);
    await scene.eye.close();
    return report({ engine, running, started, created });
  },
};

/** What is measured is a few times that. */
const eyePauseMs = 1;
const impostor = 'app-impostor';
const intruder = 'intruder';

async function startOfImpostor(engine: BenchEngine): Promise<Scenario> {
  const id = await engine.create({ name: impostor, image: images.unwanted, cmd: sleeping });
  const end = async () => {
    await engine.kill(id);
    await engine.wait(id);
  };
  // Once, so that it has ended: a wanted container that was created and never started counts as being there.
  await engine.start(id);
  await end();
  return { opens: 'start', provoke: () => engine.start(id), undo: end, driftId: () => `IMAGE_DRIFT/${impostor}` };
}

function creationOfIntruder(engine: BenchEngine): Scenario {
  return {
    opens: 'create',
    provoke: () => engine.run({ name: intruder, image: images.unwanted, cmd: sleeping }),
    undo: (id) => engine.remove(id),
    driftId: (id) => `UNAUTHORIZED_CONTAINER/${id}`,
  };
}

async function repeat(runs: number, scenario: Scenario, scene: Scene): Promise<Run[]> {
  const measured: Run[] = [];
  for (let run = -Math.min(warmUpRuns, runs); run < runs; run++) {
    const rest = delay(paceMs);
    const result = await runOnce(scenario, scene);
    if (run >= 0) measured.push(result);
    await rest;
  }
  return measured;
}

async function runOnce({ opens, provoke, undo, driftId }: Scenario, { eye, bare }: Scene): Promise<Run> {
  await eye.forget();
  // Looks into the ledger only once it can be there: asking all the time would take the processor from those measured.
  const committed = bare
    .next(opens)
    .then(({ id }) => eye.watch(({ kind, body }) => kind === 'drift.opened' && body.drift.id === driftId(id)));
  const [start, committedMs] = await Promise.all([bare.next('start'), committed, provoke()]);
  await undo(start.id);
  await eye.watch(({ kind, body }) => kind === 'drift.resolved' && body.id === driftId(start.id));
  return { ledgerMs: committedMs - start.happenedMs, bareMs: start.arrivedMs - start.happenedMs };
}

interface Measured {
  readonly engine: BenchEngine;
  readonly running: number;
  readonly started: readonly Run[];
  readonly created: readonly Run[];
}

function report({ engine, running, started, created }: Measured): BenchReport {
  const [ledger, bare, unauthorized] = [
    started.map(({ ledgerMs }) => ledgerMs),
    started.map(({ bareMs }) => bareMs),
    created.map(({ ledgerMs }) => ledgerMs),
  ];
  const row = (what: string, values: readonly number[], q: number, limit?: number): Row => {
    return { what, measured: quantile(values, q), unit: 'ms', ...(limit === undefined ? {} : { limit }) };
  };
  const rows = [
    row('wrong image: start → ledger, median', ledger, 0.5),
    row('wrong image: start → ledger, p99', ledger, 0.99, limitP99Ms),
    row('start → a process that only reads events, median', bare, 0.5),
    row('start → a process that only reads events, p99', bare, 0.99),
    row('unauthorized: start → ledger, median (negative: before it ran)', unauthorized, 0.5),
    row('unauthorized: start → ledger, p99', unauthorized, 0.99, limitP99Ms),
  ];
  const ms = (at: number) => round(rows[at]?.measured ?? Number.NaN, 2);
  return {
    title: `From the engine's start event to the drift committed in the ledger: ${started.length} runs each, ${running} containers`,
    rows,
    notes: engineNotes(engine),
    facts: {
      p50_ms: ms(0),
      p99_ms: ms(1),
      bare_p50_ms: ms(2),
      bare_p99_ms: ms(3),
      unauthorized_p50_ms: ms(4),
      unauthorized_p99_ms: ms(5),
      limit_p99_ms: limitP99Ms,
      runs: started.length,
      containers: running,
      engine: engine.kind,
      kept: keepsLimits(rows),
    },
  };
}
