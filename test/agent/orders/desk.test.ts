import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { OrderDeskOptions } from '../../../agent/orders/desk.ts';
import type { IssuedOrder } from '../../../agent/orders/issued.ts';
import { cosign } from '../../../common/cosignature.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { formatNote, formatVerifierKey } from '../../../common/note.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { orderHash } from '../../../common/order.ts';
import { nodeWitnessKey, nodeWitnessSigner } from '../../../common/witnesses.ts';
import { commit, nowMs, orderFor, policyOf, rogue, targetId } from '../../common/enforcement/ground.ts';
import { deskGround, issued, seen, tellAll } from './ground.ts';

const order = orderFor(rogue);
const killed = [`kill ${targetId}`, `remove ${targetId}`];

describe('an order', () => {
  test('that is permitted is carried out, with evidence before and a result after', async () => {
    const { open, journal, pulled, evidence } = deskGround();
    const desk = await open();
    await desk.receive(issued(order));
    await desk.settled();
    assert.deepEqual(pulled, killed);
    const [result] = journal.saidOf('order.result');
    assert.equal(result?.body.outcome, 'executed');
    assert.equal(result?.body.order, orderHash(order));
    assert.match(evidence.files.get(orderHash(order)) ?? '', /last words/);
    assert.equal(result?.body.evidence?.logBytes, 'last words\n'.length);
  });

  test('is begun once, whoever sends it however often, also after a restart', async () => {
    const { open, journal, pulled } = deskGround();
    const desk = await open();
    await Promise.all([1, 2, 3].map(() => desk.receive(issued(order))));
    await desk.settled();
    const restarted = await open();
    await restarted.receive(issued(order));
    await restarted.settled();
    assert.deepEqual(pulled, killed);
    assert.equal(journal.saidOf('order.result').length, 1);
  });

  test('is not begun again when the outbox and all it remembered is lost', async () => {
    const { open, journal, pulled } = deskGround();
    const desk = await open();
    await desk.receive(issued(order));
    await desk.settled();
    journal.loseState();
    const restarted = await open();
    await restarted.receive(issued(order));
    await restarted.settled();
    assert.deepEqual(pulled, killed);
  });

  test('is not begun before it is on record as begun', async () => {
    const { open, journal, pulled } = deskGround();
    journal.mood = 'write_failed';
    const desk = await open();
    await desk.receive(issued(order));
    await desk.settled();
    assert.deepEqual(pulled, []);
  });

  test('destroys nothing when there is no room for evidence', async () => {
    const evidence = {
      keep: () => Promise.reject(new Error('disk full')),
      has: async () => false,
      read: async () => undefined,
      prune: async () => {},
    };
    const { open, journal, pulled } = deskGround({ evidence });
    const desk = await open();
    await desk.receive(issued(order));
    await desk.settled();
    assert.deepEqual(pulled, []);
    assert.equal(journal.saidOf('order.result')[0]?.body.outcome, 'failed');
  });

  test('that is refused is answered with the reason, and stays refused', async () => {
    const { open, journal, pulled } = deskGround();
    const desk = await open();
    const foreign = orderFor(rogue, { commit: 'd'.repeat(40) });
    await desk.receive(issued(foreign));
    await desk.receive(issued(foreign));
    await desk.settled();
    assert.deepEqual(pulled, []);
    assert.deepEqual(
      journal.saidOf('order.result').map(({ body }) => [body.outcome, body.code]),
      [['refused', 'commit']],
    );
  });

  test('is not one more because a hundred containers were made and never started', async () => {
    const { open, pulled, observed, standing, journal } = deskGround({
      adopted: () => ({ commit, policy: policyOf('governance: {blast_radius: 50}\n'), containers: [] }),
    });
    const ids = Array.from({ length: 100 }, (_, i) => i.toString(16).padStart(64, '0'));
    for (const id of ids) observed.set(id, { ...seen, id, name: `idle${id}`, state: 'created' });
    const containerId = 'b'.repeat(64);
    const second = { ...rogue, id: `UNAUTHORIZED_CONTAINER/${containerId}`, container: 'api', containerId };
    standing.set(second.id, { drift: second, sinceMs: nowMs - 600_000 });
    const desk = await open();
    await desk.receive(issued(order));
    await desk.settled();
    await desk.receive(issued(orderFor(second, { containerId })));
    await desk.settled();
    assert.deepEqual(pulled, killed);
    assert.equal(journal.saidOf('order.result').at(-1)?.body.code, 'blast_radius');
  });

  test('for a name that another container has by now kills neither', async () => {
    const { open, journal, pulled, observed } = deskGround();
    const [before] = [...observed.values()].filter(({ name }) => name === 'rogue');
    assert.ok(before);
    observed.delete(before.id);
    observed.set('d'.repeat(64), { ...before, id: 'd'.repeat(64) });
    const desk = await open();
    await desk.receive(issued(order));
    await desk.settled();
    assert.deepEqual(pulled, []);
    assert.equal(journal.saidOf('order.result')[0]?.body.code, 'gone');
  });
});

