import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Drift } from '../../../common/drift.ts';
import { graceClocks } from '../../../common/enforcement/grace.ts';

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
const since = (drift: Drift, before: readonly ReturnType<typeof ended>[], wantedImages: readonly string[] = []) =>
  graceClocks({ graceMs, wantedImages }, before).before(drift, nowMs)?.sinceMs;

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
});
