import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { EngineControl } from '../../../agent/docker/control.ts';
import type { IssuedOrder } from '../../../agent/orders/issued.ts';
import { isOutdated, type OrderRecord } from '../../../agent/orders/records.ts';
import { refusalOf } from '../../../common/enforcement/permission.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { orderHash } from '../../../common/order.ts';
import { circumstances, commit, nowMs, orderFor, policyOf, rogue, targetId } from '../../common/enforcement/ground.ts';
import { countingControl, deskGround, issued, seen } from './ground.ts';

const order = orderFor(rogue);
const config = {
  ...{ command: [], entrypoint: [], environment: {}, ports: [], volumes: [], labels: {}, user: '' },
  ...{
    restart_policy: 'no',
    cap_add: [],
    cap_drop: [],
    privileged: false,
    network_mode: 'default',
    mem_limit: 0,
    cpus: 0,
  },
};
const engineWith = (container: () => ObservedContainer | undefined) => ({
  list: async () => new Map([[targetId, container()?.name ?? null]]),
  inspect: async () => {
    const found = container();
    return found && { container: found, config };
  },
});
const quarantining = () => {
  const policy = policyOf();
  const answer = { rule: 'drift_rules.unauthorized_containers', action: 'quarantine' as const, graceMs: 0 };
  return {
    commit,
    policy: { ...policy, answers: { ...policy.answers, UNAUTHORIZED_CONTAINER: answer } },
    containers: [],
  };
};
const unreachable = () => new AppError('engine.unreachable', 'the engine is away');

/** A desk whose last run ended after it had begun. */
async function begun(said: Parameters<typeof deskGround>[0] = {}, what: IssuedOrder = issued(order)) {
  const ground = deskGround({ engine: engineWith(() => seen), ...said });
  const { hash, proof } = what;
  const times = { beganMs: nowMs, atMs: nowMs, keptUntilMs: null };
  const record: OrderRecord = {
    order: what.order,
    entry: proof.entry,
    state: 'begun',
    was: 'running',
    madeId: null,
    ...times,
  };
  await ground.journal.append([], [{ key: `order/${hash}`, value: record }]);
  return ground;
}

describe('an order in the middle of which the program ended', () => {
  test('is gone on with while it is due', async () => {
    const { open, pulled } = await begun();
    const desk = await open();
    await desk.resume();
    assert.deepEqual(pulled, [`kill ${targetId}`, `remove ${targetId}`]);
  });

  test('is let be once it has expired, or its drift is over, or git wants something else', async () => {
    const late = await begun();
    late.clock.at = Date.parse(order.expiresAt);
    const over = await begun();
    over.standing.clear();
    const adopted = () => ({ commit: 'e'.repeat(40), policy: policyOf(), containers: [] });
    for (const { open, pulled, journal } of [late, over, await begun({ adopted })]) {
      const desk = await open();
      await desk.resume();
      assert.deepEqual(pulled, []);
      assert.deepEqual(
        journal.saidOf('order.result').map(({ body }) => [body.outcome, body.code]),
        [['failed', 'interrupted']],
      );
    }
  });

  test('is not said to be done because the engine cannot tell about the container', async () => {
    const engine = { list: async () => new Map(), inspect: () => Promise.reject(unreachable()) };
    const { open, journal, observed } = await begun({ engine });
    observed.clear();
    const desk = await open();
    await desk.resume();
    assert.deepEqual(journal.saidOf('order.result'), []);
  });
});

test('a replacement that the engine goes away from is put back when it is there again', async () => {
  let isAway = false;
  const { control, pulled } = countingControl();
  const through = new Proxy(control, {
    get: (target, name: keyof EngineControl) => (isAway ? () => Promise.reject(unreachable()) : target[name]),
  });
  const restored = orderFor(rogue, { action: 'rollback' });
  const { open, journal } = await begun(
    {
      controlFor: () => through,
      engine: engineWith(() => ({ ...seen, name: 'rogue.sigilwatch-kept', state: 'exited' })),
    },
    issued(restored),
  );
  const desk = await open();
  isAway = true;
  await desk.resume();
  assert.deepEqual(journal.saidOf('order.result'), []);
  isAway = false;
  await desk.resume();
  assert.deepEqual(pulled, [`rename ${targetId}`, `start ${targetId}`]);
  assert.deepEqual(
    journal.saidOf('order.result').map(({ body }) => [body.outcome, body.code]),
    [['failed', 'interrupted']],
  );
});