describe('where the manifest has orders witnessed', () => {
  const origin = 'log.example';
  const nodes = ['node1', 'node2', 'node3'].map((name) => {
    const keys = generateKeyPair();
    const key = formatVerifierKey(nodeWitnessKey(origin, name, keys.publicKey));
    return { name, key, sign: () => cosign(text, nodeWitnessSigner(origin, name, keys), nowMs) };
  });
  const text = `${origin}\n9\n${Buffer.alloc(32, 9).toString('base64')}\n`;
  const pins = nodes.map(({ name, key }) => `{name: ${name}, key: "${key}"}`).join(', ');
  const said = `witnesses: {nodes: [${pins}]}\n`;
  const strict = (governance: string, more: Partial<OrderDeskOptions> = {}) => {
    const policy = policyOf(`${said}governance: {witnessed_orders: true${governance}}\n`);
    return deskGround({ adopted: () => ({ commit, policy, containers: [] }), ...more });
  };
  const seenBy = (count: number): IssuedOrder => {
    const plain = issued(order);
    const witnessed = formatNote({ text, signatures: nodes.slice(0, count).map((node) => node.sign()) });
    return { ...plain, proof: { ...plain.proof, ...(count > 0 && { witnessed }) } };
  };

  test('one that too few have seen is told of once, and obeyed once enough have, also after a restart', async () => {
    const { open, journal, pulled } = strict('');
    const desk = await open();
    for (const count of [0, 1, 1, 0]) await desk.receive(seenBy(count));
    await desk.settled();
    assert.deepEqual(pulled, []);
    const told = () => journal.saidOf('order.result').map(({ body }) => [body.outcome, body.code]);
    assert.deepEqual(told(), [['refused', 'unwitnessed']]);
    const restarted = await open();
    await restarted.receive(seenBy(2));
    await restarted.settled();
    assert.deepEqual(pulled, killed);
    assert.deepEqual(told().slice(1), [['executed', null]]);
    await restarted.receive(seenBy(3));
    assert.deepEqual(pulled, killed);
  });

  test('what a node decides by itself waits for nobody', async () => {
    const { open, pulled } = strict(', when_offline: local, offline_after: 10m, settling_time: 0', {
      cutOffMs: () => 3_600_000,
    });
    const desk = await open();
    tellAll(desk);
    desk.compared();
    await desk.settled();
    assert.deepEqual(pulled, killed);
  });
});

test('a quarantine is pulled off the network and paused, and what is released gets its networks back', async () => {
  const policy = { ...policyOf(), answers: { ...policyOf().answers } };
  const answer = { rule: 'drift_rules.unauthorized_containers', action: 'quarantine' as const, graceMs: 0 };
  policy.answers.UNAUTHORIZED_CONTAINER = answer;
  const { open, pulled, observed, clock } = deskGround({
    adopted: () => ({ commit, policy, containers: [] }),
    verifyApprovals: async () => ['ada'],
  });
  const desk = await open();
  await desk.receive(issued(orderFor(rogue, { action: 'quarantine' })));
  await desk.settled();
  assert.deepEqual(pulled, [`pause ${targetId}`]);
  const [target] = [...observed.values()];
  if (target !== undefined) observed.set(target.id, { ...target, state: 'paused' });
  clock.at += 1_000;
  const again = await open();
  await again.receive(issued(orderFor(rogue, { action: 'quarantine', nonce: '2'.repeat(32) })));
  assert.equal(pulled.length, 1);
  const release = orderFor(rogue, { action: 'release', origin: 'operator', drift: null, nonce: '1'.repeat(32) });
  await again.receive(issued(release));
  await again.settled();
  assert.deepEqual(pulled.slice(1), [`unpause ${targetId}`]);
});

describe('what a later look finds', () => {
  test('verifies an order when its drift is gone, and tells when it is back', async () => {
    const { open, journal, standing, clock } = deskGround();
    const desk = await open();
    await desk.receive(issued(order));
    await desk.settled();
    const later = await open();
    later.compared();
    await later.settled();
    assert.equal(journal.saidOf('order.result').length, 1, 'nothing is said while it may still end');
    const drift = standing.get(rogue.id);
    standing.delete(rogue.id);
    const verified = await open();
    verified.compared();
    await verified.settled();
    assert.equal(journal.saidOf('order.result').at(-1)?.body.outcome, 'verified');
    if (drift !== undefined) standing.set('UNAUTHORIZED_CONTAINER/other', drift);
    clock.at += limits.relapseWithinMs - 1;
    const relapsed = await open();
    relapsed.compared();
    await relapsed.settled();
    assert.equal(journal.saidOf('order.result').at(-1)?.body.outcome, 'relapsed');
  });
});

