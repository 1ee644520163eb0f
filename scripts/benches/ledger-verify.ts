import { availableParallelism } from 'node:os';
import { verifyLedger } from '../../collector/ledger/verify.ts';
import { createPool } from '../../collector/postgres/pool.ts';
import { postgresStoredLedger } from '../../collector/postgres/stored-ledger.ts';
import { generateKeyPair } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { appendAll, openBenchLedger, sessions, startBenchPostgres } from './append-ground.ts';
import { openBareRead } from './bare-read.ts';
import type { Bench, BenchReport } from './bench.ts';
import { parentOf, usageOf } from './processes.ts';
import { keepsLimits, quantile, round } from './report.ts';

const defaultRecords = 100_000;
const defaultRuns = 7;
const warmUpRuns = 1;
const appendedAtOnce = 20_000;
const limitsOf = { ratio: 0.6, signedPerSecondAndCore: 8_000 } as const;

/** What a way through all entries took, in seconds. */
interface Took {
  readonly wall: number;
  /** Of this process, its thread pool included. */
  readonly cpu: number;
  /** Of the database server. */
  readonly database: number;
}

interface Round {
  readonly bare: Took;
  readonly unsigned: Took;
  readonly signed: Took;
}

/**
 * Verification of a ledger as it lies in the database, once without and once with signatures, beside a loop that reads the same
 * rows over one connection and hashes each body with SHA-256. The three ways take turns, and each round begins with another one.
 */
export const ledgerVerify: Bench = {
  run: async ({ progress, records = defaultRecords, runs = defaultRuns }) => {
    const scene = await layScene(records, progress);
    const ways = [
      ['bare', () => scene.bare.run()],
      ['unsigned', () => scene.verify(false)],
      ['signed', () => scene.verify(true)],
    ] as const;
    const rounds: Round[] = [];
    for (let run = -warmUpRuns; run < runs; run++) {
      const took = new Map<string, Took>();
      for (let turn = 0; turn < ways.length; turn++) {
        const [name, work] = ways[(turn + run + warmUpRuns) % ways.length] ?? ways[0];
        took.set(name, await timed(work, scene));
      }
      const [bare, unsigned, signed] = ways.map(([name]) => took.get(name));
      if (run >= 0 && bare && unsigned && signed) rounds.push({ bare, unsigned, signed });
      progress(run < 0 ? 'warmed up' : `round ${run + 1} of ${runs}: ${rates(scene.size, rounds.at(-1))}`);
    }
    await scene.close();
    return report(scene, rounds);
  },
};

interface Scene {
  readonly size: number;
  readonly batches: number;
  readonly bare: { run(): Promise<number> };
  readonly postmaster: number;
  /** @returns how many entries there were. */
  verify(signatures: boolean): Promise<number>;
  close(): Promise<void>;
}

async function layScene(records: number, progress: (text: string) => void): Promise<Scene> {
  progress('starting PostgreSQL');
  const postgres = await startBenchPostgres();
  const url = await postgres.createDatabase('bench_verify');
  const keys = generateKeyPair();
  const bench = await openBenchLedger(url, 'verify', keys);
  for (let done = 0; done < records; done += appendedAtOnce) {
    const perAuthor = Math.ceil(Math.min(appendedAtOnce, records - done) / sessions);
    await appendAll(
      bench,
      bench.authors.map((author) => author.sign(perAuthor)),
    );
    progress(`${Math.min(done + appendedAtOnce, records)} of ${records} entries signed and appended`);
  }
  const { origin } = bench.ledger;
  await bench.close();
  const db = createPool({
    url,
    applicationName: 'sigilwatch-bench',
    maxConnections: limits.databaseConnections,
    onIdleError: () => {},
  });
  await db.query('vacuum analyze');
  const { rows } = await db.query<{ size: number; batches: number; pid: number }>(
    'select (select size from ledger_head) as size, (select count(*) from batches) as batches, pg_backend_pid() as pid',
  );
  const [{ size, batches, pid } = { size: 0, batches: 0, pid: 0 }] = rows;
  const bare = await openBareRead(url);
  return {
    ...{ size, batches, bare },
    postmaster: parentOf(pid),
    verify: async (signatures) => {
      const report = await verifyLedger(postgresStoredLedger(db), { origin, collectorKey: keys.publicKey, signatures });
      if (report.fault !== undefined) throw new Error(`the ledger is not in order: ${report.fault.message}`);
      return report.size;
    },
    close: async () => {
      await bare.close();
      await db.end();
    },
  };
}

