import { availableParallelism } from 'node:os';
import { verifyLedger } from '../../collector/ledger/verify/verify.ts';
import { createPool } from '../../collector/postgres/pool.ts';
import { postgresStoredLedger } from '../../collector/postgres/stored-ledger.ts';
import { openSignatureThreads } from '../../collector/signatures/threads.ts';
import { generateKeyPair, verifyBytesAsync } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { benchAuthor } from './append-entries.ts';
import { appendAll, openBenchLedger, sessions, startBenchPostgres } from './append-ground.ts';
import { openCopiedRead, openPagedRead } from './bare-read.ts';
import type { Bench, BenchReport } from './bench.ts';
import { parentOf, usageOf } from './processes.ts';
import { keepsLimits, quantile, round } from './report.ts';

const defaultRecords = 100_000;
const defaultRuns = 7;
const warmUpRuns = 1;
const appendedAtOnce = 20_000;
/** Enough to see what a signature costs. */
const barelySigned = 5_000;
const limitsOf = { ratio: 0.6, signedPerSecondAndCore: 8_000 } as const;

/** What a way through entries took, in seconds. */
interface Took {
  readonly entries: number;
  readonly wall: number;
  /** Of this process, its thread pool included. */
  readonly cpu: number;
  /** Of the database server. */
  readonly database: number;
}

interface Round {
  readonly paged: Took;
  readonly copied: Took;
  readonly bareSignatures: Took;
  readonly unsigned: Took;
  readonly signed: Took;
}

type Way = keyof Round;

/**
 * Verification of a ledger as it lies in the database, once without and once with signatures, beside loops that read the same rows and
 * hash each body with SHA-256, and beside nothing but the check of signatures. The ways take turns, and each round begins with another
 * one.
 */
export const ledgerVerify: Bench = {
  run: async ({ progress, records = defaultRecords, runs = defaultRuns }) => {
    const scene = await layScene(records, progress);
    const rounds: Round[] = [];
    for (let run = -warmUpRuns; run < runs; run++) {
      const round = await takeTurns(scene, run + warmUpRuns);
      if (run >= 0) rounds.push(round);
      progress(`${run < 0 ? 'warming up' : `round ${run + 1} of ${runs}`}: ${rates(scene.size, round)}`);
    }
    await scene.close();
    return report(scene, rounds);
  },
};

async function takeTurns(scene: Scene, first: number): Promise<Round> {
  const ways: readonly Way[] = ['paged', 'unsigned', 'copied', 'signed', 'bareSignatures'];
  const took = new Map<Way, Took>();
  for (let turn = 0; turn < ways.length; turn++) {
    const way = ways[(turn + first) % ways.length] ?? 'paged';
    took.set(way, await timed(scene.ways[way], scene));
  }
  const of = (way: Way): Took => took.get(way) ?? { entries: 0, wall: 0, cpu: 0, database: 0 };
  return {
    ...{ paged: of('paged'), copied: of('copied'), bareSignatures: of('bareSignatures') },
    ...{ unsigned: of('unsigned'), signed: of('signed') },
  };
}

interface Scene {
  readonly size: number;
  readonly batches: number;
  readonly postmaster: number;
  /** Each resolves with how many entries there were. */
  readonly ways: Readonly<Record<Way, () => Promise<number>>>;
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
  const threads = openSignatureThreads(availableParallelism());
  const [paged, copied] = [await openPagedRead(url), await openCopiedRead(url)];
  const verify = async (signatures: boolean) => {
    const { size, fault } = await verifyLedger(postgresStoredLedger(db), {
      origin,
      collectorKey: keys.publicKey,
      signatures: signatures && threads.verify,
    });
    if (fault !== undefined) throw new Error(`the ledger is not in order: ${fault.message}`);
    return size;
  };
  const close = async () => {
    await Promise.all([paged.close(), copied.close()]);
    await threads.close();
    await db.end();
  };
  const bareSignatures = signatureCheck();
  const ways = {
    paged: paged.run,
    copied: copied.run,
    bareSignatures,
    unsigned: () => verify(false),
    signed: () => verify(true),
  };
  return { size, batches, postmaster: parentOf(pid), ways, close };
}