describe('a quarantine', () => {
  const quarantining = () => {
    const policy = policyOf();
    const answer = { rule: 'drift_rules.unauthorized_containers', action: 'quarantine' as const, graceMs: 0 };
    const answers = { ...policy.answers, UNAUTHORIZED_CONTAINER: answer };
    return { commit, policy: { ...policy, answers }, containers: [] };
  };
  const quarantine = orderFor(rogue, { action: 'quarantine' });

  /** Quarantined, and found so some minutes later. */
  async function quarantined() {
    const ground = deskGround({ adopted: quarantining, verifyApprovals: async () => ['ada'] });
    const desk = await ground.open();
    const look = async (state: ObservedContainer['state'], laterMs: number) => {
      ground.observed.set(targetId, { ...seen, state });
      ground.clock.at += laterMs;
      desk.compared();
      await desk.settled();
      const said = ground.journal.saidOf('order.result').filter(({ body }) => body.order === orderHash(quarantine));
      return said.map(({ body }) => body.outcome);
    };
    await desk.receive(issued(quarantine));
    await desk.settled();
    assert.deepEqual(await look('paused', 2 * limits.verifyWithinMs), ['executed', 'verified']);
    return { ...ground, desk, look };
  }

  test('holds although its drift stands, and does not any more once somebody else lets the container run', async () => {
    const { look, pulled, desk, clock } = await quarantined();
    const days = 3 * 86_400_000;
    assert.deepEqual(await look('running', days), ['executed', 'verified', 'relapsed']);
    const at = (ms: number) => new Date(clock.at + ms).toISOString();
    const times = { issuedAt: at(0), expiresAt: at(60_000) };
    await desk.receive(issued(orderFor(rogue, { ...times, nonce: '3'.repeat(32) })));
    await desk.receive(issued(orderFor(rogue, { ...times, action: 'quarantine', nonce: '4'.repeat(32) })));
    await desk.settled();
    assert.deepEqual(pulled, [`pause ${targetId}`, `pause ${targetId}`], 'it is paused again, and not terminated');
  });

  test('that an operator has ended has not come to nothing', async () => {
    const { look, desk, clock } = await quarantined();
    const at = (ms: number) => new Date(clock.at + ms).toISOString();
    const times = { issuedAt: at(0), expiresAt: at(60_000) };
    await desk.receive(issued(orderFor(rogue, { ...times, action: 'release', origin: 'operator', drift: null })));
    await desk.settled();
    assert.deepEqual(await look('running', 1_000), ['executed', 'verified']);
  });
});

describe('a node that is cut off', () => {
  const alone = (said: string, cutOffMs: number | undefined) =>
    deskGround({ adopted: () => ({ commit, policy: policyOf(said), containers: [] }), cutOffMs: () => cutOffMs });
  const actions = async (ground: ReturnType<typeof deskGround>) => {
    const desk = await ground.open();
    tellAll(desk);
    for (const passedMs of [0, limits.defaultSettlingMs]) {
      ground.clock.at += passedMs;
      desk.compared();
      await desk.settled();
    }
    return ground.pulled;
  };

  test('holds unless the manifest says otherwise', async () => {
    assert.deepEqual(await actions(alone('', 3_600_000)), []);
  });

  test('acts on the standing rules after the time it says, and puts it on record first', async () => {
    const said = 'governance: {when_offline: local, offline_after: 10m}\n';
    assert.deepEqual(await actions(alone(said, undefined)), []);
    assert.deepEqual(await actions(alone(said, 599_999)), []);
    const ground = alone(said, 600_000);
    assert.deepEqual(await actions(ground), killed);
    const kinds = ground.journal.said.map(({ kind }) => kind);
    assert.ok(kinds.indexOf('order.local') < kinds.indexOf('order.result'));
    assert.equal(ground.journal.saidOf('order.local')[0]?.body.order.origin, 'local');
  });

  test('keeps to the limits of the manifest', async () => {
    const said = 'governance: {when_offline: local, offline_after: 10m, daily_limit: 0}\n';
    assert.deepEqual(await actions(alone(said, 3_600_000)), []);
    const two = 'governance: {when_offline: local, offline_after: 10m, approvals: {terminate: 1}}\n';
    assert.deepEqual(await actions(alone(two, 3_600_000)), []);
  });
});

test('an order whose time is over is not begun, however long it was on its way', async () => {
  const { open, journal, pulled, clock } = deskGround();
  clock.at = nowMs + 60_000;
  const desk = await open();
  await desk.receive(issued(order));
  await desk.settled();
  assert.deepEqual(pulled, []);
  assert.equal(journal.saidOf('order.result')[0]?.body.outcome, 'expired');
});
