import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { fromSource } from '../../test/from-source.ts';
import { takeCareOf } from '../../test/system/leftovers.ts';
import { jsonLine, type Program, startProgram } from '../../test/system.ts';
import type { Bench, BenchReport, Row } from './bench.ts';
import { keepsLimits, quantile, round } from './report.ts';
import { startReader } from './scan-reader.ts';
import { storeSecret } from './store-cache.ts';

const leastRatio = 0.95;
const defaultRuns = 30;
const defaultSeconds = 2;
/** Sixty times as often as the agent does it: what one a minute costs cannot be told from noise. */
const snapshotEveryMs = 1_000;
const agentEveryMs = 60_000;

const markSchema = z.object({ nth: z.number(), records: z.number(), ms: z.number() });
type Mark = z.infer<typeof markSchema>;

interface Slice {
  /** Records a second that the writer wrote. */
  readonly rate: number;
  readonly snapshots: number;
  /** Processor time of the snapshots, in milliseconds. */
  readonly cpuMs: number;
}

interface Pair {
  readonly alone: Slice;
  readonly watched: Slice;
}

/** What minute scans cost the program that writes the store, in slices with and without that take turns. */
export const snapshotLoad: Bench = {
  run: async ({ runs = defaultRuns, seconds = defaultSeconds, progress }) => {
    const folder = await mkdtemp(join(tmpdir(), 'sgw-bench-load-'));
    const forget = takeCareOf({ remove: () => rm(folder, { recursive: true, force: true }), removeNow: () => {} });
    const store = join(folder, 'store');
    const writer = await startWriter(store);
    const reader = await startReader('signatures', store);
    await reader.read();
    const slice = async (isWatched: boolean): Promise<Slice> => {
      // What was written in the slice before is not to be paid for in this one.
      await reader.read();
      return sliceOf(writer, isWatched ? reader : null, seconds * 1_000);
    };
    const pairs: Pair[] = [];
    for (let run = 1; run <= runs; run++) {
      progress(`pair ${run} of ${runs}`);
      // Each goes first as often as the other: a store slows down and speeds up again by itself.
      const first = await slice(run % 2 === 0);
      const second = await slice(run % 2 !== 0);
      pairs.push(run % 2 === 0 ? { watched: first, alone: second } : { alone: first, watched: second });
    }
    await writer.stop();
    const last = await reader.read();
    if (last.reading.bad > 0) throw new Error(`${last.reading.bad} findings in a sound store`);
    await reader.stop();
    await rm(folder, { recursive: true, force: true });
    forget();
    return report(pairs, seconds);
  },
};

async function sliceOf(
  writer: Writer,
  reader: Awaited<ReturnType<typeof startReader>> | null,
  forMs: number,
): Promise<Slice> {
  const begun = await writer.mark();
  const beganMs = performance.now();
  let snapshots = 0;
  let cpuMs = 0;
  for (let untilMs = 0; untilMs < forMs; untilMs += snapshotEveryMs) {
    if (reader !== null) {
      const { reading } = await reader.read();
      if (reading.bad > 0) throw new Error(`${reading.bad} findings in a sound store`);
      snapshots += 1;
      cpuMs += reading.cpuMs;
    }
    await delay(Math.max(0, beganMs + Math.min(untilMs + snapshotEveryMs, forMs) - performance.now()));
  }
  const ended = await writer.mark();
  return { rate: ((ended.records - begun.records) / (ended.ms - begun.ms)) * 1_000, snapshots, cpuMs };
}

interface Writer {
  mark(): Promise<Mark>;
  stop(): Promise<void>;
}

async function startWriter(store: string): Promise<Writer> {
  const args = [...fromSource(join(import.meta.dirname, 'load-writer.ts')), store, storeSecret];
  const writer: Program = startProgram({ name: 'store writer', command: process.execPath, args });
  await writer.find('is ready', (line) => line === 'ready' || undefined);
  let asked = 0;
  const mark = async () => {
    asked += 1;
    writer.send('mark');
    return writer.find('says how much it has written', (line) => {
      const { data } = markSchema.safeParse(jsonLine(line));
      return data?.nth === asked ? data : undefined;
    });
  };
  return { mark, stop: () => writer.stop() };
}

function report(pairs: readonly Pair[], seconds: number): BenchReport {
  const ratios = pairs.map(({ alone, watched }) => watched.rate / alone.rate);
  const median = (values: readonly number[]) => quantile(values, 0.5);
  const alone = median(pairs.map((pair) => pair.alone.rate));
  const watched = median(pairs.map((pair) => pair.watched.rate));
  const snapshots = pairs.reduce((sum, pair) => sum + pair.watched.snapshots, 0);
  const cpuMs = pairs.reduce((sum, pair) => sum + pair.watched.cpuMs, 0) / snapshots;
  const [low, high] = [quantile(ratios, 0.25), quantile(ratios, 0.75)];
  // A busy writer rewrites its store within seconds, so one snapshot reads no more after a minute than after one of them.
  const lostMs = Math.max(0, 1 - median(ratios)) * snapshotEveryMs;
  const ratioMinutely = 1 - lostMs / agentEveryMs;
  const rows: Row[] = [
    { what: 'the writer alone', measured: alone, unit: 'records/s' },
    { what: 'the writer with a snapshot every second', measured: watched, unit: 'records/s' },
    { what: 'with beside alone, median of the pairs', measured: median(ratios), unit: 'times', atLeast: leastRatio },
    { what: 'the writing that a snapshot costs', measured: lostMs, unit: 'ms' },
    { what: 'so with one a minute, beside alone', measured: ratioMinutely, unit: 'times', atLeast: leastRatio },
    { what: 'processor time of a snapshot', measured: cpuMs, unit: 'ms' },
  ];
  return {
    title: `A store under full write load: ${pairs.length} pairs of slices of ${seconds} s, with minute scans and without`,
    rows,
    notes: [
      `A snapshot every second is 60 times as often as the agent takes one. Half of the pairs are between ${round(low, 3)} and ${round(high, 3)}.`,
      'Writer and scans are processes of their own, and share the cores; each scan checks all that was written since the one before.',
    ],
    facts: {
      ratio: round(median(ratios), 3),
      ratio_p25: round(low, 3),
      ratio_p75: round(high, 3),
      ratio_minutely: round(ratioMinutely, 4),
      lost_ms: round(lostMs, 1),
      alone_per_s: round(alone, 0),
      watched_per_s: round(watched, 0),
      snapshot_cpu_ms: round(cpuMs, 1),
      snapshot_every_ms: snapshotEveryMs,
      snapshots,
      limit_ratio: leastRatio,
      runs: pairs.length,
      slice_seconds: seconds,
      kept: keepsLimits(rows),
    },
  };
}
