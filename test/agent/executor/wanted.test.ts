import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { type CreateBody, containerSpec } from '../../../common/container-spec.ts';
import type { DesiredContainer } from '../../../common/desired.ts';
import { wantedDigest } from '../../../common/enforcement/wanted.ts';
import type { Order } from '../../../common/order.ts';
import { ids, madeFor, makeOrder, type Scene, startScene } from './scene.ts';

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

const desired: DesiredContainer = {
  ...{ name: 'web', image: 'app:1', imageId: null },
  config: {
    ...{ command: ['run'], entrypoint: ['/bin/sh'], user: '1000', ports: ['8080->80/tcp'], cap_drop: ['ALL'] },
    ...{
      volumes: [':/cache:rw', '/srv:/srv:ro'],
      environment: { A: '1', PASSWORD: 'secret' },
      labels: { tier: 'front' },
    },
    ...{ restart_policy: 'on-failure:3', mem_limit: 1 << 20, cpus: 500 },
  },
  creation: {
    networks: [{ name: 'front', aliases: ['www'], ipv4_address: '10.0.0.2' }],
    tmpfs: [{ target: '/tmp', options: '' }],
    healthcheck: { test: ['CMD', 'true'] },
  },
};

function orderFor(wanted: DesiredContainer | undefined, differing: Partial<Order> = {}): Order {
  nonce++;
  const commits = wanted === undefined ? {} : { wanted: wantedDigest(wanted) };
  return makeOrder({ action: 'rollback', nonce: nonce.toString(16).padStart(32, '0'), ...commits, ...differing });
}

function create(order: Order, body: unknown, wanted: DesiredContainer | undefined = desired) {
  return scene.ask({ method: 'POST', path: '/containers/create?name=web', order, body, wanted });
}

function bodyOf(order: Order, wanted = desired, mounted: readonly string[] = []): CreateBody {
  return containerSpec(wanted, { labels: madeFor(order), mounted }).body;
}

/** What those who took over the agent might want beside what the order is about. */
const others: readonly (readonly [what: string, body: (body: CreateBody) => unknown])[] = [
  ['privileges', (body) => withHost(body, { Privileged: true })],
  ['a capability', (body) => withHost(body, { CapAdd: ['SYS_ADMIN'] })],
  ['all capabilities', (body) => withHost(body, { CapDrop: [] })],
  ['a folder of the node', (body) => withHost(body, { Binds: ['/srv:/srv:ro', '/:/host:rw'] })],
  ['a folder that it may write to', (body) => withHost(body, { Binds: ['/srv:/srv:rw'] })],
  ['another folder', (body) => withHost(body, { Binds: ['/etc:/srv:ro'] })],
  ['a mount of another kind', (body) => withHost(body, { Mounts: [{ Type: 'bind', Source: '/', Target: '/host' }] })],
  ['the network of the host', (body) => withHost(body, { NetworkMode: 'host' })],
  ['another port', (body) => withHost(body, { PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '22' }] } })],
  ['all ports', (body) => withHost(body, { PublishAllPorts: true })],
  ['a device', (body) => withHost(body, { Devices: [{ PathOnHost: '/dev/sda' }] })],
  ['processes of the host', (body) => withHost(body, { PidMode: 'host' })],
  ['volumes of another', (body) => withHost(body, { VolumesFrom: ['db'] })],
  ['no limit of memory', (body) => withHost(body, { Memory: 0 })],
  ['a security profile', (body) => withHost(body, { SecurityOpt: ['seccomp=unconfined'] })],
  ['a host side in another spelling', (body) => ({ ...body, hostconfig: { Privileged: true } })],
  ['a host side in another alphabet', (body) => ({ ...body, HoſtConfig: { Privileged: true } })],
  ['no host side', ({ HostConfig: _, ...body }) => body],
  ['a host side that is a list', (body) => ({ ...body, HostConfig: [] })],
  ['another image', (body) => ({ ...body, Image: 'app:2' })],
  ['another user', (body) => ({ ...body, User: '0' })],
  ['no user', ({ User: _, ...body }) => body],
  ['another address', (body) => ({ ...body, NetworkingConfig: { EndpointsConfig: { front: { Aliases: ['www'] } } } })],
  ['another network', (body) => ({ ...body, NetworkingConfig: { EndpointsConfig: { db: {} } } })],
  ['a variable', (body) => ({ ...body, Env: [...(body.Env ?? []), 'LD_PRELOAD=/srv/x.so'] })],
  ['a label', (body) => ({ ...body, Labels: { ...body.Labels, 'traefik.enable': 'true' } })],
  ['no label of what is wanted', ({ Labels, ...body }) => ({ ...body, Labels: { ...Labels, tier: undefined } })],
  ['labels in another spelling', (body) => ({ ...body, labels: {} })],
  ['variables that are none', (body) => ({ ...body, Env: [1] })],
  ['volumes', (body) => ({ ...body, Volumes: { '/data': {} } })],
  ['a folder to work in', (body) => ({ ...body, WorkingDir: '/' })],
  ['no end of depth', () => Buffer.from(`{"Env":${'['.repeat(200_000)}${']'.repeat(200_000)}}`)],
  ['a list', (body) => [body]],
  ['nothing', () => Buffer.alloc(0)],
  ['no JSON', () => Buffer.from('{"Image":')],
  ['no UTF-8', () => Buffer.from('{"Image":"\xff"}', 'latin1')],
  ['too much', (body) => ({ ...body, Cmd: ['x'.repeat(600_000)] })],
];

