import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createHoldingBoard } from '../../../agent/desired/holding.ts';
import type { Holding } from '../../../common/protocol.ts';
import { until } from '../../until.ts';
import { startAgent, startCollector } from '../../wire.ts';

const commit = 'a'.repeat(40);

test('a node says what it has after each welcome and whenever it changes, and takes what is larger than a frame', async () => {
  const heard: Holding[] = [];
  const received: { commit: string; bytes: Buffer }[] = [];
  const holding = createHoldingBoard();
  const first: Holding = { commit: null, base: null, takes: true };
  holding.put(first);
  const collector = await startCollector({ onHeld: (_, said) => heard.push(said) });
  const receiver = {
    order: () => {},
    measure: () => {},
    bundle: (of: string, bytes: Buffer) => void received.push({ commit: of, bytes }),
  };
  const agent = startAgent(collector, { holding, receiver });
  try {
    collector.nodes.enrol('node1', agent.keys);
    await until('it is said', () => heard.length === 1);
    const bytes = randomBytes(3_000_000);
    assert.equal(collector.sockets.sendDesired('node1', commit, bytes), true);
    await until('it has come', () => received.length === 1);
    assert.equal(received[0]?.commit, commit);
    assert.ok(received[0]?.bytes.equals(bytes));
    const next: Holding = { commit, base: commit, takes: true };
    holding.put(next);
    holding.put({ ...next });
    await until('it is said again', () => heard.length === 2);
    // Cut in the middle: nothing of it is taken for a bundle, and the next session begins with what is there.
    collector.sockets.sendDesired('node1', 'b'.repeat(40), bytes);
    collector.sockets.disconnect('node1', 'cut');
    await until('it came back', () => heard.length === 3);
    assert.deepEqual(heard, [first, next, next]);
    assert.equal(collector.sockets.sendDesired('node1', 'b'.repeat(40), bytes), true);
    await until('all of it', () => received.length === 2);
    assert.ok(received[1]?.bytes.equals(bytes));
  } finally {
    await agent.link.stop();
    await collector.close();
  }
});