async function timed(work: () => Promise<number>, { size, postmaster }: Scene): Promise<Took> {
  const [startedMs, cpu, database] = [performance.now(), process.cpuUsage(), usageOf(postmaster).cpuSeconds];
  const entries = await work();
  const { user, system } = process.cpuUsage(cpu);
  if (entries !== size) throw new Error(`${entries} entries were read, ${size} are there`);
  return {
    wall: (performance.now() - startedMs) / 1_000,
    cpu: (user + system) / 1_000_000,
    database: usageOf(postmaster).cpuSeconds - database,
  };
}

function rates(size: number, last: Round | undefined): string {
  if (last === undefined) return '';
  const { bare, unsigned, signed } = last;
  const rate = ({ wall }: Took) => `${Math.round(size / wall)}/s`;
  return `bare ${rate(bare)}, verified ${rate(unsigned)} without and ${rate(signed)} with signatures`;
}

function report({ size, batches }: Scene, rounds: readonly Round[]): BenchReport {
  const median = (of: (round: Round) => number) => quantile(rounds.map(of), 0.5);
  const rate = (of: (round: Round) => Took) => median((round) => size / of(round).wall);
  const ratio = median(({ bare, unsigned }) => bare.wall / unsigned.wall);
  const cpuRatio = median(({ bare, unsigned }) => bare.cpu / unsigned.cpu);
  const perCore = median(({ signed }) => size / signed.cpu);
  const perCoreWithDatabase = median(({ signed }) => size / (signed.cpu + signed.database));
  const [bare, unsigned, signed] = [rate((r) => r.bare), rate((r) => r.unsigned), rate((r) => r.signed)];
  const rows = [
    { what: 'without signatures, as a share of the bare loop', measured: ratio, unit: '', atLeast: limitsOf.ratio },
    { what: 'the same by processor time of the reading process', measured: cpuRatio, unit: '' },
    { what: 'bare loop: read and hash', measured: bare, unit: 'entries/s' },
    { what: 'verified, without signatures', measured: unsigned, unit: 'entries/s' },
    { what: 'verified, with signatures', measured: signed, unit: 'entries/s' },
    {
      what: 'with signatures, per processor second of the verifying process',
      measured: perCore,
      unit: 'entries/s',
      atLeast: limitsOf.signedPerSecondAndCore,
    },
    { what: 'the same, with the database server counted too', measured: perCoreWithDatabase, unit: 'entries/s' },
  ];
  return {
    title: `Verification of ${size} entries in ${batches} batches: medians of ${rounds.length} rounds, the ways taking turns`,
    rows,
    notes: [
      'Shares are taken within each round. Processor seconds are those of all threads, signatures being checked on the thread pool.',
    ],
    facts: {
      ratio: round(ratio, 3),
      ratio_cpu: round(cpuRatio, 3),
      limit_ratio: limitsOf.ratio,
      signed_per_s_core: Math.round(perCore),
      signed_per_s_core_with_database: Math.round(perCoreWithDatabase),
      limit_signed_per_s_core: limitsOf.signedPerSecondAndCore,
      bare_per_s: Math.round(bare),
      unsigned_per_s: Math.round(unsigned),
      signed_per_s: Math.round(signed),
      entries: size,
      batches,
      runs: rounds.length,
      cores: availableParallelism(),
      kept: keepsLimits(rows),
    },
  };
}