function withHost(body: CreateBody, host: object) {
  return { ...body, HostConfig: { ...body.HostConfig, ...host } };
}

describe('a container is made as its order commits to', () => {
  test('when the manifest wants it so, whatever secrets it is given', async () => {
    const order = orderFor(desired);
    const Labels = { ...bodyOf(order).Labels, 'com.docker.compose.project': 'shop' };
    const body = { ...bodyOf(order), Labels, Env: ['PASSWORD=other', 'A=2'], Cmd: ['other'] };
    assert.equal((await create(order, body)).status, 200);
    assert.deepEqual(JSON.parse(`${scene.reached[0]?.body}`), body);
  });

  for (const [what, change] of others) {
    test(`and not with ${what}`, async () => {
      const order = orderFor(desired);
      const { status, code } = await create(order, change(bodyOf(order)));
      assert.equal(status, 403);
      assert.match(`${code}`, /^(order\.wanted|request\.(body|size))$/);
      assert.deepEqual(scene.reached, []);
    });
  }

  test('and not by an order that commits to nothing, or to another container, or that says too little', async () => {
    const elsewhere = { ...desired, image: 'app:2' };
    const codes = [];
    for (const [committed, said] of [
      [undefined, desired],
      [elsewhere, desired],
      [desired, elsewhere],
      [desired, undefined],
    ]) {
      const order = orderFor(committed);
      codes.push((await scene.ask({ ...createOf(bodyOf(order)), order, wanted: said })).code);
    }
    assert.deepEqual(codes, Array(4).fill('order.wanted'));
    assert.deepEqual(scene.reached, []);
  });

  test('of two members with one name the engine gets the one that was looked at', async () => {
    const plain: DesiredContainer = { name: 'web', image: 'app:1', imageId: null, config: {}, creation: {} };
    const order = orderFor(plain);
    const labels = JSON.stringify(madeFor(order));
    const rest = `"HostConfig":{},"Labels":${labels}`;
    await create(order, Buffer.from(`{"Image":"evil","Labels":{"x":"y"},"Image":"app:1",${rest}}`), plain);
    assert.equal(scene.reached[0]?.body.toString(), `{"Image":"app:1","Labels":${labels},"HostConfig":{}}`);
  });

  test('a relative source is what the container that is replaced has mounted there, and nothing else', async () => {
    const relative: DesiredContainer = { ...desired, config: { volumes: ['./data:/data:rw'] } };
    const codes = [];
    for (const [source, mounted, containerId] of [
      ['/home/web/data', ['/home/web/data:/data:rw'], ids.ordered],
      ['/', ['/home/web/data:/data:rw'], ids.ordered],
      ['/home/web/data', ['/home/web/data:/data:ro'], ids.ordered],
      ['/home/web/data', undefined, ids.ordered],
      ['/home/web/data', ['/home/web/data:/data:rw'], null],
    ] as const) {
      const action = containerId === null ? 'restore' : 'rollback';
      const order = orderFor(relative, { containerId, action });
      scene.containers.clear();
      if (mounted !== undefined) {
        scene.containers.set(ids.ordered, { name: 'web', labels: {}, isRunning: true, mounted });
      }
      codes.push((await create(order, bodyOf(order, relative, [`${source}:/data:rw`]), relative)).code);
    }
    assert.deepEqual(codes, [undefined, ...Array(4).fill('order.wanted')]);
  });

  function createOf(body: unknown) {
    return { method: 'POST', path: '/containers/create?name=web', body };
  }
});
