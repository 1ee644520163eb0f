import { appendAll, type BenchLedger, type BenchPostgres, openBenchLedger, sessions } from './append-ground.ts';

export interface GrowthOptions {
  /** Entries in the large ledger before anything is compared. */
  readonly large: number;
  readonly small: number;
  readonly rounds: number;
  /** Of each of the sessions, in each round. */
  readonly entriesPerAuthor: number;
  readonly progress: (text: string) => void;
}

/** The same number of entries appended to a small ledger and to a large one, one after the other. */
export interface GrowthRound {
  readonly smallMs: number;
  readonly largeMs: number;
}

/** Fills the large ledger as everything else fills one: through `Ledger.append`. */
export async function measureGrowth(postgres: BenchPostgres, options: GrowthOptions): Promise<GrowthRound[]> {
  const { large: size, small, rounds, progress } = options;
  const url = await postgres.createDatabase('bench_large');
  const large = await openBenchLedger(url, 'large');
  await fill(large, size, progress);
  await postgres.settle(url);
  progress(`${rounds} rounds, each with a ledger of ${small} entries beside the one of ${size}`);
  const measured: GrowthRound[] = [];
  for (let round = 0; round < rounds; round++) {
    // Of its own for every round: it would not stay small.
    const fresh = await openBenchLedger(await postgres.createDatabase(`bench_small_${round}`), 'small');
    await fill(fresh, small, () => {});
    const first = round % 2 === 0 ? [fresh, large] : [large, fresh];
    const took = new Map<BenchLedger, number>();
    for (const one of first) took.set(one, await appendOnce(one, options.entriesPerAuthor));
    measured.push({ smallMs: took.get(fresh) ?? Number.NaN, largeMs: took.get(large) ?? Number.NaN });
    await fresh.close();
  }
  await large.close();
  await postgres.settle(url);
  return measured;
}

function appendOnce(ledger: BenchLedger, entriesPerAuthor: number): Promise<number> {
  return appendAll(
    ledger,
    ledger.authors.map((author) => author.take(entriesPerAuthor)),
  );
}

const fillStepEntries = 40_000;
const progressStepEntries = 100_000;

async function fill(ledger: BenchLedger, size: number, progress: (text: string) => void): Promise<void> {
  const startedMs = performance.now();
  for (let filled = 0; filled < size; ) {
    const step = Math.min(fillStepEntries, size - filled);
    await appendOnce(ledger, Math.ceil(step / sessions));
    filled += step;
    const perSecond = Math.round((1_000 * filled) / (performance.now() - startedMs));
    if (filled % progressStepEntries < fillStepEntries) progress(`filled ${filled} of ${size} entries, ${perSecond}/s`);
  }
}
