import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHolding, type Present } from '../../collector/presence/holding.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type LoggedEvent, recordingLogger } from '../wire.ts';

/** A holding over a store that takes what the test lets it take. */
function ground() {
  const at = { ms: 0, down: false, nodes: ['node1', 'lyra'] };
  const told: Present[] = [];
  const events: LoggedEvent[] = [];
  const counts = { tidied: 0 };
  const tidy = (): void => {
    counts.tidied += 1;
  };
  const up = <T>(value: T): Promise<T> =>
    at.down ? Promise.reject(new AppError('database.unreachable', 'away')) : Promise.resolve(value);
  const holding = createHolding({
    store: {
      tell: (present) => up(undefined).then(() => void told.push(present)),
      forgetStale: () => up(undefined).then(tidy),
      forget: (id) => up(undefined).then(() => void told.push({ id, name: 'gone', nodes: [] })),
    },
    ...{ id: 'a', name: 'lyra:7600', nodes: () => at.nodes, logger: recordingLogger(events) },
    clock: { monotonicMs: () => at.ms },
  });
  return { at, told, events, counts, holding };
}

test('what has not changed is told every few seconds, and what has changed at once', async () => {
  const { at, told, counts, holding } = ground();
  await holding.look();
  await holding.look();
  assert.deepEqual(
    told.map(({ nodes }) => nodes),
    [['lyra', 'node1']],
  );
  at.nodes = ['lyra'];
  await holding.look();
  assert.equal(told.length, 2);
  at.ms += limits.presenceEveryMs;
  await holding.look();
  assert.deepEqual([told.length, counts.tidied], [3, 2], 'what is stale goes with what is told in any case');
  await holding.leave();
  assert.equal(told.at(-1)?.name, 'gone');
});

test('a database that is away is complained of once, and told again when it is back', async () => {
  const { at, told, events, holding } = ground();
  at.down = true;
  await holding.look();
  await holding.look();
  assert.deepEqual(
    events.map(({ event }) => event),
    ['presence.untold'],
  );
  at.down = false;
  await holding.look();
  assert.equal(told.length, 1);
});

test('what was told last counts for longer than it takes to tell it again', () => {
  assert.ok(limits.presenceStaleMs > 2 * limits.presenceEveryMs);
  assert.ok(limits.presenceEveryMs > limits.presenceLookMs);
});
