import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { cp, readdir, rm } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import WebSocket, { WebSocketServer } from 'ws';
import type { AgentStatus } from '../../agent/health/status.ts';
import { enrolPath } from '../../common/enrol.ts';
import { fingerprint, generateKeyPair } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { manifestFile } from '../../common/manifest/manifest.ts';
import { type AgentMessage, socketPath, subprotocol } from '../../common/protocol.ts';
import { flipByte, makeStore, makeTemporaryFolder, manifestText, startNode } from '../system.ts';
import { until } from '../until.ts';
import { type Fleet, type FleetNode, running, secret, shown, startFleet, tearDown, wantedOn } from './fleet.ts';
import { assertSaidOnce, assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { caughtUp, entryWhere, goesOn, statusWhere } from './waiting.ts';

const folder = makeTemporaryFolder('sgw-bad-');
const offEveryClock =
  process.env.SIGILWATCH_TEST_LONG === '1' ? ['+10m', '-10m', '+3653d', '-3653d'] : ['+10m', '-3653d'];
const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const wanted = ['web'];
let fleet: Fleet;

/** Nothing is ever wrong with this one; whatever happens to the others, it goes on. */
const bystander = (): FleetNode => fleet.node('lyra');

before(async () => {
  fleet = await startFleet({ dir: folder.path, nodes: ['lyra'], wanted });
});

after(tearDown);

/** The agent is cut off and killed with entries waiting. @returns how many are numbered */
async function killWithEntriesWaiting(node: FleetNode): Promise<number> {
  node.wire.refuse(true);
  node.wire.cutAll();
  await node.api.remove(await node.api.run(running('while-cut-off')));
  const { outbox } = await statusWhere(node, 'entries wait', ({ outbox }) => outbox.depth >= 5);
  await node.agent.kill9();
  return outbox.headSeq;
}

async function cameBack(node: FleetNode): Promise<void> {
  await node.agent.restart();
  node.wire.refuse(false);
  await caughtUp(node);
  await goesOn(fleet, node);
  await goesOn(fleet, bystander());
}

const quarantines = ({ dir }: FleetNode) => readdirSync(dir).filter((name) => name.startsWith('outbox.corrupt-'));

test('an outbox that LevelDB cannot open is put aside, and what was in it is still sent', async () => {
  const node = await fleet.add('corrupt1');
  await caughtUp(node);
  const head = await killWithEntriesWaiting(node);
  writeFileSync(join(node.dir, 'outbox/CURRENT'), 'MANIFEST-999999\n');
  await cameBack(node);
  assert.equal(quarantines(node).length, 1);
  const { salvaged } = await entryWhere(fleet, { author: node.name, kind: 'outbox.recovered' });
  assert.ok(typeof salvaged === 'number' && salvaged >= 5, `salvaged ${salvaged}`);
  const { link } = await node.agent.status();
  assert.ok(link.ackedSeq > head, 'nothing was numbered anew that had been numbered');
});

test('an outbox whose log lost its end is put aside, and the chain goes on without a gap', async () => {
  const node = await fleet.add('corrupt2');
  await caughtUp(node);
  await killWithEntriesWaiting(node);
  const log = readdirSync(join(node.dir, 'outbox')).find((name) => name.endsWith('.log'));
  truncateSync(join(node.dir, 'outbox', log ?? ''), 100);
  await cameBack(node);
  assert.equal(quarantines(node).length, 1);
  await entryWhere(fleet, { author: node.name, kind: 'outbox.recovered' });
});

test('an outbox of random bytes is put aside, and so is one that is a file', async () => {
  const node = await fleet.add('corrupt3');
  await caughtUp(node);
  await node.agent.kill9();
  for (const name of await readdir(join(node.dir, 'outbox'))) {
    if (name !== 'LOCK') writeFileSync(join(node.dir, 'outbox', name), Buffer.alloc(5_000, 0xa5));
  }
  await cameBack(node);
  assert.equal(quarantines(node).length, 1);
  await node.agent.stop();
  await rm(join(node.dir, 'outbox'), { recursive: true });
  writeFileSync(join(node.dir, 'outbox'), 'not a folder');
  await cameBack(node);
  assert.equal(quarantines(node).length, 2);
});

test('stores that are missing, corrupt or none at all are told by name, and the others are still checked', async () => {
  const paths = {
    missing: join(folder.path, 'stores/missing'),
    nostore: join(folder.path, 'stores/photos'),
    file: join(folder.path, 'stores/file'),
    broken: join(folder.path, 'stores/broken'),
    flipped: join(folder.path, 'stores/flipped'),
  };
  mkdirSync(paths.nostore, { recursive: true });
  writeFileSync(join(paths.nostore, 'photo.jpg'), 'a photo');
  writeFileSync(paths.file, 'a file');
  for (const dir of [paths.broken, paths.flipped]) await makeStore(dir, { records: 2_000, tenant: 'lyra', secret });
  writeFileSync(join(paths.broken, 'CURRENT'), 'garbage');
  const { file, offset } = flipByte(paths.flipped);
  const node = await fleet.add('stores', { stores: paths });
  const done = await statusWhere(node, 'all stores are judged', ({ stores }) =>
    stores.every(({ status }) => status !== 'pending'),
  );
  const said = Object.fromEntries(done.stores.map((store) => [store.store, store]));
  assert.equal(said.main?.status, 'ok');
  for (const name of ['missing', 'nostore', 'file'] as const) {
    assert.equal(said[name]?.status, 'unreadable', name);
    assert.match(said[name]?.error ?? '', new RegExp(paths[name]), `${name} is named`);
  }
  assert.notEqual(said.broken?.status, 'ok');
  assert.equal(said.flipped?.status, 'findings');
  // The agent knows before the ledger does.
  await until(
    'the flipped byte is in the ledger, with its place',
    async () => {
      const findings = await fleet.collector.list('/api/v1/findings?node=stores&store=flipped', shown.finding);
      const place = findings.map(({ finding }) => finding).find((finding) => finding.file === file);
      return place !== undefined && (place.offset ?? 0) <= offset;
    },
    90_000,
  );
  await goesOn(fleet, node);
  await makeStore(paths.missing, { records: 10, tenant: 'lyra', secret });
  await statusWhere(node, 'the missing store came', ({ stores }) =>
    stores.some(({ store, status }) => store === 'missing' && status === 'ok'),
  );
});

test('a manifest with a mistake changes nothing, and file, line and reason are on record', async () => {
  const node = bystander();
  const { commit: good } = await statusWhere(node, 'a manifest is in force', ({ commit }) => commit !== null);
  const line = 3;
  const broken: [string, RegExp][] = [
    ['nodes:\n  - name: lyra\n  bad: [\n', /./],
    ['nodes: []\ncontainers:\n  - name: a\n    imagee: b\n', /imagee|image/],
  ];
  for (const [text, reason] of broken) {
    const commit = fleet.manifest.commit(text);
    const told = await entryWhere(
      fleet,
      { author: node.name, kind: 'desired.rejected' },
      (body) => body.commit === commit,
    );
    assert.equal(told.file, manifestFile);
    assert.ok(typeof told.line === 'number' && told.line >= line, `line ${told.line}`);
    assert.match(String(told.reason), reason);
    assert.equal((await node.agent.status()).commit, good, 'the last good one stays in force');
    await goesOn(fleet, node);
  }
  await node.agent.restart();
  assert.equal((await node.agent.status()).commit, good, 'also over a restart');
  const next = fleet.manifest.commit(manifestText([wantedOn('lyra', 'web'), wantedOn('lyra', 'db')]));
  await statusWhere(node, 'the next good one is in force', ({ commit }) => commit === next);
  await entryWhere(fleet, { author: node.name, kind: 'drift.opened' }, ({ drift }) =>
    JSON.stringify(drift).includes('MISSING_CONTAINER/lyra-db'),
  );
});

test('wrong tokens get nowhere: not to a place in the fleet, not to the API', async () => {
  const { collector } = fleet;
  const dir = join(folder.path, 'stranger');
  const enrol = async (token: string) => {
    const flags = ['--collector', collector.url, '--node', 'stranger', '--token', token];
    return bystander().agent.cli('--data-dir', dir, '--json', 'enroll', ...flags);
  };
  const other = await collector.cli('--json', 'nodes', 'token', 'somebody-else');
  const { token } = JSON.parse(other.stdout);
  const { exitCode, stderr } = await enrol(String(token).replace(/_[^.]+/, `_${'a'.repeat(43)}`));
  assert.equal(exitCode, 4, stderr);
  assert.match(stderr, /the join token is not valid for stranger/);
  const misused = await enrol(token);
  assert.equal(misused.exitCode, 4, misused.stderr);
  assert.match(misused.stderr, /nodes token stranger/, 'the fix is named');
  for (const [authorization, code] of [
    [undefined, 'auth.required'],
    ['Bearer nonsense', 'auth.token'],
    [`Bearer ${collector.token.slice(0, -1)}x`, 'auth.token'],
  ] as const) {
    for (const path of ['/api/v1/nodes', '/log/checkpoint', '/metrics', '/ready']) {
      const answer = await fetch(collector.url + path, {
        headers: authorization === undefined ? {} : { authorization },
      });
      assert.equal(answer.status, 401, path);
      assert.match(await answer.text(), new RegExp(code));
    }
  }
  const nodes = await collector.cli('--json', 'nodes', 'list');
  assert.ok(!nodes.stdout.includes('stranger'));
  await goesOn(fleet, bystander());
});

for (const offset of offEveryClock) {
  const skip = existsSync(faketime) ? false : `${faketime} is not installed (package faketime)`;
  test(`a clock that is off by ${offset} is suspected, and costs no entry`, { skip }, async () => {
    const name = `clock${offEveryClock.indexOf(offset)}`;
    const env = { LD_PRELOAD: faketime, FAKETIME: offset, DONT_FAKE_MONOTONIC: '1' };
    const node = await fleet.add(name, { env });
    await caughtUp(node);
    await statusWhere(node, 'suspects its clock', ({ lastScan }) => lastScan?.coverage === 'clock-suspect');
    await entryWhere(fleet, { author: name, kind: 'report' }, ({ coverage }) => coverage === 'clock-suspect');
    await goesOn(fleet, node);
    await goesOn(fleet, bystander());
    await node.agent.stop();
  });
}

/** Sends bytes to a port and waits until the other side has ended the connection. */
async function sendRaw(port: number, bytes: Buffer): Promise<void> {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
}

/** Opens an agent's socket, sends frames, and tells how it was closed. */
async function sendFrames(frames: readonly (string | Buffer)[]): Promise<number> {
  const socket = new WebSocket(fleet.collector.url.replace('http', 'ws') + socketPath, subprotocol);
  await once(socket, 'open');
  socket.on('error', () => {});
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  for (const frame of frames) socket.send(frame);
  return closed;
}

test('garbage and oversized frames on the collector end that connection only', async () => {
  const port = Number(new URL(fleet.collector.url).port);
  const noise = Buffer.from(Array.from({ length: 4_000 }, (_, i) => (i * 197) % 256));
  await sendRaw(port, noise);
  await sendRaw(port, Buffer.from(`GET ${socketPath} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n`));
  await sendRaw(port, Buffer.from(`GET / HTTP/1.1\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`));
  const stranger: AgentMessage = {
    type: 'hello',
    node: 'lyra',
    fingerprint: fingerprint(generateKeyPair().publicKey),
    version: '0',
    checkpoint: null,
  };
  const forged = JSON.stringify({ type: 'proof', signature: Buffer.alloc(64).toString('base64') });
  const closings: [string, (string | Buffer)[]][] = [
    ['no JSON', ['{{{']],
    ['another message', ['{"type":"append","entries":[]}']],
    ['binary', [noise]],
    ['oversized', ['x'.repeat(limits.maxFrameBytes + 1)]],
    ['deeply nested', ['['.repeat(500_000)]],
    ["a key that is not the node's", [JSON.stringify(stranger), forged]],
  ];
  for (const [what, frames] of closings) {
    const code = await sendFrames(frames);
    assert.notEqual(code, 1006, `${what}: it said why`);
    assert.notEqual(code, 1000, `${what}: ${code}`);
  }
  const body = 'x'.repeat(limits.maxRequestBodyBytes + 1);
  const tooLarge = await fetch(`${fleet.collector.url}${enrolPath}`, { method: 'POST', body });
  assert.ok(tooLarge.status >= 400 && tooLarge.status < 500);
  await goesOn(fleet, bystander());
  assert.equal((await bystander().agent.status()).link.state, 'connected');
});

test('a collector that talks garbage costs the agent nothing but time', async () => {
  const node = await fleet.add('listener');
  await caughtUp(node);
  const answers = ['{{{', Buffer.alloc(100), 'x'.repeat(limits.maxFrameBytes + 1), '{"type":"welcome"}'];
  let answered = 0;
  const server = http.createServer((_, response) => void response.end('hello'));
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket) => {
    socket.on('error', () => {});
    socket.send(answers[answered++ % answers.length] ?? '');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  node.redirect(address.port);
  node.wire.cutAll();
  await until('every answer was heard', () => answered >= answers.length, 30_000);
  const { outbox } = await statusWhere(node, 'goes on numbering', ({ outbox }) => outbox.depth > 3);
  node.redirect(undefined);
  node.wire.cutAll();
  sockets.close();
  server.close();
  server.closeAllConnections();
  await statusWhere(node, 'all was kept', ({ link }) => link.ackedSeq >= outbox.headSeq, 60_000);
  await goesOn(fleet, node);
});

test('a second agent with the same key is told so, and the first one goes on', async () => {
  const node = await fleet.add('original');
  await caughtUp(node);
  await node.agent.stop();
  const dir = join(folder.path, 'copy');
  await cp(node.dir, dir, { recursive: true });
  await node.agent.restart();
  await caughtUp(node);
  const place = { node: node.name, dir, socketPath: node.socketPath, scanIntervalMs: 1_000 };
  const copy = { name: 'the copy', agent: await startNode(place) };
  const keptOut = ({ link }: AgentStatus) => /another agent with the key/.test(link.lastError?.message ?? '');
  assert.equal((await statusWhere(copy, 'is kept out', keptOut)).status, 'degraded');
  assert.equal((await copy.agent.cli('status')).exitCode, 1);
  await goesOn(fleet, node);
  await node.agent.stop();
  const parted = ({ link }: AgentStatus) => /another agent uses the same key/.test(link.lastError?.message ?? '');
  const { link } = await statusWhere(copy, 'is told that it is the copy', parted, 90_000);
  assert.equal(link.state, 'refused');
  await node.agent.restart();
  await caughtUp(node);
  await goesOn(fleet, node);
  await copy.agent.stop();
  await goesOn(fleet, bystander());
});

test('after all that every chain is without gaps, and the ledger is in order', async () => {
  for (const node of fleet.nodes) await caughtUp(node);
  const chains = chainsOf(await readLedger(fleet.collector, folder.path));
  assertSaidOnce(chains.get('lyra') ?? [], 1_000);
  await assertVerified(fleet.collector);
});
