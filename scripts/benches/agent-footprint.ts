import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { identityPaths } from '../../agent/identity.ts';
import { programs } from '../../test/system/program.ts';
import { type Program, type RunningNode, startNode, startProgram, startWriter } from '../../test/system.ts';
import { until } from '../../test/until.ts';
import type { Bench, BenchReport, Row } from './bench.ts';
import { containers, engineNotes, type Ground, layGround, node } from './ground.ts';
import { fillOutbox } from './outbox-fill.ts';
import { forgetPeak, peakRssMb, type Sampled, sample } from './processes.ts';
import { keepsLimits, round } from './report.ts';
import { copyStore, storeSecret } from './store-cache.ts';

const limitRssMb = 90;
const limitExecutorRssMb = 48;
const limitCpuPct = 1;
const defaultSeconds = 300;
const defaultRecords = 1_000_000;
const writtenPerSecond = 10;
const scrapeEveryMs = 15_000;
const outboxEntries = 10_000;
/** How long an agent with a full outbox is watched. */
const outboxSeconds = 20;
const warmUpDeadlineMs = 60 * 60_000;
const drainDeadlineMs = 120_000;

/** A stretch of time with the peak that the kernel keeps, which sees what lies between two samples. */
interface Stretch extends Sampled {
  readonly peakMb: number;
}

interface Figures {
  readonly warmUp: Stretch;
  readonly work: Stretch;
  readonly executor: Stretch;
  readonly bareRssMb: number;
  readonly emptyOutbox: Stretch;
  readonly fullOutbox: Stretch;
  readonly draining: Stretch;
}

/**
 * Memory and processor time of the agent program as it is installed, with {@link containers} containers and a large sigil
 * store that somebody writes to, beside a Node.js process that does nothing. The first full scan of the store is told
 * apart from the normal work after it. The agent has no socket of the engine: an executor stands in between, and counts too.
 */
export const agentFootprint: Bench = {
  run: async (options) => {
    const { progress, seconds = defaultSeconds, records = defaultRecords } = options;
    const ground = await layGround({ progress });
    const store = join(ground.path, 'store');
    await copyStore(store, records, progress);
    await startWriter({ dir: store, tenant: 'bench', secret: storeSecret, rate: writtenPerSecond });
    const executor = await startExecutor(ground);
    const behind = { ...ground.nodeOptions, socketPath: executor.socketPath };
    const agent = await startNode({ ...behind, stores: { sigils: store }, secrets: [storeSecret] });
    const warmUp = await warmedUp(agent, progress);
    const bare = startBare();
    progress(`${seconds} s of normal work`);
    const [work, between, bareStretch] = await Promise.all([
      normalWork(agent, seconds),
      during(executor, () => delay(seconds * 1000)),
      during(bare, () => delay(seconds * 1000)),
    ]);
    const outbox = await fullOutbox(ground, agent, progress);
    return report({ seconds, records }, ground, {
      ...{ warmUp, work, executor: between, bareRssMb: bareStretch.rssMb },
      ...outbox,
    });
  },
};

async function during(process: Pick<Program, 'pid'>, work: () => Promise<unknown>): Promise<Stretch> {
  forgetPeak(process.pid);
  const sampling = sample(process.pid);
  await work();
  return { ...sampling.stop(), peakMb: peakRssMb(process.pid) };
}

/** Until every record of the store has been checked once. */
async function warmedUp(agent: RunningNode, progress: (text: string) => void): Promise<Stretch> {
  progress('the first full scan of the store');
  return during(agent, () =>
    until(
      'the store has been scanned in full',
      async () => {
        await delay(1_000);
        const { stores } = await agent.status();
        return stores.every(({ status }) => status === 'ok');
      },
      warmUpDeadlineMs,
    ),
  );
}

/** Scans each minute, entries to the collector, and somebody who collects metrics. */
function normalWork(agent: RunningNode, seconds: number): Promise<Stretch> {
  return during(agent, async () => {
    const scraping = setInterval(
      () => void fetch(`${agent.url}/metrics`).then((answer) => answer.text()),
      scrapeEveryMs,
    );
    await delay(seconds * 1000);
    clearInterval(scraping);
  });
}

function startBare(): Program {
  const idle = `process.once('SIGTERM', () => process.exit(0)); setInterval(() => {}, 1e9)`;
  return startProgram({ name: 'idle process', command: process.execPath, args: ['-e', idle] });
}

