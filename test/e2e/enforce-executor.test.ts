import assert from 'node:assert/strict';
import { once } from 'node:events';
import http, { type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { z } from 'zod';
import { orderHeader } from '../../agent/executor/order-header.ts';
import { replacementNames } from '../../agent/orders/replace.ts';
import { containerSpec } from '../../common/container-spec.ts';
import { wantedText } from '../../common/enforcement/wanted.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import { parseManifest } from '../../common/manifest/manifest.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import { type SshSigners, sshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import {
  executorSocket,
  makeManifestRepository,
  makeTemporaryFolder,
  type Program,
  type RunningCollector,
  startCollector,
  startExecutor,
} from '../system.ts';
import { until } from '../until.ts';
import {
  actsAtOnce,
  type EnforcedNode,
  eventually,
  orderWhere,
  otherImage,
  outcomesOf,
  sleeping,
  startEnforcedNode,
  told,
  wantedImage,
} from './enforce-world.ts';
import { tearDown } from './fleet.ts';

/** A node as it is under systemd: the executor holds the engine's socket, and the agent has only what that serves. */
const folder = makeTemporaryFolder('sgw-ex-');
const needsKeys = { skip: withoutSshKeygen() };
/** Ends when it is asked to, which a program that is the first in its container has to want. */
const yielding = ['/bin/busybox', 'sh', '-c', 'trap "exit 0" TERM; /bin/busybox sleep 86400 & wait'];
const app = { node: 'lyra', image: wantedImage, command: sleeping };
/** Tells sooner than the time without it that a container has come up. */
const healthcheck = { test: ['CMD', '/bin/busybox', 'true'], interval: '500ms' };
const manifestText = stringify({
  ...actsAtOnce,
  governance: { ...actsAtOnce.governance, approvers: ['alice'] },
  containers: [
    { ...app, name: 'web' },
    {
      ...{ ...app, name: 'shop', healthcheck, ports: ['127.0.0.1::8080'], volumes: ['shop-data:/data'] },
      ...{ environment: { MODE: 'production' }, cap_drop: ['NET_RAW'], user: '0:0' },
    },
    { ...app, name: 'store', healthcheck },
  ],
});

let postgres: TestPostgres;
let people: SshSigners;
let collector: RunningCollector;
let node: EnforcedNode;
let executor: Program;
let served: string;

before(async () => {
  if (needsKeys.skip !== false) return;
  people = await sshSigners({ alice: 'alice' });
  const manifest = makeManifestRepository(join(folder.path, 'manifest'), manifestText, people.keyFile('alice'));
  postgres = await startPostgres();
  const trust = { SIGILWATCH_MANIFEST_ALLOWED_SIGNERS: people.allowedSigners };
  const database = { DATABASE_URL: await postgres.migratedDatabase() };
  const env = { ...trust, ...database, SIGILWATCH_MANIFEST_REPOSITORY: manifest.path };
  collector = await startCollector({ dir: join(folder.path, 'collector'), env });
  node = await startEnforcedNode(collector, {
    ...{ name: 'lyra', folder: folder.path, manifest: manifest.path, env: trust, through },
    runs: async (engine) => {
      await engine.run({ name: 'web', image: wantedImage, cmd: sleeping });
      await engine.run({ name: 'store', image: otherImage, cmd: yielding });
      await engine.run({ name: 'rogue', image: otherImage, cmd: sleeping });
    },
  });
});
after(async () => {
  await tearDown();
  await postgres?.stop();
  await people?.remove();
});

async function through({ dir, socketPath }: { readonly dir: string; readonly socketPath: string }) {
  executor = await startExecutor({ node: 'lyra', dir, engine: socketPath });
  served = executorSocket(dir);
  return served;
}

/** Waits until an order on this container has shown its effect. */
function done(container: string, action: string) {
  const isDone = (order: { readonly action: string; readonly status: string }) =>
    order.action === action && order.status === 'verified';
  return orderWhere(collector, { node: 'lyra', container }, isDone);
}

test('through the executor rules are answered: terminate, restore, rollback', needsKeys, async () => {
  const stories = await Promise.all([done('rogue', 'terminate'), done('shop', 'restore'), done('store', 'rollback')]);
  for (const story of stories) assert.deepEqual(outcomesOf(story), ['executed', 'verified'], story.action);
  const shop = await node.container('shop');
  assert.deepEqual([shop.container.state, shop.config.volumes], ['running', ['shop-data:/data:rw']]);
  assert.equal((await node.container('store')).container.image, wantedImage);
  const names = (await node.containers()).map(({ container }) => container.name);
  assert.deepEqual(names.sort(), ['shop', 'store', 'web']);
});

test(
  'those who took over the agent make nothing but what an order commits to, while it is in force',
  needsKeys,
  async () => {
    const { hash } = await done('shop', 'restore');
    const order = await issued(hash);
    const [, shop = assert.fail()] = compileDesired(parseManifest(manifestText), 'lyra').containers;
    const { body } = containerSpec(shop, { labels: { 'sigilwatch.order': hash } });
    const { next } = replacementNames('shop', hash);
    const said = { ...order, 'X-Sigilwatch-Wanted': Buffer.from(wantedText(shop)).toString('base64') };
    const create = (description: object, headers: http.OutgoingHttpHeaders = said) =>
      ask('POST', `/containers/create?name=${next}`, headers, description);
    const { HostConfig: host } = body;
    const wicked: readonly object[] = [
      { ...body, HostConfig: { ...host, Privileged: true } },
      { ...body, HostConfig: { ...host, Binds: [...(host.Binds ?? []), '/:/host'] } },
      { ...body, HostConfig: { ...host, PidMode: 'host' } },
      { ...body, Image: otherImage },
      { ...body, User: '1000' },
    ];
    for (const description of wicked) {
      const { status, answer } = await create(description);
      assert.deepEqual([status, codeOf(answer)], [403, 'order.wanted'], JSON.stringify(description));
    }
    assert.equal(codeOf((await create(body, order)).answer), 'order.wanted');
    assert.equal(codeOf((await create(body, {})).answer), 'order.missing');

    // The order itself is good: nothing but what it commits to has kept the others out.
    const { status, answer } = await create(body);
    assert.equal(status, 201, answer);
    const { Id: id } = z.object({ Id: z.string() }).parse(JSON.parse(answer));
    assert.equal((await ask('DELETE', `/containers/${id}?force=true`, said)).status, 204);
  },
);

test('through the executor an operator has a container put into quarantine, and released', needsKeys, async () => {
  const { container } = await node.container('web');
  for (const [action, state] of [
    ['quarantine', 'paused'],
    ['release', 'running'],
  ] as const) {
    const signed = ['--as', 'alice', '--key', people.keyFile('alice'), '--allowed-signers', people.allowedSigners];
    const about = ['--node', 'lyra', '--action', action, '--container', 'web', '--reason', 'looked at'];
    await told(collector, 'orders', 'issue', ...about, '--confirm', 'web', ...signed);
    const isDone = async () => (await node.container('web')).container.state === state;
    await eventually(`it is ${state}`, isDone);
    await orderWhere(collector, { node: 'lyra', container: 'web' }, (order) => {
      return order.action === action && ['executed', 'verified'].includes(order.status);
    });
  }
  assert.equal((await node.container('web')).container.id, container.id);
});

test('the executor has refused nothing that the agent asked for', needsKeys, async () => {
  const counts = z.object({ passed: z.record(z.string(), z.number()), refused: z.record(z.string(), z.number()) });
  const counted = async () => counts.parse(JSON.parse((await ask('GET', '/sigilwatch/counts', {})).answer));
  // They are tagged after a complete look, of which there is one a minute.
  await until('good images are kept', async () => ((await counted()).passed.tag ?? 0) > 0, 90_000);
  assert.deepEqual((await counted()).refused, { 'order.wanted': 6, 'order.missing': 1 });
  await executor.stop();
});

/** The header of an order as it is in the ledger, which a taken-over agent has as well. */
async function issued(hash: string): Promise<http.OutgoingHttpHeaders> {
  const row = z.object({ leaf_hash: z.string(), signature: z.string(), entry: z.record(z.string(), z.unknown()) });
  const { hash: full, index } = await collector.api(
    `/api/v1/orders/${hash}`,
    z.object({ hash: z.string(), index: z.number() }),
  );
  assert.equal(full, hash);
  const rows = await collector.list('/api/v1/entries?kind=order.issued', row.extend({ index: z.number() }));
  const found = rows.find((one) => one.index === index) ?? assert.fail('it is not in the ledger');
  return orderHeader({ text: JSON.stringify(found.entry), signature: found.signature });
}

async function ask(method: string, path: string, headers: http.OutgoingHttpHeaders, body?: object) {
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const described = sent === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': sent.length };
  const request = http.request({
    socketPath: served,
    method,
    path,
    agent: false,
    headers: { ...headers, ...described },
  });
  request.end(sent);
  const [response]: IncomingMessage[] = await once(request, 'response');
  if (response === undefined) throw new Error('no answer');
  return { status: response.statusCode, answer: await text(response) };
}

function codeOf(answer: string): unknown {
  return z.object({ code: z.unknown() }).parse(JSON.parse(answer)).code;
}
