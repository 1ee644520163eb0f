import { limits } from '../../common/limits.ts';
import { measureAcks } from './append-acks.ts';
import { sessions, startBenchPostgres } from './append-ground.ts';
import { measureGrowth } from './append-growth.ts';
import { measureCopyShare, measureVerifiedShare, type Round } from './append-shares.ts';
import type { Bench, BenchReport, Row } from './bench.ts';
import { keepsLimits, quantile, round } from './report.ts';

const least = { ratio: 0.6, verifiedRatio: 0.7 } as const;
const most = { ackP99Ms: 50, growth: 1.2 } as const;
/** What is compared: the cost per entry in a ledger of so many entries, and of so many. */
const sizes = { small: 10_000, large: 1_000_000 } as const;
const defaultRounds = 9;
const defaultAckSeconds = 10;
/** Entries of each session in a round. */
const perRound = { checked: 2_400, signed: 2_000, growth: 1_000 } as const;
/** A ledger that is not to grow to a tenth of this is a trial of the bench: its rounds are short too. */
const trialShare = 0.1;
const shortest = limits.maxAppendEntries;

/** How fast the ledger takes entries in, beside the least that can be done with the same entries in the same run. */
export const ledgerAppend: Bench = {
  run: async (options) => {
    const {
      runs: rounds = defaultRounds,
      seconds = defaultAckSeconds,
      records: large = sizes.large,
      progress,
    } = options;
    progress('starting PostgreSQL');
    const postgres = await startBenchPostgres();
    const of = (entries: number) =>
      Math.max(shortest, Math.round(entries * Math.min(1, large / sizes.large / trialShare)));
    const small = Math.min(sizes.small, Math.ceil(large / 2));
    // First, since it also brings PostgreSQL to where it stays: its log's files are there to be written again.
    const growth = await measureGrowth(postgres, {
      large,
      small,
      rounds,
      entriesPerAuthor: of(perRound.growth),
      progress,
    });
    progress(`${rounds} rounds beside a bare COPY`);
    const copied = await measureCopyShare(postgres, { rounds, entriesPerAuthor: of(perRound.checked) });
    progress(`${rounds} rounds beside bare verification`);
    const verified = await measureVerifiedShare(postgres, { rounds, entriesPerAuthor: of(perRound.signed) });
    const entriesPerSecond = middle(verified.map(({ entries, tookMs }) => (1_000 * entries) / tookMs('ledger')));
    const databaseUrl = await postgres.createDatabase('bench_acks', 'template1');
    const acks = await measureAcks({ databaseUrl, entriesPerSecond: entriesPerSecond / 2, seconds, progress });
    await postgres.stop();
    return report({ copied, verified, entriesPerSecond, acks, growth, small, large });
  },
};

interface Measured {
  readonly copied: readonly Round<'bare' | 'tables' | 'ledger'>[];
  readonly verified: readonly Round<'bare' | 'threads' | 'ledger'>[];
  readonly entriesPerSecond: number;
  readonly acks: Awaited<ReturnType<typeof measureAcks>>;
  readonly growth: Awaited<ReturnType<typeof measureGrowth>>;
  readonly small: number;
  readonly large: number;
}

function report(measured: Measured): BenchReport {
  const { copied, verified, entriesPerSecond, acks, growth, small, large } = measured;
  const share = <Way extends string>(rounds: readonly Round<Way>[], of: Way, way: Way) =>
    middle(rounds.map(({ tookMs }) => tookMs(of) / tookMs(way)));
  const perSecond = <Way extends string>(rounds: readonly Round<Way>[], way: Way) =>
    middle(rounds.map(({ entries, tookMs }) => (1_000 * entries) / tookMs(way)));
  const figures = {
    ratio: share(copied, 'bare', 'ledger'),
    tables_ratio: share(copied, 'bare', 'tables'),
    entries_per_s: entriesPerSecond,
    verified_ratio: share(verified, 'bare', 'ledger'),
    threads_ratio: share(verified, 'threads', 'ledger'),
    ack_p99_ms: acks.tookMs.p99,
    growth_1m: middle(growth.map(({ smallMs, largeMs }) => largeMs / smallMs)),
    append_per_s: perSecond(copied, 'ledger'),
    copy_per_s: perSecond(copied, 'bare'),
    verify_per_s: perSecond(verified, 'bare'),
    ack_p50_ms: acks.tookMs.p50,
    agent_ack_p99_ms: quantile(acks.waitedMs, 0.99),
    agent_ack_p50_ms: quantile(acks.waitedMs, 0.5),
    ack_entries_per_s: acks.entriesPerSecond,
  };
  const rows: Row[] = [
    { what: 'append, share of a bare COPY', measured: figures.ratio, unit: '', atLeast: least.ratio },
    {
      what: 'with signatures, share of bare OpenSSL',
      measured: figures.verified_ratio,
      unit: '',
      atLeast: least.verifiedRatio,
    },
    { what: 'the same, share of our own threads alone', measured: figures.threads_ratio, unit: '' },
    { what: 'with signatures', measured: figures.entries_per_s, unit: 'entries/s' },
    { what: 'bare OpenSSL on the thread pool', measured: figures.verify_per_s, unit: 'entries/s' },
    { what: 'append, signatures checked', measured: figures.append_per_s, unit: 'entries/s' },
    { what: 'bare COPY', measured: figures.copy_per_s, unit: 'entries/s' },
    { what: "COPY into the ledger's two tables, share of a bare one", measured: figures.tables_ratio, unit: '' },
    { what: `ack at ${Math.round(acks.entriesPerSecond)} entries/s, median`, measured: figures.ack_p50_ms, unit: 'ms' },
    {
      what: `ack at ${Math.round(acks.entriesPerSecond)} entries/s, p99`,
      measured: figures.ack_p99_ms,
      unit: 'ms',
      limit: most.ackP99Ms,
    },
    { what: "the same at the agents' end, p99", measured: figures.agent_ack_p99_ms, unit: 'ms' },
    {
      what: `cost per entry at ${large} entries over ${small}`,
      measured: figures.growth_1m,
      unit: '',
      limit: most.growth,
    },
  ];
  const facts = Object.fromEntries(Object.entries(figures).map(([name, figure]) => [name, round(figure, 3)]));
  return {
    title: `Entries of some 600 bytes from ${sessions} sessions into the ledger: medians of ${copied.length} rounds`,
    rows,
    notes: ['docs/append.md says what each figure is.'],
    facts: { ...facts, sessions, entries: large, acks: acks.waitedMs.length, kept: keepsLimits(rows) },
  };
}

function middle(values: readonly number[]): number {
  return quantile(values, 0.5);
}
