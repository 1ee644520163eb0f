import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openOutbox } from '../../agent/outbox/outbox.ts';
import { entryHash } from '../../common/entry.ts';
import { auditedEntries, cleared, options, tempDir } from '../agent/outbox/support.ts';
import { type Random, randomOf, seedOf } from '../e2e/random.ts';
import { anythingOf, nothing } from './disk.ts';
import { buildJournal, type Step } from './journal.ts';
import { type Cut, liveThroughCuts, type Moment, promisesIn } from './lives.ts';

/** Lives of one outbox, each going on from what a power cut left of the one before; and power cuts in each of them. */
const [lives, cutsPerLife] = process.env.SIGILWATCH_TEST_LONG === '1' ? [50, 20] : [4, 8];
const opensWithinMs = 10_000;
const usualSeed = 20_260_103;

/** What an outbox has promised: entries by number, told state by key. */
interface Promises {
  readonly said: Map<number, string>;
  readonly state: Map<string, number>;
}

interface Tally {
  cuts: number;
  entriesPromised: number;
  /** Starts that had to build the outbox anew. */
  recoveries: number;
  slowestOpenMs: number;
}

test(`${lives * cutsPerLife} power cuts take nothing that the outbox has promised`, {
  timeout: 3_000_000,
}, async (t) => {
  const parent = tempDir(t);
  const built = buildJournal(parent);
  if ('skip' in built) return t.skip(built.skip);
  const seed = seedOf('power cuts', usualSeed);
  const tally: Tally = { cuts: 0, entriesPromised: 0, recoveries: 0, slowestOpenMs: 0 };
  const kept: Promises = { said: new Map(), state: new Map() };
  await liveThroughCuts({
    ...{ parent, library: built.library, count: lives, program: 'outbox-life.ts' },
    argumentsOf: (life) => [`${seed + life}`, '2'],
    momentsOf: (steps, life) => momentsOf(steps, randomOf(seed, `life ${life}`)),
    onCut: async ({ dir, promised, when }) => {
      addPromises(kept, promised);
      await assertKept(dir, kept, tally, when);
    },
  });
  tally.entriesPromised = kept.said.size;
  t.diagnostic(JSON.stringify({ seed, ...tally }));
});

/** In order. The hardest are those where something was just promised by a log that is new, and nothing helps it to stay. */
function momentsOf(steps: readonly Step[], random: Random): Moment[] {
  const turning = steps.flatMap(({ type }, at) => (type === 'write' ? [] : [at + 1]));
  const fresh = firstPromises(steps);
  const moments = Array.from({ length: cutsPerLife }, () => {
    const way = random.int(1, 4);
    if (way === 1) return { at: random.pick(fresh), leaves: nothing };
    return { at: way === 2 ? random.int(0, steps.length) : random.pick(turning), leaves: anythingOf(random) };
  });
  return moments.sort((a, b) => a.at - b.at);
}

/** After the first promises that follow each new log of the database. */
function firstPromises(steps: readonly Step[]): number[] {
  const promises = promisesIn(steps);
  const logs = steps.flatMap((step, at) =>
    step.type === 'open' && step.path.endsWith('.log') && step.creates ? [at] : [],
  );
  return logs.flatMap((from) => {
    const first = promises.find((after) => after > from + 1);
    return first === undefined ? [] : [first, Math.min(first + 19, steps.length)];
  });
}

/** Adds what was promised up to this moment. What is said anew under a number that was never promised replaces nothing. */
function addPromises({ said, state }: Promises, promised: Cut['promised']): void {
  for (const [what, name = '', value = ''] of promised) {
    if (what === 'said') said.set(Number(name), value);
    if (what === 'state') state.set(name, Number(value));
  }
}

async function assertKept(dir: string, { said, state }: Promises, tally: Tally, when: string): Promise<void> {
  const startedMs = performance.now();
  const outbox = await openOutbox(options(dir, { reserveFileBytes: 4_096 }));
  const tookMs = Math.round(performance.now() - startedMs);
  tally.cuts += 1;
  tally.slowestOpenMs = Math.max(tally.slowestOpenMs, tookMs);
  try {
    assert.ok(tookMs <= opensWithinMs, `${when}: opened after ${tookMs} ms`);
    if (!outbox.anchored) await outbox.anchor(outbox.acked);
    const { recovery } = outbox;
    if (recovery !== undefined) tally.recoveries += 1;
    const why = `${when}: ${recovery?.reason ?? 'sound'}`;
    const hashes = new Map((await auditedEntries(outbox)).map(({ entry, bytes }) => [entry.seq, entryHash(bytes)]));
    for (const [seq, hash] of said) {
      if (seq > outbox.acked.seq) assert.equal(hashes.get(seq), hash, `${why}: entry ${seq} was promised`);
      else if (seq === outbox.acked.seq) assert.equal(outbox.acked.hash, hash, why);
    }
    if (recovery?.stateKept !== false) {
      const told = await outbox.state('lane/');
      for (const [key, value] of state) assert.ok(Number(told.get(key)) >= value, `${why}: ${key} was ${value}`);
    }
    await outbox.append([cleared('after the cut')]);
  } finally {
    await outbox.close();
  }
  const again = await openOutbox(options(dir, { reserveFileBytes: 4_096 }));
  await again.close();
  assert.equal(again.recovery, undefined, `${when}: a second start`);
}
