import { randomInt } from 'node:crypto';

/** Random choices that a seed repeats. */
export interface Random {
  /** An integer from `min` up to and including `max`. */
  int(min: number, max: number): number;
  /** True with this probability, 0 to 1. */
  chance(probability: number): boolean;
  /** One of the items. @throws when there is none. */
  pick<T>(items: readonly T[]): T;
}

/**
 * The seed of this run: `SIGILWATCH_TEST_SEED` repeats an earlier one. Printed, so that a failure can be repeated.
 * @param usual what it is otherwise; another one each time when left out
 */
export function seedOf(campaign: string, usual = randomInt(2 ** 31)): number {
  const given = process.env.SIGILWATCH_TEST_SEED ?? '';
  const seed = given === '' ? usual : Number(given);
  if (!Number.isSafeInteger(seed)) throw new Error(`SIGILWATCH_TEST_SEED=${given} is not an integer`);
  console.log(`${campaign}: SIGILWATCH_TEST_SEED=${seed} repeats this run`);
  return seed;
}

/** Choices for one part of a campaign: what one part draws does not change what another one gets. */
export function randomOf(seed: number, part: string): Random {
  const next = mulberry32(
    [...part].reduce((mixed, letter) => Math.imul(mixed ^ letter.charCodeAt(0), 0x01000193), seed),
  );
  const int = (min: number, max: number): number => min + Math.floor(next() * (max - min + 1));
  return {
    int,
    chance: (probability) => next() < probability,
    pick: (items) => {
      const item = items[int(0, items.length - 1)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
  };
}

/** Tommy Ettinger's public-domain generator: uniform in [0, 1), and good enough to choose when to kill. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
