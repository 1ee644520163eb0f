import { availableParallelism } from 'node:os';
import { systemClock } from '../../collector/clock.ts';
import { openSignatureThreads } from '../../collector/signatures/threads.ts';
import { createAppendPipeline } from '../../collector/ws/append-pipeline.ts';
import { createVerifier, type VerifyEntries } from '../../collector/ws/verify.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { type VerifySignature, verifyBytesAsync } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { agentMessage, parseMessage, toWire } from '../../common/protocol.ts';
import type { BenchAuthor } from './append-entries.ts';
import {
  appendAll,
  type BenchLedger,
  type BenchPostgres,
  inBatches,
  openBenchLedger,
  sessions,
} from './append-ground.ts';
import { openBareCopy, openTablesCopy } from './bare-copy.ts';

/** One round: the same entries through each of the ways, one after the other. */
export interface Round<Way extends string> {
  readonly entries: number;
  /** Milliseconds. */
  readonly tookMs: (way: Way) => number;
}

export interface SharesOptions {
  readonly rounds: number;
  /** Of each of the sessions, in each round. */
  readonly entriesPerAuthor: number;
}

/** Bare checks at once: more than the thread pool has threads. */
const maxPoolChecks = 32;

/** Rounds that are not counted at most: code that is not compiled yet, files that have no room yet. */
const warmUpRounds = 2;

/** Entries whose signatures are checked already: `Ledger.append` beside a bare COPY. */
export async function measureCopyShare(
  postgres: BenchPostgres,
  options: SharesOptions,
): Promise<Round<'bare' | 'tables' | 'ledger'>[]> {
  const bare = await openBareCopy(await postgres.createDatabase('bench_bare'));
  const url = await postgres.createDatabase('bench_append');
  const ledger = await openBenchLedger(url, 'append');
  const tables = await openTablesCopy(await postgres.createDatabase('bench_tables'));
  const rounds = await alternate(options, ['bare', 'tables', 'ledger'], async () => {
    const perAuthor = ledger.authors.map((author) => author.take(options.entriesPerAuthor));
    return {
      bare: () => bare.write(mixed(perAuthor)),
      ledger: () => appendAll(ledger, perAuthor),
      tables: () => tables.write(mixed(perAuthor)),
    };
  });
  await ledger.close();
  await Promise.all([bare.close(), tables.close()]);
  await postgres.settle(url);
  return rounds;
}

/** From the text of a frame to the text of its ack, beside nothing but the verification of the same signatures. */
export async function measureVerifiedShare(
  postgres: BenchPostgres,
  options: SharesOptions,
): Promise<Round<'bare' | 'threads' | 'ledger'>[]> {
  const url = await postgres.createDatabase('bench_verified');
  const ledger = await openBenchLedger(url, 'verified');
  const threads = openSignatureThreads(availableParallelism());
  const verify = createVerifier(threads.verify);
  const rounds = await alternate(options, ['bare', 'threads', 'ledger'], async () => {
    const perAuthor = ledger.authors.map((author) => author.sign(options.entriesPerAuthor));
    const frames = perAuthor.map((entries) => inBatches(entries, limits.maxAppendEntries).map(frameOf));
    return {
      bare: () => verifyBare(ledger.authors, perAuthor, verifyBytesAsync, maxPoolChecks),
      threads: () => verifyBare(ledger.authors, perAuthor, threads.verify, Number.POSITIVE_INFINITY),
      ledger: () =>
        timed(() => Promise.all(ledger.authors.map((a, at) => converse(ledger, a, frames[at] ?? [], verify)))),
    };
  });
  await threads.close();
  await ledger.close();
  await postgres.settle(url);
  return rounds;
}

type Ways<Way extends string> = Readonly<Record<Way, () => Promise<number>>>;

/** All ways in each round, in turns which one first: what the machine does beside us meets all alike. */
async function alternate<Way extends string>(
  options: SharesOptions,
  order: readonly Way[],
  prepare: () => Promise<Ways<Way>>,
): Promise<Round<Way>[]> {
  const rounds: Round<Way>[] = [];
  for (let round = -Math.min(warmUpRounds, options.rounds); round < options.rounds; round++) {
    const ways = await prepare();
    const tookMs = new Map<Way, number>();
    for (let turn = 0; turn < order.length; turn++) {
      const way = order[(turn + round + warmUpRounds) % order.length];
      if (way !== undefined) tookMs.set(way, await ways[way]());
    }
    const entries = sessions * options.entriesPerAuthor;
    if (round >= 0) rounds.push({ entries, tookMs: (way) => tookMs.get(way) ?? Number.NaN });
  }
  return rounds;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

/** The entries of all authors as they would stand in the log: a frame of each in turns. */
function mixed(perAuthor: readonly (readonly SignedEntry[])[]): SignedEntry[] {
  const batches = perAuthor.map((entries) => inBatches(entries, limits.maxAppendEntries));
  return (batches[0] ?? []).flatMap((_, at) => batches.flatMap((own) => own[at] ?? []));
}

function frameOf(entries: readonly SignedEntry[]): string {
  return JSON.stringify({ type: 'append', entries: entries.map(toWire) });
}

/** Nothing but the signatures, so many at once. */
function verifyBare(
  authors: readonly BenchAuthor[],
  perAuthor: readonly (readonly SignedEntry[])[],
  verify: VerifySignature,
  atOnce: number,
): Promise<number> {
  const all = authors.flatMap(({ keys }, at) =>
    (perAuthor[at] ?? []).map((entry) => ({ key: keys.publicKey, ...entry })),
  );
  return timed(async () => {
    let next = 0;
    const work = async (): Promise<void> => {
      for (let one = all[next++]; one !== undefined; one = all[next++]) {
        if (!(await verify(one.key, one.bytes, one.signature))) throw new Error('a signature of ours is wrong');
      }
    };
    await Promise.all(Array.from({ length: Math.min(atOnce, all.length) }, work));
  });
}

/** A session past its handshake, without the socket. Resolves when the last ack is made. */
async function converse(
  { ledger }: BenchLedger,
  { node, keys }: BenchAuthor,
  frames: readonly string[],
  verify: VerifyEntries,
): Promise<void> {
  const { size } = await ledger.checkpoint();
  let unacknowledged = 0;
  let offering = true;
  await new Promise<void>((resolve, reject) => {
    const pipeline = createAppendPipeline({
      ledger,
      verify,
      author: { node, publicKey: keys.publicKey },
      startSize: size,
      clock: systemClock,
      random: Math.random,
      sleep: async () => {},
      over: () => false,
      acknowledged: () => {},
      appended: () => {},
      rounds: { forming: undefined, missed: () => {} },
      fail: reject,
      send: async (message) => {
        JSON.stringify(message);
        if (message.type === 'ack') unacknowledged -= message.entries.length;
        if (!offering && unacknowledged === 0) resolve();
      },
    });
    const offerAll = async () => {
      for (const frame of frames) {
        const message = parseMessage(agentMessage, frame);
        if (message.type !== 'append') throw new Error('a frame of ours is no append');
        unacknowledged += message.entries.length;
        offering = frame !== frames.at(-1);
        await pipeline.offer(message.entries, systemClock.monotonicMs());
      }
    };
    offerAll().catch(reject);
  });
}
