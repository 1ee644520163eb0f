import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromSource } from '../../test/from-source.ts';
import { takeCareOf } from '../../test/system/leftovers.ts';
import { startProgram } from '../../test/system.ts';
import type { Bench, BenchReport, Row } from './bench.ts';
import { keepsLimits, quantile, round } from './report.ts';
import { isOurs, startReader, type Way, ways } from './scan-reader.ts';
import type { Reading } from './sigil-reader.ts';
import { copyStore, storeSecret } from './store-cache.ts';

const least = { ratioRaw: 0.45, ratioPlain: 3, speedup: 1.5 } as const;
const most = { incrementalShare: 0.02, rssOverIdleMb: 64 } as const;
const defaultRuns = 3;
const defaultRecords = 1_000_000;
const changedRecords = 1_000;

interface Measured {
  readonly readings: Readonly<Record<Way, readonly Reading[]>>;
  /** Beside the first scan of the same process. */
  readonly incremental: { readonly first: Reading; readonly next: Reading };
  /** MB above the scanner at rest, the most of all full scans. */
  readonly rssOverIdleMb: number;
}

/** One scan of a large store beside `level` that only reads it and a plain loop that checks it. Nobody else uses the store. */
export const sigilScan: Bench = {
  run: async ({ runs = defaultRuns, records = defaultRecords, progress }) => {
    const folder = await mkdtemp(join(tmpdir(), 'sgw-bench-scan-'));
    const forget = takeCareOf({
      remove: () => rm(folder, { recursive: true, force: true }),
      removeNow: () => {},
    });
    const store = join(folder, 'store');
    await copyStore(store, records, progress);
    const readings: Record<Way, Reading[]> = { raw: [], plain: [], checksums: [], 'two-threads': [], signatures: [] };
    let rssOverIdleMb = 0;
    for (let run = 1; run <= runs; run++) {
      progress(`run ${run} of ${runs}: raw, plain, with checksums, by two threads, with signatures`);
      for (const way of ways) {
        const reader = await startReader(way, store);
        const { reading, overIdleMb } = await reader.read();
        await reader.stop();
        requireAll(way, reading, records);
        readings[way].push(reading);
        if (isOurs(way)) rssOverIdleMb = Math.max(rssOverIdleMb, overIdleMb);
      }
    }
    progress(`a scan after ${changedRecords} changed records`);
    const incremental = await afterChanges(store);
    await rm(folder, { recursive: true, force: true });
    forget();
    return report({ runs, records }, { readings, incremental, rssOverIdleMb });
  },
};

async function afterChanges(store: string): Promise<Measured['incremental']> {
  const reader = await startReader('checksums', store);
  const { reading: first } = await reader.read();
  await change(store);
  const { reading: next } = await reader.read();
  await reader.stop();
  if (next.records < changedRecords || next.bad > 0) throw new Error(`the second scan saw ${next.records} records`);
  return { first, next };
}

async function change(store: string): Promise<void> {
  const file = join(import.meta.dirname, 'fill-store.ts');
  const args = [...fromSource(file), store, String(changedRecords), storeSecret, 'leave-in-log'];
  const writer = startProgram({ name: 'store writer', command: process.execPath, args });
  await writer.find('is done', (line) => line === 'done' || undefined);
}

function requireAll(way: Way, { records: seen, bad }: Reading, records: number): void {
  if (seen < records || bad > 0)
    throw new Error(`reading ${way} saw ${seen} of ${records} records, ${bad} of them bad`);
}

function perSecond(readings: readonly Reading[]): number {
  return quantile(
    readings.map(({ records, wallMs }) => (records / wallMs) * 1_000),
    0.5,
  );
}

function report(
  { runs, records }: { readonly runs: number; readonly records: number },
  measured: Measured,
): BenchReport {
  const { readings, incremental, rssOverIdleMb } = measured;
  const raw = perSecond(readings.raw);
  const plain = perSecond(readings.plain);
  const checked = perSecond(readings.checksums);
  const byTwo = perSecond(readings['two-threads']);
  const signed = perSecond(readings.signatures);
  const share = incremental.next.cpuMs / incremental.first.cpuMs;
  const rate = (what: string, measured: number): Row => ({ what, measured, unit: 'records/s' });
  const rows: Row[] = [
    rate('level, iterating and no more', raw),
    rate('a plain loop that parses and compares checksums', plain),
    rate('full scan with checksums, one thread', checked),
    rate('full scan with checksums, two threads', byTwo),
    rate('full scan with checksums and signatures, one thread', signed),
    { what: 'full scan beside iterating', measured: checked / raw, unit: 'times', atLeast: least.ratioRaw },
    { what: 'full scan beside the plain loop', measured: checked / plain, unit: 'times', atLeast: least.ratioPlain },
    { what: 'two threads beside one', measured: byTwo / checked, unit: 'times', atLeast: least.speedup },
    {
      what: `scan after ${changedRecords} changed records: share of a full scan's processor time`,
      measured: share,
      unit: 'of it',
      limit: most.incrementalShare,
    },
    { what: 'peak memory above the scanner at rest', measured: rssOverIdleMb, unit: 'MB', limit: most.rssOverIdleMb },
  ];
  return {
    title: `A sigil store of ${records} records, read whole: medians of ${runs} runs, each in a process of its own`,
    rows,
    notes: [
      "The scanner runs with the agent's options of Node.js; the two others run with none, and level uses a second core.",
    ],
    facts: {
      ratio_raw: round(checked / raw, 3),
      ratio_plain: round(checked / plain, 2),
      speedup_2: round(byTwo / checked, 2),
      incremental_cpu_ratio: round(share, 5),
      rss_over_idle_mb: round(rssOverIdleMb, 1),
      raw_per_s: round(raw, 0),
      plain_per_s: round(plain, 0),
      checksums_per_s: round(checked, 0),
      two_threads_per_s: round(byTwo, 0),
      signatures_per_s: round(signed, 0),
      limit_ratio_raw: least.ratioRaw,
      limit_ratio_plain: least.ratioPlain,
      limit_speedup_2: least.speedup,
      limit_incremental_cpu_ratio: most.incrementalShare,
      limit_rss_over_idle_mb: most.rssOverIdleMb,
      records,
      runs,
      kept: keepsLimits(rows),
    },
  };
}
