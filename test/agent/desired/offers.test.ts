import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OfferOutcome } from '../../../agent/desired/desired-source.ts';
import { Offers } from '../../../agent/desired/offers.ts';
import { until } from '../../until.ts';

const bundle = Buffer.from('bundle');

/** What is looked into, with the outcomes that come of it in order. */
function bench(...outcomes: readonly (OfferOutcome | 'fails')[]) {
  const looked: string[] = [];
  const waiting = [...outcomes];
  const world = { release: (): void => {}, incomplete: 0 };
  const offers = new Offers({
    source: {
      offerBundle: async (commit) => {
        looked.push(commit);
        await new Promise<void>((resolve) => {
          world.release = resolve;
        });
        const outcome = waiting.shift() ?? { outcome: 'known' };
        if (outcome === 'fails') throw new Error('the disk is full');
        return outcome;
      },
    },
    run: async (work) => {
      return work().then(
        () => true,
        () => false,
      );
    },
    onIncomplete: () => {
      world.incomplete += 1;
    },
  });
  return { offers, looked, world };
}

describe('bundles that are handed over', () => {
  test('are looked into one at a time, and of those that come meanwhile the last', async () => {
    const { offers, looked, world } = bench();
    const done = offers.take('a', bundle);
    await until('the first', () => looked.length === 1);
    for (const commit of ['b', 'c']) await offers.take(commit, bundle);
    world.release();
    await until('the last', () => looked.length === 2);
    world.release();
    await done;
    assert.deepEqual(looked, ['a', 'c']);
    await offers.again();
    assert.equal(looked.length, 2);
  });

  test('are kept where nobody can look into them now', async () => {
    const { offers, looked, world } = bench('fails', { outcome: 'adopted' });
    const done = offers.take('a', bundle);
    await until('tried', () => looked.length === 1);
    world.release();
    await done;
    const again = offers.again();
    await until('tried again', () => looked.length === 2);
    world.release();
    await again;
    await offers.again();
    assert.deepEqual(looked, ['a', 'a']);
  });

  test('are asked for whole when they build on what is not here', async () => {
    const { offers, looked, world } = bench({ outcome: 'incomplete' });
    const done = offers.take('a', bundle);
    await until('tried', () => looked.length === 1);
    world.release();
    await done;
    assert.equal(world.incomplete, 1);
  });
});
