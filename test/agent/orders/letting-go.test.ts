import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InspectedContainer } from '../../../agent/docker/engine.ts';
import { replacementNames } from '../../../agent/orders/replace.ts';
import type { Drift } from '../../../common/drift.ts';
import { orderHash } from '../../../common/order.ts';
import { commit, nowMs, orderFor, policyOf, targetId } from '../../common/enforcement/ground.ts';
import { deskGround, issued, seen } from './ground.ts';

const drift: Drift = {
  id: 'IMAGE_DRIFT/rogue',
  kind: 'IMAGE_DRIFT',
  container: 'rogue',
  containerId: targetId,
  differences: [{ field: 'image', desired: 'app:2', observed: 'app:1' }],
};
const order = orderFor(drift, { action: 'rollback', by: 'drift_rules.image_drift' });
const config: InspectedContainer['config'] = {
  ...{ command: [], entrypoint: [], environment: {}, ports: [], volumes: [], labels: {}, user: '' },
  ...{ restart_policy: 'no', cap_add: [], cap_drop: [], privileged: false, network_mode: 'default' },
  ...{ mem_limit: 0, cpus: 0 },
};

function gate() {
  let open: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

test('what is found out of an order while its old container is let go is said once', async () => {
  const [reached, passable] = [gate(), gate()];
  const { kept } = replacementNames('rogue', orderHash(order));
  const inspect = async (id: string): Promise<InspectedContainer> => {
    if (id !== targetId) return { container: { ...seen, id, health: 'healthy' }, config };
    reached.open();
    await passable.opened;
    return { container: { ...seen, name: kept, state: 'exited' }, config };
  };
  const policy = { ...policyOf(), rollback: { ...policyOf().rollback, keptMs: undefined } };
  const containers = [{ name: 'rogue', image: 'app:2', imageId: null, config: {}, creation: {} }];
  const { open, journal, pulled, standing } = deskGround({
    engine: { list: async () => new Map(), inspect },
    adopted: () => ({ commit, policy, containers }),
  });
  standing.set(drift.id, { drift, sinceMs: nowMs - 10_000 });
  const desk = await open();
  await desk.receive(issued(order));
  await reached.opened;
  standing.clear();
  desk.compared();
  passable.open();
  await desk.settled();
  desk.compared();
  await desk.settled();
  assert.deepEqual(
    journal.saidOf('order.result').map(({ body }) => body.outcome),
    ['executed', 'verified'],
  );
  assert.equal(pulled.at(-1), `remove ${targetId}`);
});
