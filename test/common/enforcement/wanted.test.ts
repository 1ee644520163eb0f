import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { manualOrder } from '../../../collector/enforcement/manual.ts';
import { type Circumstances, refusalOf } from '../../../common/enforcement/permission.ts';
import {
  digestsOf,
  makesContainer,
  wantedDigest,
  wantedIn,
  wantedOf,
  wantedText,
} from '../../../common/enforcement/wanted.ts';
import { compileDesired, containersOn } from '../../../common/manifest/compile.ts';
import { parseManifest } from '../../../common/manifest/manifest.ts';
import { type Order, orderActions, orderHash, orderSchema } from '../../../common/order.ts';
import { inForce, orderingManifest } from '../../orders.ts';
import { circumstances, orderFor, rogue } from './ground.ts';

const text = `${orderingManifest}
containers:
  - name: web
    node: lyra
    image: app:1
    command: [serve, --password, hunter2]
    entrypoint: [/bin/hunter3]
    environment: { DB_PASSWORD: hunter4 }
    labels: { auth: hunter5 }
    healthcheck: { test: [CMD, ping, hunter6] }
    volumes: [/srv:/srv:ro]
    privileged: true
`;
const manifest = parseManifest(text);
const [web = assert.fail()] = compileDesired(manifest, 'lyra').containers;

describe('what an order commits to', () => {
  test('is the host side of what is wanted, and nothing that may be a secret', () => {
    const said = wantedText(web);
    assert.equal(/hunter/.test(said), false, said);
    assert.deepEqual(JSON.parse(said), {
      Image: 'app:1',
      HostConfig: { Binds: ['/srv:/srv:ro'], Privileged: true },
      Env: ['DB_PASSWORD'],
      Labels: ['auth'],
      ConnectTo: [],
    });
    const others = { ...web, config: { ...web.config, command: ['other'], environment: { DB_PASSWORD: 'x' } } };
    assert.equal(wantedDigest(others), wantedDigest(web));
    assert.notEqual(wantedDigest({ ...web, imageId: `sha256:${'a'.repeat(64)}` }), wantedDigest(web));
  });

  test('is said by orders that make a container, of what their node is to have', () => {
    const digests = wantedIn(containersOn(manifest));
    for (const action of orderActions) {
      const expected = makesContainer(action) ? { wanted: wantedDigest(web) } : {};
      assert.deepEqual(wantedOf({ node: 'lyra', action, container: 'web' }, digests), expected);
      for (const elsewhere of [{ node: 'node1' }, { container: 'db' }]) {
        assert.deepEqual(wantedOf({ node: 'lyra', action, container: 'web', ...elsewhere }, digests), {});
      }
    }
    const facts = { nodes: [{ node: 'lyra', adopted: null, containers: 3 }], containers: [], by: 'anna', nowMs: 0 };
    const wish = { node: 'lyra', action: 'restore', container: 'web', reason: 'gone' } as const;
    const order = manualOrder(wish, { ...facts, manifest: inForce(text), nonce: Buffer.alloc(16) });
    assert.equal(orderSchema.parse(order).wanted, wantedDigest(web));
  });

  test('is held by the node against its own manifest', () => {
    const missing = { ...rogue, id: 'MISSING_CONTAINER/web', kind: 'MISSING_CONTAINER', container: 'web' } as const;
    const restoring: Partial<Order> = { action: 'restore', containerId: null };
    const at = (containers: (typeof web)[]): Circumstances =>
      circumstances({
        drifts: new Map([[missing.id, { drift: missing, sinceMs: 0 }]]),
        target: undefined,
        wanted: digestsOf(containers),
      });
    const code = (said: Partial<Order>, containers = [web]) =>
      refusalOf(orderFor(missing, { ...restoring, ...said }), at(containers))?.code;
    assert.equal(code({ wanted: wantedDigest(web) }), undefined);
    assert.equal(code({}), undefined, 'an order of before');
    assert.equal(code({ wanted: 'e'.repeat(64) }), 'rule');
    assert.equal(code({ wanted: wantedDigest(web) }, []), 'rule');
    assert.equal(code({ wanted: wantedDigest(web) }, [{ ...web, image: 'app:2' }]), 'rule');
  });

  test('is part of the name of an order, and orders of before keep theirs', () => {
    const before = orderFor(rogue);
    assert.deepEqual(orderSchema.parse(before), before);
    assert.equal(orderHash(before), 'a36d8023c4d78b60d635b8a623442760d6ae03bc96a0ba7a9e095bd613e25c96');
    assert.notEqual(orderHash({ ...before, wanted: wantedDigest(web) }), orderHash(before));
    assert.equal(orderSchema.safeParse({ ...before, wanted: undefined }).success, false);
  });
});
