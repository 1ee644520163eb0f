import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { replacementNames } from '../../../agent/orders/replace.ts';
import { containerSpec } from '../../../common/container-spec.ts';
import { makesContainer, wantedDigest } from '../../../common/enforcement/wanted.ts';
import { limits } from '../../../common/limits.ts';
import type { Order } from '../../../common/order.ts';
import { orderHash } from '../../../common/order.ts';
import { type Asked, ids, madeFor, makeOrder, nowMs, type Scene, startScene } from './scene.ts';

let scene: Scene;
let nonce = 0;
before(async () => {
  scene = await startScene();
});
after(() => scene.stop());
beforeEach(() => {
  scene.reached.length = 0;
  scene.containers.clear();
});

/** Each order is good for few calls, so every case has one of its own. */
function orderTo(action: Order['action']): Order {
  nonce++;
  const wanted = makesContainer(action) ? { wanted: wantedDigest(desired) } : {};
  return makeOrder({ action, nonce: nonce.toString(16).padStart(32, '0'), ...wanted });
}

const desired = {
  ...{ name: 'web', image: 'app:1', imageId: null },
  config: { command: ['run'], mem_limit: 1 << 20, volumes: ['/srv:/srv:ro'], labels: { tier: 'front' } },
  creation: {
    networks: [
      { name: 'back', aliases: [] },
      { name: 'front', aliases: ['web'] },
    ],
  },
};

function bodyFor(order: Order) {
  return containerSpec(desired, { labels: madeFor(order) }).body;
}

const { ordered, other, made } = ids;
const imageId = `sha256:${'d'.repeat(64)}`;
const filters = encodeURIComponent(JSON.stringify({ label: ['a=b'], type: ['container'] }));

/** What reaches the engine, and in which words; undefined where they are the client's. */
const reads: readonly (readonly [path: string, reaches?: string])[] = [
  ['/_ping'],
  ['/version'],
  ['/v1.41/version'],
  ['/version?', '/version'],
  ['/events'],
  [`/events?since=1700000000.123456&filters=${filters}`],
  ['/containers/json?all=true', '/containers/json?all=true'],
  [`/v1.43/containers/json?all=1&filters=${filters}`],
  ['/containers/json?filters=%7B%7D'],
  [`/containers/${ordered}/json`],
  [`/containers/${ordered}/logs?stdout=true&stderr=1&tail=200&timestamps=false&follow=0`],
  [`/containers/${ordered}/changes`],
  [`/images/${imageId}/json`],
  ['/images/nginx:1.27/json'],
  ['/images/registry.example:5000/team/app@sha256:00/json'],
  ['/networks/front'],
];

const refusedReads: readonly (readonly [path: string, code: string])[] = [
  ['/', 'request.call'],
  ['/info', 'request.call'],
  ['/v1.23/version', 'request.call'],
  ['/v2.0/version', 'request.call'],
  ['/v1.41/v1.41/version', 'request.call'],
  ['//version', 'request.call'],
  ['/version/', 'request.call'],
  ['/version?x=1', 'request.query'],
  ['/%76ersion', 'request.call'],
  ['/images/json', 'request.call'],
  ['/images/../containers/json', 'request.call'],
  ['/images/a/../../containers/json', 'request.call'],
  ['/images/a%2f..%2fx/json', 'request.call'],
  ['/images/a//b/json', 'request.call'],
  ['/images/a/get', 'request.call'],
  [`/containers/${ordered.slice(1)}/json`, 'request.call'],
  [`/containers/${ordered.toUpperCase()}/json`, 'request.call'],
  ['/containers/web/json', 'request.call'],
  [`/containers/${ordered}/json?size=1`, 'request.query'],
  [`/containers/${ordered}/logs?follow=1`, 'request.query'],
  [`/containers/${ordered}/logs?tail=all`, 'request.query'],
  [`/containers/${ordered}/archive?path=/etc`, 'request.call'],
  [`/containers/${ordered}/export`, 'request.call'],
  [`/containers/${ordered}/top`, 'request.call'],
  [`/containers/${ordered}/stats`, 'request.call'],
  [`/containers/${ordered}/attach/ws`, 'request.call'],
  ['/containers/json?all=true&all=true', 'request.query'],
  ['/containers/json?ALL=true', 'request.query'],
  ['/containers/json?all=true;limit=1', 'request.query'],
  ['/containers/json?all=t+ue', 'request.query'],
  ['/containers/json?all=%0atrue', 'request.query'],
  ['/containers/json?all=%zz', 'request.query'],
  ['/containers/json?all=%ff', 'request.query'],
  ['/containers/json?__proto__=1', 'request.query'],
  ['/containers/json?filters=%5B%5D', 'request.query'],
  ['/containers/json?filters=%7B%22a%22%3A1%7D', 'request.query'],
  ['/containers/json?all=true?all=true', 'request.query'],
  ['/volumes', 'request.call'],
  ['/networks', 'request.call'],
  ['/networks/front?verbose=1', 'request.query'],
  ['/networks/front/../../info', 'request.call'],
  ['/swarm', 'request.call'],
  ['/plugins', 'request.call'],
  ['/secrets', 'request.call'],
  ['/system/df', 'request.call'],
  ['/exec/x/json', 'request.call'],
];

