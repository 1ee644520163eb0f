import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OrderVouchers } from '../../../collector/enforcement/desk-ports.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { limits } from '../../../common/limits.ts';
import { rest } from '../../fakes/enforcement.ts';
import { bench, miner } from './bench.ts';
import { manifestOf, nowMs } from './situations.ts';

describe('an order that has to be witnessed', () => {
  const witnesses = { keys: ['one', 'two', 'three'], required: 2 };
  const plain = manifestOf();
  const manifest = { ...plain, policy: { ...plain.policy, witnesses } };

  /** Witnesses who have seen so many entries, and what they were asked for. */
  function crowd() {
    const asked: number[] = [];
    const state = { seen: 0 };
    const vouchers: OrderVouchers = {
      newest: async () => (state.seen === 0 ? undefined : { size: state.seen, note: `note of ${state.seen}` }),
      hurry: (size) => void asked.push(size),
    };
    return { asked, state, vouchers };
  }

  test('is on record at once, and sent with what they cosigned once they have seen it', async () => {
    const { asked, state, vouchers } = crowd();
    const { world, collector } = bench({ manifest, vouchers });
    const { desk, carrier } = collector();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await rest();
    const [stored] = world.orders();
    assert.ok(stored);
    assert.deepEqual([asked, carrier.sent.length], [[stored.index + 1], 0]);
    state.seen = stored.index;
    desk.vouched();
    await rest();
    assert.equal(carrier.sent.length, 0, 'they have not seen the order itself');
    assert.equal(asked.length, 2, 'they are asked again');
    state.seen = stored.index + 1;
    desk.vouched();
    await rest();
    const [sent] = carrier.sent;
    assert.deepEqual([sent?.hash, sent?.witnessed?.size], [stored.hash, stored.index + 1]);
    world.asked.length = 0;
    desk.vouched();
    await rest();
    assert.deepEqual(world.asked, [], 'nothing waits any more');
  });

  test('is sent by the look around when no word came, and to a node that comes later', async () => {
    const { state, vouchers } = crowd();
    const { world, collector } = bench({ manifest, vouchers });
    const { desk, carrier } = collector();
    desk.start();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await rest();
    state.seen = 10_000;
    await world.advance(2 * limits.enforcementLookMs);
    assert.equal(carrier.sent.length, 1);
    desk.nodeCame('node1');
    await rest();
    assert.equal(carrier.sent.length, 2, 'what was sent to the session before may not have come');
  });

  test('is not sent any more once its drift is silenced', async () => {
    const { state, vouchers } = crowd();
    const { world, collector } = bench({ manifest, vouchers });
    const { desk, carrier } = collector();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await rest();
    assert.equal(world.orders().length, 1);
    const scope = { node: 'node1', container: null, kind: null };
    const until = rfc3339(nowMs + 86_400_000);
    const body = { id: 'a'.repeat(64), scope, until, actor: 'operator', reason: 'we work on it' };
    await world.ledger.record({ kind: 'drift.silenced', body });
    state.seen = 10_000;
    desk.vouched();
    await rest();
    assert.deepEqual(carrier.sent, []);
  });

  test('is never sent by a collector that has nobody to ask', async () => {
    const { world, collector } = bench({ manifest });
    const { desk, carrier } = collector();
    desk.start();
    world.open('node1', miner);
    desk.saw('node1', ['drift.opened']);
    await world.advance(60_000);
    assert.equal(world.orders().length, 1);
    assert.deepEqual(carrier.sent, []);
  });
});
