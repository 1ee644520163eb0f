import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OrderedCall } from '../../../agent/executor/calls.ts';
import { type OrderTrust, orderHeader, type VerifiedOrder, verifyOrder } from '../../../agent/executor/order-header.ts';
import { refusalOf } from '../../../agent/executor/permission.ts';
import { isRefused } from '../../../agent/executor/refused.ts';
import type { SeenContainer } from '../../../agent/executor/seen-container.ts';
import { OrderUses } from '../../../agent/executor/uses.ts';
import { hostSideOfBody } from '../../../agent/executor/wanted.ts';
import { replacementNames } from '../../../agent/orders/replace.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { containerSpec } from '../../../common/container-spec.ts';
import { wantedDigest, wantedText } from '../../../common/enforcement/wanted.ts';
import { collectorAuthor, genesis, sealEntry } from '../../../common/entry.ts';
import { generateKeyPair, signBytes } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { type Order, orderHash } from '../../../common/order.ts';
import { randomOf, seedOf } from '../../e2e/random.ts';
import { ids, madeFor, makeKeys, makeOrder, node, nowMs, sealOrder } from './scene.ts';

const keys = makeKeys();
const trust: OrderTrust = { node, collectorKeys: [keys.collector.publicKey], nodeKey: undefined };
const trustingLocal: OrderTrust = { ...trust, nodeKey: keys.node.publicKey };
const hostileRuns = 10_000;

function header(entry: { readonly text: string; readonly signature: string }): string {
  return Object.values(orderHeader(entry)).join();
}

/** The code of the refusal, or undefined for an order that holds. */
function verdict(value: string | undefined, by = trust, at = nowMs): string | undefined {
  const order = verifyOrder(value, by, at);
  return isRefused(order) ? order.refused : undefined;
}

function accepted(order: Order, at = nowMs): VerifiedOrder {
  const verified = verifyOrder(header(sealOrder(order, keys)), trust, at);
  return isRefused(verified) ? assert.fail(verified.reason) : verified;
}

/** Text that the collector has signed, whatever it says. */
function signed(text: string, key = keys.collector.privateKey): string {
  return header({ text, signature: signBytes(key, Buffer.from(text)).toString('base64') });
}

describe('an order holds', () => {
  test('when the collector signed it for this node and its time has come', () => {
    const order = makeOrder({ drift: { id: 'x', kind: 'UNAUTHORIZED_CONTAINER', digest: 'e'.repeat(64) } });
    const { hash, stage, wanted: _, ...rest } = accepted(order);
    assert.equal(hash, orderHash(order), 'its name is the one that everybody else computes');
    const { action, container, containerId } = order;
    assert.deepEqual([rest, stage], [{ action, container, containerId, expiresMs: nowMs + 60_000 }, 'valid']);
  });

  test('with any text in it that an order may have', () => {
    for (const reason of [
      '"\\\n\u0000\u2028',
      'ünïcödé 🐳',
      'x'.repeat(limits.maxOwnTextChars),
      '\u0001'.repeat(2_000),
    ]) {
      const order = makeOrder({ reason, by: reason, commit: reason });
      assert.equal(accepted(order).hash, orderHash(order));
    }
  });

  test('by any of the keys that count while the collector changes its own', () => {
    const changing = { ...trust, collectorKeys: [generateKeyPair().publicKey, keys.collector.publicKey] };
    assert.equal(verdict(header(sealOrder(makeOrder(), keys)), changing), undefined);
  });
});