describe('what only reads', () => {
  for (const [path, reaches = path] of reads) {
    test(`GET ${path} is passed on`, async () => {
      const { status, text } = await scene.ask({ method: 'GET', path });
      assert.deepEqual([status, text], [200, '{"from":"engine"}']);
      assert.deepEqual(
        scene.reached.map(({ method, url }) => [method, url]),
        [['GET', reaches]],
      );
      const [{ headers } = assert.fail()] = scene.reached;
      assert.deepEqual(headers, { host: 'engine', connection: 'close' });
    });
  }

  for (const [path, code] of refusedReads) {
    test(`GET ${path} is not`, async () => {
      const answer = await scene.ask({ method: 'GET', path });
      assert.deepEqual([answer.status, answer.code], [403, code]);
      assert.match(answer.text, /^\{"message":"/);
      assert.deepEqual(scene.reached, []);
    });
  }
});

type Change = Omit<Asked, 'order'> & { readonly by: readonly Order['action'][] };

/** A change, and the orders that permit it. The container that was made for the order is {@link made}. */
const changes = (order: Order): readonly Change[] => {
  const on = (id: string, verb: string, by: Change['by']): Change => {
    return { method: 'POST', path: `/v1.41/containers/${id}/${verb}`, by };
  };
  const replaces = ['restore', 'rollback'] as const;
  const { next, kept: aside } = replacementNames('web', orderHash(order));
  const body = bodyFor(order);
  const endpoint = { EndpointConfig: { Aliases: ['web'] } };
  return [
    on(ordered, 'kill', ['terminate']),
    on(ordered, 'kill?signal=SIGKILL', ['terminate']),
    { method: 'DELETE', path: `/containers/${ordered}?force=true&v=false`, by: ['terminate', ...replaces] },
    { method: 'DELETE', path: `/containers/${made}?force=1`, by: replaces },
    { method: 'DELETE', path: `/containers/${other}?force=1`, by: [] },
    { method: 'DELETE', path: `/containers/${ordered}?v=true`, by: [] },
    on(ordered, 'pause', ['quarantine', ...replaces]),
    on(ordered, 'unpause', ['release', ...replaces]),
    on(ordered, 'stop?t=10', ['quarantine', ...replaces]),
    on(ordered, 'stop?t=301', []),
    on(ordered, 'start', replaces),
    on(ordered, 'restart', []),
    on(ordered, 'start?detachKeys=a', []),
    on(ordered, `rename?name=${aside}`, replaces),
    on(ordered, `rename?name=${next}`, replaces),
    on(ordered, `rename?name=${next}0`, []),
    on(ordered, `rename?name=${next.slice(0, -1)}`, []),
    on(ordered, 'rename?name=db', []),
    on(ordered, 'rename', []),
    on(made, 'start', replaces),
    on(made, 'stop', replaces),
    on(made, 'rename?name=web', replaces),
    on(made, 'kill', []),
    on(made, 'pause', replaces),
    ...['start', 'stop', 'kill', 'pause', 'unpause', 'rename?name=web'].map((verb) => on(other, verb, [])),
    { ...on(ordered, 'update', replaces), body: { RestartPolicy: { Name: 'no', MaximumRetryCount: 0 } } },
    { ...on(made, 'update', replaces), body: { RestartPolicy: { Name: 'always' } } },
    { ...on(other, 'update', []), body: { RestartPolicy: { Name: 'no' } } },
    { ...on(ordered, 'update', []), body: { RestartPolicy: { Name: 'no' }, Memory: 0 } },
    { ...on(ordered, 'update', []), body: { RestartPolicy: { Name: 'no', CpuShares: 1 } } },
    { ...on(ordered, 'update', []), body: { RestartPolicy: { Name: 'sometimes' } } },
    { ...on(ordered, 'update', []), body: {} },
    ...['exec', 'attach', 'resize?h=1&w=1', 'update', 'wait', 'archive'].map((verb) => on(ordered, verb, [])),
    { method: 'POST', path: '/containers/create?name=web', body, by: replaces },
    { method: 'POST', path: `/containers/create?name=${next}`, body, by: replaces },
    { method: 'POST', path: '/containers/create?name=db', body, by: [] },
    { method: 'POST', path: '/containers/create', body, by: [] },
    { method: 'POST', path: '/containers/create?name=web', body: { ...body, Labels: { tier: 'front' } }, by: [] },
    {
      method: 'POST',
      path: '/networks/front/disconnect',
      body: { Container: ordered, Force: true },
      by: ['quarantine'],
    },
    { method: 'POST', path: '/networks/front/disconnect', body: { Container: other }, by: [] },
    {
      method: 'POST',
      path: '/networks/front/connect',
      body: { Container: ordered, ...endpoint },
      by: ['release', ...replaces],
    },
    { method: 'POST', path: '/networks/front/connect', body: { Container: made, ...endpoint }, by: replaces },
    { method: 'POST', path: '/networks/front/connect', body: { Container: 'web' }, by: [] },
    { method: 'POST', path: '/networks/other/connect', body: { Container: made, ...endpoint }, by: [] },
    { method: 'POST', path: '/networks/front/connect', body: { Container: made }, by: [] },
    { method: 'POST', path: '/networks/create', body: { Name: 'x' }, by: [] },
    { method: 'POST', path: '/images/load?quiet=1', stream: [Buffer.alloc(9_000, 1)], by: replaces },
    { method: 'POST', path: `/images/${imageId}/tag?repo=nginx&tag=latest`, by: [] },
    { method: 'POST', path: `/images/${imageId}/tag?repo=sigilwatch%2Fgood&tag=eeeeeeeeeeee`, by: [] },
    { method: 'POST', path: '/images/nginx/tag?repo=sigilwatch%2Fgood&tag=dddddddddddd', by: [] },
    { method: 'DELETE', path: '/images/sigilwatch/good:dddddddddddd', by: [] },
    { method: 'DELETE', path: '/images/sigilwatch/good:dddddddddddd?noprune=0', by: [] },
    { method: 'DELETE', path: '/images/sigilwatch/good:dddddddddddd?noprune=1&force=1', by: [] },
    { method: 'DELETE', path: '/images/sigilwatch/good:web-1?noprune=1', by: [] },
    { method: 'DELETE', path: '/images/nginx:1.27', by: [] },
    { method: 'DELETE', path: `/images/${imageId}`, by: [] },
    { method: 'POST', path: '/images/create?fromImage=nginx', by: [] },
    { method: 'POST', path: '/images/prune', by: [] },
    { method: 'POST', path: '/images/nginx/push', by: [] },
    { method: 'POST', path: '/build', by: [] },
    { method: 'POST', path: `/commit?container=${ordered}`, by: [] },
    { method: 'POST', path: '/volumes/create', body: {}, by: [] },
    { method: 'DELETE', path: '/volumes/data', by: [] },
    { method: 'POST', path: '/swarm/init', body: {}, by: [] },
    { method: 'POST', path: '/plugins/pull', by: [] },
    { method: 'POST', path: '/session', by: [] },
    { method: 'POST', path: '/exec/x/start', body: {}, by: [] },
    { method: 'POST', path: '/auth', body: {}, by: [] },
  ];
};

describe('what changes something', () => {
  for (const action of ['terminate', 'restore', 'rollback', 'quarantine', 'release'] as const) {
    for (const [at, { method, path, by }] of changes(orderTo(action)).entries()) {
      const passes = by.includes(action);
      const shown = `${method} ${path.replaceAll(ordered, 'ORDERED').replaceAll(made, 'MADE').replaceAll(other, 'OTHER')}`;
      test(`case ${at}: an order to ${action} ${passes ? 'permits' : 'does not permit'} ${shown}`, async () => {
        const order = orderTo(action);
        scene.containers.set(made, { name: 'web', labels: madeFor(order), isRunning: true, mounted: [] });
        scene.containers.set(other, { name: 'db', labels: madeFor(orderTo(action)), isRunning: true, mounted: [] });
        const change = changes(order)[at] ?? assert.fail();
        const { status, code } = await scene.ask({ ...change, order, wanted: desired });
        assert.equal(status, passes ? 200 : 403, String(code));
        assert.equal(scene.reached.length, passes ? 1 : 0);
        const [came] = scene.reached;
        assert.deepEqual(
          [came?.headers['x-sigilwatch-order'], came?.headers['x-sigilwatch-wanted']],
          [undefined, undefined],
        );
        if (passes && change.body !== undefined) assert.deepEqual(JSON.parse(`${came?.body}`), change.body);
        if (passes && change.stream !== undefined) assert.deepEqual(came?.body, Buffer.concat(change.stream));
      });
    }
  }

  test('nothing of it passes without an order, not even to be told what is wrong with it', async () => {
    const order = orderTo('rollback');
    for (const { by: _, ...change } of changes(order)) {
      const { status, code } = await scene.ask(change);
      assert.equal(status, 403);
      assert.ok(['order.missing', 'request.call', 'request.query'].includes(`${code}`), `${code} ${change.path}`);
    }
    assert.deepEqual(scene.reached, []);
  });

  test('a client may repeat its parameters in a body, which the engine does not get', async () => {
    const order = orderTo('rollback');
    const body = { t: 10 };
    const { status } = await scene.ask({ method: 'POST', path: `/containers/${ordered}/stop?t=10`, body, order });
    assert.deepEqual(
      [status, scene.reached[0]?.body.length, scene.reached[0]?.headers['content-length']],
      [200, 0, '0'],
    );
  });
});

describe('an image that is good', () => {
  const tag = { method: 'POST', path: `/images/${imageId}/tag?repo=sigilwatch%2Fgood&tag=dddddddddddd`, body: {} };
  const untag = { method: 'DELETE', path: '/images/sigilwatch/good:dddddddddddd?noprune=true' };

  test('is kept by the first digits of its id, and let go of, without an order', async () => {
    for (const asked of [tag, untag]) assert.equal((await scene.ask(asked)).status, 200);
    assert.deepEqual(
      scene.reached.map(({ method, url, body }) => [method, url, body.length]),
      [
        ['POST', tag.path, 0],
        ['DELETE', untag.path, 0],
      ],
    );
  });

  test('is kept at a rate, so that nobody can keep the engine busy with it', async () => {
    const codes = new Set<unknown>();
    for (let i = 0; i < limits.executorTagsPerMinute; i++) codes.add((await scene.ask(untag)).code);
    assert.deepEqual([...codes], [undefined, 'busy']);
    scene.setNow(nowMs + 60_000);
    assert.equal((await scene.ask(tag)).status, 200);
    scene.setNow(nowMs);
  });
});
