import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../agent/outbox/support.ts';
import { type Random, randomOf, seedOf } from '../e2e/random.ts';
import { anythingOf, type Disk, nothing } from './disk.ts';
import { buildJournal, type Step } from './journal.ts';
import type { Kept } from './keeper.ts';
import { keepers } from './kept-files.ts';
import { liveThroughCuts, type Moment, promisesIn } from './lives.ts';

/** Lives of the two data directories, each going on from what the last power cut of the one before left; and power cuts in each. */
const [lives, cutsPerLife] = process.env.SIGILWATCH_TEST_LONG === '1' ? [10, 100] : [2, 75];
const roundsPerLife = 3;
const usualSeed = 20_261_123;

/** What was promised last, by the number of its keeper. */
type Promises = Map<number, Kept>;

test(`${lives * cutsPerLife} power cuts take none of the files that agent and collector have promised, and spoil none`, {
  timeout: 3_000_000,
}, async (t) => {
  const parent = tempDir(t);
  const built = buildJournal(parent);
  if ('skip' in built) return t.skip(built.skip);
  const seed = seedOf('power cuts of files', usualSeed);
  const promises: Promises = new Map();
  const found = new Map<string, number>();
  await liveThroughCuts({
    ...{ parent, library: built.library, count: lives, program: 'kept-life.ts' },
    argumentsOf: (life) => [`${1 + life * roundsPerLife}`, `${roundsPerLife}`],
    momentsOf: (steps, life) => momentsOf(steps, randomOf(seed, `life ${life}`)),
    onCut: async ({ dir, promised, when }) => {
      for (const [at, number, detail = ''] of promised) promises.set(Number(at), { number: Number(number), detail });
      for (const name of await keptIn(dir, promises, when)) found.set(name, (found.get(name) ?? 0) + 1);
    },
    onEnd: (disk, root) => assert.deepEqual(unseen(disk, root), [], 'written by ways that are not followed'),
  });
  for (const { name } of keepers)
    assert.ok((found.get(name) ?? 0) > 0, `${name}: was never found, so nothing was tested`);
  t.diagnostic(JSON.stringify({ seed, cuts: lives * cutsPerLife, ...Object.fromEntries(found) }));
});

/** Files that are not on the disk as the program left them. */
function unseen(disk: Disk, root: string): string[] {
  const paths = readdirSync(root, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return paths.filter((path) => disk.read(path)?.equals(readFileSync(path)) !== true);
}

/** In order. The hardest are those directly after a promise, where nothing that came later helps it to stay. */
function momentsOf(steps: readonly Step[], random: Random): Moment[] {
  const fresh = promisesIn(steps);
  const hardest = fresh.map((at) => ({ at, leaves: nothing }));
  const more = Array.from({ length: Math.max(0, cutsPerLife - hardest.length) }, () => {
    const at = random.chance(0.3) ? random.pick(fresh) : random.int(0, steps.length);
    return { at, leaves: random.chance(0.2) ? nothing : anythingOf(random) };
  });
  return [...hardest, ...more].sort((a, b) => a.at - b.at);
}

/** @returns names of what a start finds */
async function keptIn(dir: string, promises: Promises, when: string): Promise<readonly string[]> {
  const names: string[] = [];
  for (const [at, { name, find }] of keepers.entries()) {
    const promised = promises.get(at);
    const found = await find(dir).catch((cause: unknown) => {
      throw new Error(`${when}: ${name}: a start fails: ${String(cause)}`, { cause });
    });
    if (found !== undefined) names.push(name);
    if (promised === undefined) continue;
    assert.ok(
      found !== undefined && found.number >= promised.number,
      `${when}: ${name} ${promised.number} was promised`,
    );
    if (found.number === promised.number) assert.equal(found.detail, promised.detail, `${when}: ${name}`);
  }
  return names;
}