describe('a quarantine', () => {
  const quarantine = orderFor(rogue, { action: 'quarantine' });

  test('pauses what no engine takes off its network, and what is on one that does not let go', async () => {
    for (const [network, outcome] of [
      ['host', 'executed'],
      ['odd', 'failed'],
    ] as const) {
      const { control, pulled } = countingControl();
      const stuck: EngineControl = {
        ...control,
        networks: async () => ({ [network]: {} }),
        disconnect: () => Promise.reject(new AppError('engine.answer', 'it is the network of the host')),
      };
      const { open, journal } = deskGround({ adopted: quarantining, controlFor: () => stuck });
      const desk = await open();
      await desk.receive(issued(quarantine));
      await desk.settled();
      assert.deepEqual(pulled, [`pause ${targetId}`]);
      assert.equal(journal.saidOf('order.result')[0]?.body.outcome, outcome);
    }
  });

  test('goes by the ids of networks, and what was made anew since under its name is taken by that', async () => {
    const { control, pulled } = countingControl();
    const [front, back] = ['1', '2'].map((digit) => digit.repeat(64));
    let attached: Awaited<ReturnType<EngineControl['networks']>> = {
      'a/b': { NetworkID: front ?? '' },
      [front ?? '']: { Aliases: ['web'], NetworkID: back ?? '' },
    };
    const given: object[] = [];
    const odd: EngineControl = {
      ...control,
      networks: async () => attached,
      connect: async (network, id, endpoint) => {
        given.push(endpoint);
        await control.connect(network, id, endpoint);
        return network === front ? 'gone' : 'done';
      },
    };
    const ground = deskGround({ adopted: quarantining, controlFor: () => odd, verifyApprovals: async () => ['ada'] });
    const desk = await ground.open();
    await desk.receive(issued(quarantine));
    await desk.settled();
    assert.deepEqual(pulled, [`disconnect ${front}`, `disconnect ${back}`, `pause ${targetId}`]);
    attached = {};
    ground.clock.at += 1_000;
    const restarted = await ground.open();
    await restarted.receive(issued(orderFor(rogue, { action: 'release', origin: 'operator', drift: null })));
    await restarted.settled();
    assert.deepEqual(pulled.slice(3), [`connect ${front}`, 'connect a/b', `connect ${back}`]);
    assert.deepEqual(given, [{}, {}, { Aliases: ['web'] }]);
  });

  test('stops what crashes again and again, since the engine neither pauses that nor takes it off a network', async () => {
    for (const found of ['restarting', 'running'] as const) {
      const { control, pulled } = countingControl();
      let runs = true;
      const busy = async () => {
        if (runs) throw new AppError('engine.answer', 'is restarting, wait', { details: { status: 409 } });
      };
      const crashing: EngineControl = {
        ...control,
        networks: async () => ({ front: {} }),
        disconnect: async (network, id) => {
          await busy();
          return control.disconnect(network, id);
        },
        pause: async (id) => {
          await busy();
          return control.pause(id);
        },
        stop: async (id, graceMs) => {
          runs = false;
          return control.stop(id, graceMs);
        },
      };
      const ground = deskGround({ adopted: quarantining, controlFor: () => crashing });
      ground.observed.set(targetId, { ...seen, state: found });
      const desk = await ground.open();
      await desk.receive(issued(quarantine));
      await desk.settled();
      assert.deepEqual(pulled, [`stop ${targetId}`, 'disconnect front'], found);
      assert.equal(ground.journal.saidOf('order.result').at(-1)?.body.outcome, 'executed', found);
    }
  });

  test('that was cut short remembers the networks it had taken away', async () => {
    const { control, pulled } = countingControl();
    const networks: Record<string, object> = { front: {} };
    const moved: EngineControl = {
      ...control,
      networks: async () => ({ ...networks }),
      disconnect: (network, id) => {
        delete networks[network];
        return control.disconnect(network, id);
      },
      pause: () => Promise.reject(unreachable()),
    };
    const ground = deskGround({
      adopted: quarantining,
      controlFor: () => moved,
      engine: engineWith(() => seen),
      verifyApprovals: async () => ['ada'],
    });
    const desk = await ground.open();
    await desk.receive(issued(quarantine));
    await desk.settled();
    const again = orderFor(rogue, { action: 'quarantine', origin: 'operator', drift: null, nonce: '3'.repeat(32) });
    ground.clock.at += 1_000;
    await desk.receive(issued(again));
    await desk.settled();
    ground.clock.at += 1_000;
    await desk.receive(issued(orderFor(rogue, { action: 'release', origin: 'operator', drift: null })));
    await desk.settled();
    assert.ok(pulled.includes('connect front'), pulled.join());
  });

  test('that was refused is forgotten in time, a release as little as the quarantine it ended', () => {
    const times = { beganMs: nowMs, atMs: nowMs, keptUntilMs: null };
    const record = { order: quarantine, entry: { text: '', signature: '' }, was: null, madeId: null, ...times };
    const later = nowMs + 2 * limits.ordersRememberedMs;
    const release = { ...quarantine, action: 'release' as const };
    assert.ok(isOutdated({ ...record, state: 'refused' }, later));
    assert.ok(!isOutdated({ ...record, state: 'executed' }, later));
    assert.ok(!isOutdated({ ...record, order: release, state: 'verified' }, later));
  });
});

test('a journal that was replaced is told what is remembered of orders', async () => {
  const { open, journal } = deskGround();
  const desk = await open();
  await desk.receive(issued(order));
  await desk.settled();
  journal.loseState();
  await desk.retell();
  const state = await journal.state('order/');
  assert.deepEqual([...state.keys()], [`order/${orderHash(order)}`]);
});

test('a release that failed ends no quarantine, a quarantine that failed may be tried again', () => {
  const past = (action: 'quarantine' | 'release', failed: boolean) => ({
    action,
    container: 'rogue',
    containerId: targetId,
    atMs: nowMs - 3_600_000,
    failed,
  });
  const codeOf = (action: 'quarantine' | 'terminate', ...before: ReturnType<typeof past>[]) => {
    const adopted = action === 'quarantine' ? quarantining() : { commit, policy: policyOf() };
    return refusalOf(orderFor(rogue, { action }), circumstances({ adopted, past: before }))?.code;
  };
  assert.equal(codeOf('terminate', past('quarantine', false), past('release', true)), 'quarantined');
  assert.equal(codeOf('terminate', past('quarantine', false), past('release', false)), undefined);
  assert.equal(codeOf('quarantine', past('quarantine', true)), undefined);
  assert.equal(codeOf('terminate', past('quarantine', true)), 'quarantined');
});
