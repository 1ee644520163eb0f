import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Drift } from '../../../common/drift.ts';
import { type EndedClock, type EndedDrift, graceClocks } from '../../../common/enforcement/grace.ts';
import { limits } from '../../../common/limits.ts';

const graceMs = 60_000;
const nowMs = 1_000_000;

function unauthorized(container: string, image: string, containerId = container): Drift {
  const differences = [{ field: 'image', desired: null, observed: image }];
  return {
    id: `UNAUTHORIZED_CONTAINER/${containerId}`,
    kind: 'UNAUTHORIZED_CONTAINER',
    container,
    containerId,
    differences,
  };
}

const miner = unauthorized('miner', 'evil/miner:1');
const ended = (agoMs: number, stoodMs: number, drift = miner) => ({
  drift,
  endedMs: nowMs - agoMs,
  sinceMs: nowMs - agoMs - stoodMs,
});
const since = (drift: Drift, before: readonly EndedDrift[], wantedImages: readonly string[] = []) => {
  const clocks = graceClocks<EndedDrift>();
  for (const one of before) clocks.add(one.drift, one);
  return clocks.by({ graceMs, wantedImages })(drift, nowMs)?.sinceMs;
};

describe('the clock of an unauthorized container', () => {
  test('goes on under the same name, of the same container, or of the same image', () => {
    const stood = [ended(10_000, 40_000)];
    assert.equal(since(unauthorized('miner', 'other:1', 'x'), stood), nowMs - 50_000);
    assert.equal(since(unauthorized('renamed', 'other:1', 'miner'), stood), nowMs - 50_000);
    assert.equal(since(unauthorized('next', 'docker.io/evil/miner:2', 'x'), stood), nowMs - 50_000);
    assert.equal(since(unauthorized('next', 'other:1', 'x'), stood), undefined);
  });

  test('begins anew after a whole grace period without it, and goes on with the longest', () => {
    assert.equal(since(miner, [ended(graceMs, 40_000)]), undefined);
    assert.equal(since(miner, [ended(graceMs - 1, 40_000)]), nowMs - graceMs + 1 - 40_000);
    assert.equal(since(miner, [ended(1_000, 1_000), ended(20_000, 30_000), ended(5_000, 2_000)]), nowMs - 50_000);
    assert.equal(since(miner, [ended(-5_000, 40_000)]), undefined, 'one that stood beside it');
  });

  test('does not go on because of an image that is wanted here, nor for other kinds of drift', () => {
    const stood = [ended(10_000, 40_000)];
    assert.equal(since(unauthorized('next', 'evil/miner:2', 'x'), stood, ['evil/miner:1']), undefined);
    assert.equal(since(unauthorized('miner', 'evil/miner:2', 'x'), stood, ['evil/miner:1']), nowMs - 50_000);
    assert.equal(since({ ...miner, kind: 'IMAGE_DRIFT' }, stood), undefined);
  });

  test('takes images that are named by their ids for themselves alone', () => {
    const [one = '', two = ''] = ['1', '2'].map((digit) => `sha256:${digit.repeat(64)}`);
    const stood = [ended(10_000, 40_000, unauthorized('a', one))];
    assert.equal(since(unauthorized('b', two), stood), undefined);
    assert.equal(since(unauthorized('b', one), stood), nowMs - 50_000);
  });

  test('is found among ten thousand that are over with a few looks at them', () => {
    let looks = 0;
    const clocks = graceClocks<EndedClock>();
    const among = 10_000;
    for (let nth = 0; nth < among; nth++) {
      const drift = unauthorized(`miner${nth}`, 'evil/miner:1');
      const clock = { sinceMs: nowMs - graceMs + nth, endedMs: nowMs - among + nth };
      clocks.add(drift, {
        get sinceMs() {
          looks++;
          return clock.sinceMs;
        },
        get endedMs() {
          looks++;
          return clock.endedMs;
        },
      });
    }
    assert.ok(looks <= 10 * among, `${looks} looks to remember them`);
    looks = 0;
    const before = clocks.by({ graceMs, wantedImages: [] });
    for (let nth = 0; nth < among; nth++) {
      assert.equal(before(unauthorized(`next${nth}`, 'evil/miner:1'), nowMs)?.sinceMs, nowMs - graceMs);
    }
    assert.ok(looks <= 40 * among, `${looks} looks to find what goes on`);
  });

  test('is that of the longest one near, in whatever order they ended and were told', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(2 * graceMs), fc.nat(graceMs))), (told) => {
        const all = told.map(([agoMs, stoodMs]) => ended(agoMs, stoodMs + 1));
        const near = all.filter(({ endedMs }) => nowMs - endedMs < graceMs).map(({ sinceMs }) => sinceMs);
        assert.equal(since(miner, all), near.length === 0 ? undefined : Math.min(...near));
      }),
    );
  });

  test('is forgotten with the youngest when there are more than fit', () => {
    const clocks = graceClocks<EndedDrift>();
    const stood = ended(1_000, 40_000);
    clocks.add(miner, stood);
    for (let nth = 0; nth < limits.maxGraceKeys; nth++) {
      const one = ended(500, 10, unauthorized(`c${nth}`, `image${nth}:1`));
      clocks.add(one.drift, one);
    }
    clocks.forget(0);
    assert.ok([...clocks.kept()].length <= limits.maxGraceKeys);
    assert.equal(clocks.by({ graceMs, wantedImages: [] })(miner, nowMs), stood);
  });
});