/** With the flags of its first line, which are those of its unit. */
async function startExecutor({
  path,
  engine,
  nodeOptions,
}: Ground): Promise<Program & { readonly socketPath: string }> {
  const socketPath = join(path, 'executor.sock');
  const { vkey }: { readonly vkey?: unknown } = JSON.parse(
    readFileSync(identityPaths(nodeOptions.dir).enrolment, 'utf8'),
  );
  const args = ['--socket', socketPath, '--engine', engine.socketPath, '--node', node, '--collector-key', String(vkey)];
  const program = startProgram({ name: 'executor', command: programs.executor, args });
  await program.find('serves', (line) => (line.includes('executor.serving') ? true : undefined));
  return { ...program, socketPath };
}

/** The same start with an empty and with a long outbox, while nobody takes the entries, and the way back to empty. */
async function fullOutbox({ collector, nodeOptions }: Ground, agent: RunningNode, progress: (text: string) => void) {
  await collector.kill9();
  progress(`${outboxSeconds} s without a collector`);
  await agent.restart();
  const emptyOutbox = await during(agent, () => delay(outboxSeconds * 1000));
  await agent.stop();
  await fillOutbox(nodeOptions.dir, outboxEntries);
  progress(`${outboxSeconds} s without a collector, ${outboxEntries} entries in the outbox`);
  await agent.restart();
  const fullOutbox = await during(agent, () => delay(outboxSeconds * 1000));
  progress('the collector takes them');
  await collector.restart();
  const draining = await during(agent, () =>
    until('the outbox is empty', async () => (await agent.status()).outbox.depth === 0, drainDeadlineMs),
  );
  return { emptyOutbox, fullOutbox, draining };
}

function cpuPctOf({ cpuSeconds, seconds }: Stretch): number {
  return (cpuSeconds / seconds) * 100;
}

function report(
  { seconds, records }: { readonly seconds: number; readonly records: number },
  { engine }: Ground,
  figures: Figures,
): BenchReport {
  const { warmUp, work, executor, bareRssMb, emptyOutbox, fullOutbox: full, draining } = figures;
  const cpuPct = cpuPctOf(work);
  const mb = (what: string, measured: number, limit?: number): Row => {
    return { what, measured, unit: 'MB', ...(limit === undefined ? {} : { limit }) };
  };
  const rows: Row[] = [
    mb('agent: resident memory', work.rssMb, limitRssMb),
    mb('agent: its peak between the samples', work.peakMb, limitRssMb),
    mb('executor: resident memory', executor.rssMb, limitExecutorRssMb),
    mb('executor: its peak between the samples', executor.peakMb, limitExecutorRssMb),
    mb('agent and executor: resident memory', work.rssMb + executor.rssMb),
    mb('a Node.js process that does nothing', bareRssMb),
    { what: 'agent: processor time, of one core', measured: cpuPct, unit: '%', limit: limitCpuPct },
    { what: 'executor: processor time, of one core', measured: cpuPctOf(executor), unit: '%' },
    { what: 'first full scan: time', measured: warmUp.seconds, unit: 's' },
    { what: 'first full scan: processor time', measured: warmUp.cpuSeconds, unit: 's' },
    mb('first full scan: peak memory', warmUp.peakMb),
    mb('no collector, nothing in the outbox', emptyOutbox.peakMb),
    mb(`no collector, ${outboxEntries} entries in the outbox`, full.peakMb),
    mb('sending them', draining.peakMb),
  ];
  return {
    title: `The agent with ${containers} containers and a store of ${records} records: ${seconds} s of normal work`,
    rows,
    notes: engineNotes(engine),
    facts: {
      agent_rss_mb: round(work.rssMb, 1),
      agent_rss_peak_mb: round(work.peakMb, 1),
      agent_cpu_pct: round(cpuPct, 3),
      executor_rss_mb: round(executor.rssMb, 1),
      executor_rss_peak_mb: round(executor.peakMb, 1),
      executor_cpu_pct: round(cpuPctOf(executor), 3),
      bare_rss_mb: round(bareRssMb, 1),
      warmup_seconds: round(warmUp.seconds, 1),
      warmup_cpu_seconds: round(warmUp.cpuSeconds, 2),
      warmup_rss_peak_mb: round(warmUp.peakMb, 1),
      rss_outbox_empty_mb: round(emptyOutbox.peakMb, 1),
      rss_outbox_10k_mb: round(full.peakMb, 1),
      rss_outbox_drain_mb: round(draining.peakMb, 1),
      limit_rss_mb: limitRssMb,
      limit_executor_rss_mb: limitExecutorRssMb,
      limit_cpu_pct: limitCpuPct,
      seconds,
      records,
      containers,
      engine: engine.kind,
      kept: keepsLimits(rows),
    },
  };
}