/** As many at once as the thread pool can take, and nothing around it. */
function signatureCheck(): () => Promise<number> {
  const author = benchAuthor('signer');
  const entries = author.sign(barelySigned);
  return async () => {
    const checks = entries.map(({ bytes, signature }) => verifyBytesAsync(author.keys.publicKey, bytes, signature));
    if (!(await Promise.all(checks)).every(Boolean)) throw new Error('a signature of ours is wrong');
    return entries.length;
  };
}

async function timed(work: () => Promise<number>, { postmaster }: Scene): Promise<Took> {
  const [startedMs, cpu, database] = [performance.now(), process.cpuUsage(), usageOf(postmaster).cpuSeconds];
  const entries = await work();
  const { user, system } = process.cpuUsage(cpu);
  const wall = (performance.now() - startedMs) / 1_000;
  return { entries, wall, cpu: (user + system) / 1_000_000, database: usageOf(postmaster).cpuSeconds - database };
}

function rates(size: number, round: Round): string {
  for (const way of ['paged', 'copied', 'unsigned', 'signed'] as const) {
    if (round[way].entries !== size)
      throw new Error(`${round[way].entries} entries were read (${way}), ${size} are there`);
  }
  const rate = ({ entries, wall }: Took) => `${Math.round(entries / wall)}/s`;
  const { paged, unsigned, signed } = round;
  return `bare ${rate(paged)}, verified ${rate(unsigned)} without and ${rate(signed)} with signatures`;
}

function report({ size, batches }: Scene, rounds: readonly Round[]): BenchReport {
  const median = (of: (round: Round) => number) => quantile(rounds.map(of), 0.5);
  const rate = (way: Way) => median((round) => round[way].entries / round[way].wall);
  const perCore = (way: Way) => median((round) => round[way].entries / round[way].cpu);
  const ratio = median(({ paged, unsigned }) => paged.wall / unsigned.wall);
  const copyRatio = median(({ copied, unsigned }) => copied.wall / unsigned.wall);
  const withDatabase = median(({ signed }) => signed.entries / (signed.cpu + signed.database));
  const cost = ({ cpu, entries }: Took) => cpu / entries;
  const signedShare = median(({ bareSignatures, signed }) => cost(bareSignatures) / cost(signed));
  const { signedPerSecondAndCore } = limitsOf;
  const rows = [
    { what: 'without signatures, as a share of a bare loop', measured: ratio, unit: '', atLeast: limitsOf.ratio },
    { what: 'the same, of one COPY of which only leaves are looked at', measured: copyRatio, unit: '' },
    { what: 'bare loop: read body and signature, hash', measured: rate('paged'), unit: 'entries/s' },
    { what: 'one COPY, hash', measured: rate('copied'), unit: 'entries/s' },
    { what: 'verified without signatures', measured: rate('unsigned'), unit: 'entries/s' },
    { what: 'verified with signatures', measured: rate('signed'), unit: 'entries/s' },
    {
      what: 'verified with signatures, per core',
      measured: perCore('signed'),
      unit: 'entries/s',
      atLeast: signedPerSecondAndCore,
    },
    { what: 'the same, the database server counted too', measured: withDatabase, unit: 'entries/s' },
    { what: 'with signatures, as a share of signatures alone', measured: signedShare, unit: '' },
    { what: 'signatures alone, per core', measured: perCore('bareSignatures'), unit: 'entries/s' },
  ];
  return {
    title: `Verification of ${size} entries in ${batches} batches: medians of ${rounds.length} rounds, the ways taking turns`,
    rows,
    notes: [
      'Shares are taken within each round. "Per core": by processor seconds of all threads of the verifying process.',
      'Where other programs share the cores, a processor second does less; signatures alone say how much less.',
    ],
    facts: {
      ratio: round(ratio, 3),
      ratio_copy: round(copyRatio, 3),
      limit_ratio: limitsOf.ratio,
      signed_per_s_core: Math.round(perCore('signed')),
      signed_per_s_core_with_database: Math.round(withDatabase),
      signatures_alone_per_s_core: Math.round(perCore('bareSignatures')),
      signed_share: round(signedShare, 3),
      limit_signed_per_s_core: signedPerSecondAndCore,
      bare_per_s: Math.round(rate('paged')),
      copy_per_s: Math.round(rate('copied')),
      unsigned_per_s: Math.round(rate('unsigned')),
      signed_per_s: Math.round(rate('signed')),
      entries: size,
      batches,
      runs: rounds.length,
      cores: availableParallelism(),
      kept: keepsLimits(rows),
    },
  };
}