describe('an order does not hold', () => {
  const entry = sealOrder(makeOrder(), keys);

  test('without a header, or with one that is no order', () => {
    assert.equal(verdict(undefined), 'order.missing');
    for (const value of [
      '',
      'x',
      'bnVsbA==',
      Buffer.from('{}').toString('base64'),
      `${header(entry)}=`,
      'A'.repeat(200_000),
    ]) {
      assert.equal(verdict(value), 'order.form');
    }
  });

  test('by the key of anybody else, the node itself included', () => {
    assert.equal(verdict(header(sealOrder(makeOrder(), { ...keys, collector: keys.node }))), 'order.signature');
    assert.equal(verdict(header(sealOrder(makeOrder({ origin: 'local' }), keys))), 'order.signature');
  });

  test('for another node, or at another time', () => {
    assert.equal(verdict(header(sealOrder(makeOrder({ node: 'node1' }), keys))), 'order.misdirected');
    const issued = (ms: number, forMs: number) => makeOrder({ issuedAt: rfc3339(ms), expiresAt: rfc3339(ms + forMs) });
    for (const order of [
      issued(nowMs + limits.maxOrderAheadMs + 1, 1_000),
      issued(nowMs, limits.maxOrderLifetimeMs + 1),
    ]) {
      assert.equal(verdict(header(sealOrder(order, keys))), 'order.expired');
    }
  });

  test('when the collector signed something else, or in another form', () => {
    const by = { author: collectorAuthor, head: genesis, now: nowMs, privateKey: keys.collector.privateKey };
    const rejected = sealEntry(
      { kind: 'order.rejected', body: { order: 'a'.repeat(64), actor: 'a', reason: 'b' } },
      by,
    );
    const { text } = entry;
    const spellings = [
      rejected.bytes.toString(),
      'sigilwatch order',
      '[]',
      'null',
      ` ${text}`,
      text.replace('"v":1', '"v":2'),
      text.replace('"v":1', '"v":1,"v":1'),
      text.replace('"v":1}', '"v":1,"w":1}'),
      text.replace('"kind":"order.issued"', '"kind":"order.local"'),
      text.replace('"author":"collector"', `"author":"${node}"`),
      text.replace('"containerId":"', '"containerId":"0'),
      text.replace(/"containerId":"[^"]*"/, '"containerId":null'),
      text.replace('"action":"terminate"', '"action":"exec"'),
      text.replace('"origin":"operator"', '"origin":"local"'),
      text.replace('"reason":"not wanted"', '"reason":"\\ud800"'),
      text.replace('"container":"web"', '"container":""'),
      text.replace('.000Z","issuedAt"', 'Z","issuedAt"'),
      text.replace('"approvals":0', '"approvals":"0"'),
      text.replace('"drift":null', '"drift":{}'),
      text.replace('{"action"', '{"Action"'),
      text.replace(/("reason":"[^"]*")/, '$1,"wanted":null'),
      text.replace(/("reason":"[^"]*")/, '$1,"wanted":"x"'),
    ];
    for (const spelling of spellings) {
      assert.notEqual(spelling, text);
      assert.equal(verdict(signed(spelling)), 'order.form', spelling);
    }
    assert.equal(verdict(signed(text)), undefined);
  });

  test(`when a single character of it was changed, ${hostileRuns} times`, () => {
    const seed = seedOf('altered orders');
    const random = randomOf(seed, 'orders');
    const wire = JSON.stringify(entry);
    for (let run = 0; run < hostileRuns; run++) {
      const at = random.int(0, wire.length - 1);
      const char = String.fromCharCode(random.int(32, 126));
      if (char === wire[at]) continue;
      const altered = wire.slice(0, at) + char + wire.slice(at + 1);
      const code = verdict(Buffer.from(altered).toString('base64'));
      assert.ok(code === 'order.signature' || code === 'order.form', `seed ${seed}, run ${run}: ${code}`);
    }
  });
});

describe('what a node decides by itself', () => {
  const local = sealOrder(makeOrder({ origin: 'local', by: 'drift_rules.unauthorized_containers' }), keys);

  test('counts only where that was allowed', () => {
    assert.deepEqual([verdict(header(local)), verdict(header(local), trustingLocal)], ['order.signature', undefined]);
  });

  test('is never said by the collector, nor is an issued order by the node', () => {
    const { text } = local;
    assert.equal(verdict(signed(text), trustingLocal), 'order.form');
    assert.equal(verdict(signed(sealOrder(makeOrder(), keys).text, keys.node.privateKey), trustingLocal), 'order.form');
  });
});

describe('one order', () => {
  const kill: OrderedCall = { call: 'kill', id: ids.ordered };
  const none = () => Promise.resolve(undefined);
  const desired = { name: 'web', image: 'app:1', imageId: null, config: {}, creation: {} };
  const said = Buffer.from(wantedText(desired)).toString('base64');
  const made = hostSideOfBody({ ...containerSpec(desired, { labels: {} }).body }) ?? assert.fail();

  async function codeOf(call: OrderedCall, order: VerifiedOrder, uses: OrderUses, lookUp = none): Promise<unknown> {
    return (await refusalOf(call, order, { uses, lookUp, wanted: said }))?.refused;
  }

  test('is good for a few calls on one container, and what did not reach the engine does not count', async () => {
    const uses = new OrderUses(() => nowMs);
    const order = accepted(makeOrder());
    for (let use = 0; use < limits.executorUsesPerOrder; use++)
      assert.equal(await codeOf(kill, order, uses), undefined);
    assert.equal(await codeOf(kill, order, uses), 'order.used_up');
    assert.equal(await codeOf({ call: 'remove', id: ids.ordered }, order, uses), undefined);
    uses.giveBack(order, `kill ${ids.ordered}`);
    assert.equal(await codeOf(kill, order, uses), undefined);
    assert.equal(await codeOf(kill, order, uses), 'order.used_up');
  });

  test('makes few containers, by either of the names that it may', async () => {
    const uses = new OrderUses(() => nowMs);
    const order = accepted(makeOrder({ action: 'restore', wanted: wantedDigest(desired) }));
    const codes = [];
    const { name, next } = replacementNames(order.container, order.hash);
    for (let use = 0; use <= limits.executorUsesPerOrder; use++) {
      const call = { call: 'create', name: use % 2 === 0 ? name : next, order: order.hash, made } as const;
      codes.push(await codeOf(call, order, uses));
    }
    assert.deepEqual(codes, [...Array(limits.executorUsesPerOrder).fill(undefined), 'order.used_up']);
  });

  test('is good for few networks', async () => {
    const uses = new OrderUses(() => nowMs);
    const order = accepted(makeOrder({ action: 'quarantine' }));
    const codes = await Promise.all(
      Array.from({ length: limits.executorKeysPerOrder + 1 }, (_, i) =>
        codeOf({ call: 'disconnect', id: ids.ordered, network: `n${i}` }, order, uses),
      ),
    );
    assert.deepEqual(
      codes.filter((code) => code !== undefined),
      ['order.used_up'],
    );
  });

  test('is forgotten when it can do nothing any more, and not before', async () => {
    let now = nowMs;
    const uses = new OrderUses(() => now);
    const orderNumber = (i: number) => ({ hash: `${i}`, expiresMs: nowMs });
    for (let i = 0; i < limits.executorMaxOrders; i++) assert.equal(uses.take(orderNumber(i), 'kill'), undefined);
    now = nowMs + limits.executorFinishMs - 1;
    assert.equal(uses.take(orderNumber(-1), 'kill')?.refused, 'busy');
    now++;
    assert.equal(uses.take(orderNumber(-1), 'kill'), undefined);
  });

  const expiredMs = nowMs + 60_000;
  const overMs = expiredMs + limits.executorFinishMs;

  test('that has expired begins nothing', async () => {
    for (const at of [expiredMs, overMs]) {
      const late = accepted(makeOrder({ action: 'rollback' }), at);
      const uses = new OrderUses(() => nowMs);
      const wrong = at === overMs ? 'order.expired' : 'order.mismatch';
      for (const call of ['stop', 'start'] as const)
        assert.equal(await codeOf({ call, id: ids.ordered }, late, uses), wrong);
      assert.equal(await codeOf({ call: 'remove', id: ids.ordered }, late, uses), 'order.mismatch');
      assert.equal(await codeOf({ call: 'create', name: 'web', order: late.hash, made }, late, uses), 'order.expired');
      assert.equal(await codeOf({ call: 'load' }, late, uses), 'order.expired');
      assert.equal(await codeOf(kill, accepted(makeOrder(), at), uses), wrong);
    }
  });

  test('that was begun in time may be brought to an end for a while, also by another action than a replacement', async () => {
    const order = makeOrder({ action: 'quarantine' });
    const uses = new OrderUses(() => nowMs);
    const pause: OrderedCall = { call: 'pause', id: ids.ordered };
    assert.equal(
      await codeOf({ call: 'disconnect', id: ids.ordered, network: 'front' }, accepted(order), uses),
      undefined,
    );
    assert.equal(await codeOf(pause, accepted(order, overMs - 1), uses), undefined);
    assert.equal(await codeOf(pause, accepted(order, overMs), uses), 'order.expired');
  });

  test('that has expired may be brought to an end by an executor that did not see it begin', async () => {
    const order = makeOrder({ action: 'rollback' });
    const late = accepted(order, expiredMs);
    const { kept } = replacementNames(late.container, late.hash);
    const seen = new Map<string, SeenContainer>([
      [ids.ordered, { name: kept, labels: {}, isRunning: false, mounted: [] }],
      [ids.made, { name: 'web', labels: madeFor(order), isRunning: true, mounted: [] }],
      [ids.other, { name: 'db', labels: madeFor(makeOrder({ action: 'restore' })), isRunning: true, mounted: [] }],
    ]);
    const lookUp = async (id: string) => seen.get(id);
    const uses = new OrderUses(() => nowMs);
    const code = async (call: OrderedCall) =>
      (await refusalOf(call, late, { uses, lookUp, wanted: undefined }))?.refused;
    assert.equal(await code({ call: 'remove', id: ids.made }), undefined);
    assert.equal(await code({ call: 'rename', id: ids.ordered, name: 'web' }), undefined);
    seen.clear();
    assert.equal(await code({ call: 'start', id: ids.ordered }), undefined, 'it was seen to be begun');
    assert.equal(await code({ call: 'start', id: ids.other }), 'order.mismatch');
  });

  test('is over for good, but for the removal of what it has put aside, unless somebody has started that again', async () => {
    const order = makeOrder({ action: 'rollback' });
    const over = accepted(order, nowMs + 365 * 86_400_000);
    const { kept } = replacementNames(over.container, over.hash);
    const code = async (id: string, seen: SeenContainer) => {
      const uses = new OrderUses(() => nowMs);
      return (await refusalOf({ call: 'remove', id }, over, { uses, lookUp: async () => seen, wanted: undefined }))
        ?.refused;
    };
    const aside = { name: kept, labels: {}, isRunning: false, mounted: [] };
    assert.equal(await code(ids.ordered, aside), undefined);
    assert.equal(await code(ids.ordered, { ...aside, isRunning: true }), 'order.mismatch');
    assert.equal(await code(ids.ordered, { ...aside, name: 'web' }), 'order.mismatch');
    assert.equal(await code(ids.made, { ...aside, labels: madeFor(order) }), 'order.mismatch');
  });

  test('for a container that was not there concerns only what was made for it', async () => {
    const order = makeOrder({ action: 'restore', containerId: null });
    const uses = new OrderUses(() => nowMs);
    const seen = { name: 'web', labels: madeFor(order), isRunning: true, mounted: [] };
    const lookUp = async (id: string) => (id === ids.made ? seen : { ...seen, labels: {} });
    const code = async (id: string) =>
      (await refusalOf({ call: 'start', id }, accepted(order), { uses, lookUp, wanted: undefined }))?.refused;
    assert.deepEqual([await code(ids.made), await code(ids.other)], [undefined, 'order.mismatch']);
  });
});
