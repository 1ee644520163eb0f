import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restfulLedger, restingAt } from '../../../collector/integrity/pace.ts';
import type { StoredEntry, StoredLedger } from '../../../collector/ledger/verify/source.ts';
import { limits } from '../../../common/limits.ts';

/** A clock that moves only when it is told to, and by rests. */
function world() {
  let nowMs = 0;
  const rests: number[] = [];
  const pause = async (ms: number) => {
    rests.push(ms);
    nowMs += ms;
  };
  return { rests, pause, clock: { monotonicMs: () => nowMs }, work: (ms: number) => (nowMs += ms) };
}

test('a check rests for as long as keeps its work at the share, however the work comes', async () => {
  const { rests, pause, clock, work } = world();
  const rest = restingAt(0.25, clock, pause);
  for (const ms of [40, limits.ledgerCheckSliceMs, 1_000]) {
    work(ms);
    await rest();
  }
  assert.deepEqual(rests, [120, 3 * limits.ledgerCheckSliceMs, 3_000]);
});

test('little work is gathered before it rests, and somebody who waits for it lets it go on', async () => {
  const small = world();
  const rest = restingAt(0.5, small.clock, small.pause);
  for (let piece = 0; piece < 5; piece++) {
    small.work(limits.ledgerCheckSliceMs / 4);
    await rest();
  }
  assert.deepEqual(small.rests, [limits.ledgerCheckSliceMs]);
  const hurried = world();
  hurried.work(10_000);
  await restingAt(1, hurried.clock, hurried.pause)();
  assert.deepEqual(hurried.rests, []);
});

test('whoever stops reading early leaves nothing open behind', async () => {
  const left: string[] = [];
  async function* groups(): AsyncGenerator<readonly StoredEntry[]> {
    try {
      for (;;) yield [];
    } finally {
      left.push('entries');
    }
  }
  const [batches, checkpoints, tiles] = [Promise.resolve([]), Promise.resolve([]), Promise.resolve([])];
  const stored: StoredLedger = {
    extent: async () => undefined,
    read: () => ({ batches, checkpoints, tiles, entries: groups(), close: async () => void left.push('reading') }),
    erasures: async () => [],
    tiles: async () => [],
  };
  const reading = restfulLedger(stored, async () => {}).read(0, 10);
  for await (const _ of reading.entries) break;
  await reading.close();
  assert.deepEqual(left, ['entries', 'reading']);
});
