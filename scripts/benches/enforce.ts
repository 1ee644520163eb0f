import { setTimeout as delay } from 'node:timers/promises';
import { type RunningNode, startNode } from '../../test/system.ts';
import { until } from '../../test/until.ts';
import { type BareReader, startBareReader } from './bare-reader.ts';
import type { Bench, BenchReport, Row } from './bench.ts';
import { type BenchEngine, containers, engineNotes, images, layGround, sleeping } from './ground.ts';
import { type LedgerEye, openLedgerEye } from './ledger-eye.ts';
import { keepsLimits, quantile, round } from './report.ts';

const defaultRuns = 50;
const warmUpRuns = 5;
const limitP99Ms = 250;
const limitRatio = 3;
/** So that each run meets a system at rest. */
const paceMs = 400;
/** What operators have without us: a loop that looks once a minute. */
const pollingIntervalMs = 60_000;
/** What `docker stop` grants a container. */
const stopGraceMs = 10_000;

const rules = `
config: {enforcement_mode: active, grace_period_seconds: 0}
drift_rules: {unauthorized_containers: {action: terminate, grace_period: 0}}
governance: {daily_limit: 100000, cooldown: 0, blast_radius: 100, settling_time: 0}
`;

/** In milliseconds between two events of the engine, by its own clock. */
interface Run {
  /** From start to die. */
  readonly diedMs: number;
  /** From start until the order was committed in the ledger. */
  readonly orderedMs: number;
}

interface Scene {
  readonly engine: BenchEngine;
  readonly bare: BareReader;
}

/**
 * From the start event of a container that nobody wants to its die event, beside {@link containers} running ones: agent, ledger, order,
 * checks, evidence, kill. Then the same without any of it: a process that kills whatever starts from the image.
 */
export const enforce: Bench = {
  run: async ({ progress, runs = defaultRuns }) => {
    const { engine, collector, nodeOptions } = await layGround({ progress, rules });
    progress('starting the agent');
    const agent = await startNode(nodeOptions);
    await until('the agent has seen all containers and is connected', async () => {
      const status = await agent.status();
      return status.containers >= containers && status.link.state === 'connected';
    });
    const bare = await startBareReader(engine.socketPath);
    const eye = await openLedgerEye(collector.dir, eyePauseMs);
    progress(`${runs} forbidden containers`);
    const enforced = await repeat(runs, (run) => enforcedRun(run, { engine, bare }, eye));
    await eye.close();
    await bare.stop();
    await stopAll(agent);
    progress(`${runs} of them with a bare process that kills on the event`);
    const killer = await startBareReader(engine.socketPath, images.unwanted);
    const killed = await repeat(runs, (run) => bareRun(run, { engine, bare: killer }));
    await killer.stop();
    return report(engine, enforced, killed);
  },
};

/** The agent alone: the collector would otherwise have to be told from what it does for it. */
async function stopAll(agent: RunningNode): Promise<void> {
  await agent.stop();
}

async function repeat<T>(runs: number, once: (run: number) => Promise<T>): Promise<T[]> {
  const measured: T[] = [];
  for (let run = -warmUpRuns; run < runs; run++) {
    const rest = delay(paceMs);
    const result = await once(run + warmUpRuns);
    if (run >= 0) measured.push(result);
    await rest;
  }
  return measured;
}

async function enforcedRun(run: number, { engine, bare }: Scene, eye: LedgerEye): Promise<Run> {
  await eye.forget();
  const ordered = eye.watch(({ kind, body }) => kind === 'order.issued' && body.order.container === `intruder-${run}`);
  const id = await provoke(`intruder-${run}`, engine);
  const [start, die, orderedAtMs] = await Promise.all([bare.next('start', id), bare.next('die', id), ordered]);
  await eye.watch(({ kind, body }) => kind === 'order.result' && body.outcome === 'executed');
  if (orderedAtMs > die.happenedMs + eyeErrorMs) throw new Error('a container died before its order was in the ledger');
  return { diedMs: die.happenedMs - start.happenedMs, orderedMs: orderedAtMs - start.happenedMs };
}

/** Seldom, since the way from the start to the order is part of what is measured. */
const eyePauseMs = 5;
/** It sees a commit a question and a pause late. */
const eyeErrorMs = 20;

async function bareRun(run: number, { engine, bare }: Scene): Promise<number> {
  const id = await provoke(`intruder-${run}`, engine);
  const [start, die] = await Promise.all([bare.next('start', id), bare.next('die', id)]);
  await engine.remove(id);
  return die.happenedMs - start.happenedMs;
}

/** As `docker run -d`: it may be dead and gone before that returns. */
async function provoke(name: string, engine: BenchEngine): Promise<string> {
  const id = await engine.create({ name, image: images.unwanted, cmd: sleeping });
  await engine.start(id).catch(() => {});
  return id;
}

function report(engine: BenchEngine, enforced: readonly Run[], killed: readonly number[]): BenchReport {
  const died = enforced.map(({ diedMs }) => diedMs);
  const ordered = enforced.map(({ orderedMs }) => orderedMs);
  const [p50, p99, bareP50, bareP99] = [
    quantile(died, 0.5),
    quantile(died, 0.99),
    quantile(killed, 0.5),
    quantile(killed, 0.99),
  ];
  const ratio = p50 / bareP50;
  const polledMs = pollingIntervalMs / 2 + stopGraceMs;
  const rows: Row[] = [
    { what: 'start → die, median', measured: p50, unit: 'ms' },
    { what: 'start → die, p99', measured: p99, unit: 'ms', limit: limitP99Ms },
    { what: 'start → order in the ledger, median', measured: quantile(ordered, 0.5), unit: 'ms' },
    { what: 'start → die with a bare process that kills, median', measured: bareP50, unit: 'ms' },
    { what: 'start → die with a bare process that kills, p99', measured: bareP99, unit: 'ms' },
    { what: 'median beside that of the bare process', measured: ratio, unit: 'times', limit: limitRatio },
    { what: 'a loop of docker ps and stop every 60 s: on average', measured: polledMs, unit: 'ms' },
  ];
  return {
    title: `From the start of a forbidden container to its death: ${died.length} runs, ${containers} other containers`,
    rows,
    notes: [
      ...engineNotes(engine),
      'The order was committed in the ledger before the death in every run, and evidence was on disk.',
      'The loop is not measured: half of its interval, and the ten seconds that "docker stop" grants a program which ignores it.',
    ],
    facts: {
      p50_ms: round(p50, 2),
      p99_ms: round(p99, 2),
      ordered_p50_ms: round(quantile(ordered, 0.5), 2),
      bare_p50_ms: round(bareP50, 2),
      bare_p99_ms: round(bareP99, 2),
      ratio: round(ratio, 3),
      polling_mean_ms: polledMs,
      limit_p99_ms: limitP99Ms,
      limit_ratio: limitRatio,
      runs: died.length,
      containers,
      engine: engine.kind,
      kept: keepsLimits(rows),
    },
  };
}
