import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { maxRssMb, runCampaign, startFuzzCollector } from '../../test/fuzz/campaign.ts';
import { makeTemporaryFolder } from '../../test/system.ts';
import type { Bench, Row } from './bench.ts';
import { keepsLimits, round } from './report.ts';

const defaultSeconds = 3_600;

/** An hour of whatever somebody might send to a collector. `--runs` is the seed of an earlier one. */
export const fuzz: Bench = {
  run: async ({ progress, seconds = defaultSeconds, runs: seed = randomInt(1, 999_999_999) }) => {
    progress(`seed ${seed}: "./scripts/bench fuzz --runs ${seed}" repeats it`);
    const folder = makeTemporaryFolder('sgw-fuzz-');
    const collector = await startFuzzCollector(join(folder.path, 'collector'));
    const casesPerLane = Number.MAX_SAFE_INTEGER;
    const found = await runCampaign({ collector, seed, seconds, casesPerLane, progress });
    for (const { lane, fault, how } of found.failures) progress(`\n${lane}: ${fault}\n  ${how}`);
    await collector.stop();
    const cases = Object.values(found.cases).reduce((sum, count) => sum + count, 0);
    const rows: Row[] = [
      { what: 'faults', measured: found.failures.length, unit: '', limit: 0 },
      { what: 'resident memory of the collector, peak', measured: found.peakRssMb, unit: 'MB', limit: maxRssMb },
      { what: 'slowest read or sign-in meanwhile', measured: found.slowestProbeMs, unit: 'ms' },
      { what: 'cases', measured: cases, unit: '' },
    ];
    return {
      title: `${seconds} s of requests, frames and entries made from seed ${seed}`,
      rows,
      notes: [
        `cases: ${shownCounts(found.cases)}`,
        `answers: ${shownCounts(found.answers)}`,
        ...found.failures.map(({ lane, fault, how }) => `${lane}: ${fault}\n  ${how}`),
      ],
      facts: {
        ...{ seed, cases, faults: found.failures.length, probes: found.probes },
        peak_rss_mb: round(found.peakRssMb, 1),
        slowest_probe_ms: round(found.slowestProbeMs, 1),
        kept: keepsLimits(rows),
      },
    };
  },
};

function shownCounts(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
