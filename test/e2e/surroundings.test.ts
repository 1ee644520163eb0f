import assert from 'node:assert/strict';
import { chmodSync, closeSync, mkdirSync, openSync, rmSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import type { AgentStatus } from '../../agent/health/status.ts';
import { freePort } from '../free-port.ts';
import { startPostgres, type TestPostgres } from '../postgres.ts';
import { type Finished, programs, runCommand, runTool } from '../system/program.ts';
import {
  enrolNode,
  makeTemporaryFolder,
  type RunningCollector,
  type RunningNode,
  startCollector,
  startNode,
  takeCareOf,
} from '../system.ts';
import { type Fleet, keepEngine, running, startFleet, tearDown, wantedImage } from './fleet.ts';
import { assertSaidOnce, assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { caughtUp, entryWhere, goesOn, statusWhere } from './waiting.ts';

const isRoot = process.getuid?.() === 0;
const needsRoot = { skip: isRoot ? false : 'mounting a small filesystem needs root' };
const stopsWithinMs = 20_000;
const folder = makeTemporaryFolder('sgw-around-');
let fleet: Fleet;
let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
  fleet = await startFleet({ dir: folder.path, nodes: ['lyra', 'node1'], wanted: ['web'] });
});

/** Whatever was wrong elsewhere, this node and the collector have gone on. */
afterEach(() => goesOn(fleet, fleet.node('lyra')));

after(async () => {
  await tearDown();
  await postgres.stop();
});

function agent(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  return runCommand({ name: `sigilwatch-agent ${args.join(' ')}`, command: programs.agent, args, env });
}

/** As whose data directory it is. */
function ownAgent(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Finished> {
  const user = { name: 'sigilwatch-agent', groups: [] };
  return runCommand({ name: `sigilwatch-agent ${args.join(' ')}`, command: programs.agent, args, env, user });
}

function collector(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  return runCommand({ name: `sigilwatch-collector ${args.join(' ')}`, command: programs.collector, args, env });
}

/** One line or a few for a person, and no stack. */
function assertSaid({ exitCode, stdout, stderr }: Finished, code: number, ...texts: readonly string[]): void {
  const said = `${stdout}${stderr}`;
  assert.equal(exitCode, code, said);
  for (const text of texts) assert.ok(said.includes(text), `"${text}" is not in: ${said}`);
  assert.doesNotMatch(said, /\n\s+at .*:\d+:\d+/, 'a stack');
}

test('a key file that others can read is refused, with the command that mends it', async () => {
  const { agent: running, dir } = fleet.node('node1');
  await running.stop();
  const key = join(dir, 'identity.pem');
  chmodSync(key, 0o644);
  assertSaid(await running.cli('run'), 3, key, `chmod 600 ${key}`);
  chmodSync(key, 0o600);
  await running.restart();
  await caughtUp(fleet.node('node1'));
});

test('a node that is not enrolled says how to enrol', async () => {
  assertSaid(await agent(['--data-dir', join(folder.path, 'nobody'), 'run']), 3, 'enroll --collector');
});

test('a port that is taken, or a data directory in use, is named', async () => {
  const { dir, agent: running } = fleet.node('node1');
  const { port } = new URL(running.url);
  const copy = join(folder.path, 'port');
  // A socket cannot be copied, nor is it data.
  await cp(dir, copy, { recursive: true, filter: (path) => !path.endsWith('.sock') });
  const env = { SIGILWATCH_HTTP_PORT: port, SIGILWATCH_DOCKER_SOCKET_PATH: '/nowhere.sock' };
  assertSaid(await agent(['--data-dir', copy, 'run'], env), 4, `127.0.0.1:${port}`, 'http.port');
  assertSaid(
    await ownAgent(['--data-dir', dir, 'run'], { ...env, SIGILWATCH_HTTP_PORT: '0' }),
    4,
    dir,
    'another agent',
  );
  const taken = { SIGILWATCH_DATA_DIR: join(folder.path, 'other'), SIGILWATCH_HTTP_PORT: port };
  assertSaid(
    await collector(['run'], { ...taken, DATABASE_URL: await postgres.emptyDatabase() }),
    4,
    `port ${port} on 127.0.0.1`,
  );
});

test('a data directory that cannot be used is named', async () => {
  const file = join(folder.path, 'a-file');
  writeFileSync(file, 'not a folder');
  const below = join(file, 'data');
  const flags = [
    '--collector',
    fleet.collector.url,
    '--token',
    `swj_${'a'.repeat(43)}.${'a'.repeat(22)}`,
    '--node',
    'x',
  ];
  const enrolled = await agent(['--data-dir', below, 'enroll', ...flags]);
  assertSaid(enrolled, 2, below);
  assertSaid(await agent(['--data-dir', below, 'run']), 3, below);
  assertSaid(await collector(['--data-dir', below, 'run']), 2, below);
});

test('a data directory that PostgreSQL may not enter is named, with the fix', needsRoot, async () => {
  const closed = join(folder.path, 'closed');
  mkdirSync(closed, { mode: 0o700 });
  assertSaid(await collector(['--data-dir', join(closed, 'data'), 'run']), 2, closed, 'chmod o+x');
});

test('a data directory that the agent may not write is named', needsRoot, async () => {
  const dir = join(folder.path, 'readonly');
  const { dir: enrolled } = fleet.node('node1');
  mkdirSync(dir, { mode: 0o755 });
  mountSmall(dir, 1);
  for (const name of ['identity.pem', 'collector.json']) {
    await cp(join(enrolled, name), join(dir, name));
    chmodSync(join(dir, name), 0o600);
  }
  runTool('mount', ['-o', 'remount,ro', dir]);
  assertSaid(await agent(['--data-dir', dir, 'run'], { SIGILWATCH_HTTP_PORT: '0' }), 2, dir, 'EROFS');
});

test('every wrong setting is named with its value, its source and what is accepted', async () => {
  const file = join(folder.path, 'agent.yaml');
  writeFileSync(file, 'scanIntervalMs: soon\ndocker:\n  socketPaht: /x\n');
  const said = await agent(['--config', file, 'run'], { SIGILWATCH_HTTP_PORT: '99999', SIGILWATCH_NONSENSE: '1' });
  assertSaid(
    said,
    2,
    'scanIntervalMs',
    'soon',
    file,
    'socketPaht',
    'docker.socketPath',
    '99999',
    'SIGILWATCH_NONSENSE',
  );
  assertSaid(await agent(['--config', '/nowhere.yaml', 'run']), 2, '/nowhere.yaml', 'does not exist');
  writeFileSync(file, 'http: [\n');
  assertSaid(await collector(['--config', file, 'run']), 2, file);
});

test('a DATABASE_URL that leads nowhere is told without its password', async () => {
  const dir = join(folder.path, 'nodb');
  const run = (url: string) => collector(['--data-dir', dir, 'run'], { DATABASE_URL: url, SIGILWATCH_HTTP_PORT: '0' });
  const port = await freePort();
  const down = await run(`postgres://user:geheim@127.0.0.1:${port}/db`);
  assertSaid(down, 5, `127.0.0.1:${port}`);
  const scheme = await run('mysql://user:geheim@127.0.0.1/db');
  assertSaid(scheme, 2, 'postgres://');
  const real = new URL(await postgres.emptyDatabase());
  real.password = 'geheim';
  const password = await run(real.href);
  assertSaid(password, 5, 'password');
  for (const { stdout, stderr } of [down, scheme, password]) assert.doesNotMatch(stdout + stderr, /geheim/);
});

test('an engine that is gone at the start is waited for, and its absence is on record', async () => {
  const dir = join(folder.path, 'noengine');
  const socketPath = join(folder.path, 'noengine.sock');
  const manifest = fleet.manifest.path;
  await enrolNode(fleet.collector, 'noengine', dir);
  const node = {
    name: 'noengine',
    agent: await startNode({ node: 'noengine', dir, socketPath, manifest, scanIntervalMs: 1_000 }),
  };
  await statusWhere(node, 'the engine is missed', ({ lastScan }) => lastScan?.coverage === 'engine-down');
  await entryWhere(fleet, { author: 'noengine', kind: 'report' }, ({ coverage }) => coverage === 'engine-down');
  const engine = await keepEngine(socketPath);
  engine.state.importImage(wantedImage);
  await engine.run(running('late'));
  await statusWhere(node, 'the engine is seen', (status) => status.engine === 'up' && status.openDrifts === 1);
  await statusWhere(node, 'observed again', ({ lastScan }) => lastScan?.coverage === 'observed');
  await entryWhere(fleet, { author: 'noengine', kind: 'coverage.gap' }, ({ reason }) => reason === 'engine-down');
  await caughtUp(node);
  await node.agent.stop();
});

test('a collector that is gone at the start is waited for, and hears everything', async () => {
  const node = fleet.node('node1');
  await node.agent.stop();
  await fleet.collector.stop();
  await node.agent.restart();
  const id = await node.api.run(running('unheard'));
  await statusWhere(node, 'sees it', ({ openDrifts }) => openDrifts === 1);
  await node.api.remove(id);
  const { link } = await statusWhere(node, 'entries wait', ({ outbox }) => outbox.depth > 5);
  assert.equal(link.lastError?.code, 'collector.unreachable');
  await fleet.collector.restart();
  await caughtUp(node);
  await entryWhere(fleet, { author: 'node1', kind: 'drift.opened' }, ({ drift }) => JSON.stringify(drift).includes(id));
});

test('two collectors with one key share a database, and the ledger stays one', async () => {
  const url = await postgres.migratedDatabase();
  const first = await startCollector({ dir: join(folder.path, 'first'), env: { DATABASE_URL: url } });
  await cp(first.dir, join(folder.path, 'second'), { recursive: true });
  const { token } = first;
  const env = { DATABASE_URL: url };
  const second = await startCollector({ dir: join(folder.path, 'second'), env, token });
  const nodes = await Promise.all([nodeOf(first, 'left'), nodeOf(second, 'right')]);
  await Promise.all(nodes.map((node) => caughtUp(node)));
  await first.kill9();
  await statusWhere(nodes[0], 'is cut off', ({ link }) => link.state !== 'connected');
  await first.restart();
  await Promise.all(nodes.map((node) => caughtUp(node)));
  chainsOf(await readLedger(second, folder.path));
  await assertVerified(first);
  for (const node of nodes) await node.agent.stop();
  const foreign = await collector(['--data-dir', join(folder.path, 'foreign'), 'run'], {
    ...env,
    SIGILWATCH_HTTP_PORT: '0',
  });
  assertSaid(foreign, 4, 'its key is not in');
  await Promise.all([first.stop(), second.stop()]);
});

test('SIGTERM ends agent and collector in order within seconds, whatever they wait for', async () => {
  const node = fleet.node('node1');
  await caughtUp(node);
  await endsInTime('a connected agent', node.agent);
  await node.agent.restart();
  node.wire.refuse(true);
  node.wire.cutAll();
  await statusWhere(node, 'is cut off', ({ link }) => link.state !== 'connected');
  await endsInTime('an agent that is cut off', node.agent);
  node.wire.refuse(false);
  await node.agent.restart();
  await caughtUp(node);
  // A first scan that the frost overtook would keep the first interval open for two timeouts of the engine.
  await statusWhere(node, 'has scanned', ({ lastScan }) => lastScan !== null);
  node.engine?.freeze();
  const stuck = ({ lastScan }: AgentStatus) => Date.now() - Date.parse(lastScan?.minute ?? '') > 3_000;
  await statusWhere(node, 'waits for its engine', stuck);
  await endsInTime('an agent whose engine is frozen', node.agent);
  node.engine?.thaw();
  await node.agent.restart();
  await caughtUp(node);
  await endsInTime('a collector with connected agents', fleet.collector);
  await fleet.collector.restart();
  await caughtUp(node);
});

test('a full disk stops no agent, and what could not be said is counted', needsRoot, async () => {
  const dir = join(folder.path, 'full');
  mkdirSync(dir);
  mountSmall(dir, 24);
  const node = await fleet.add('full', { dir });
  await statusWhere(node, 'reports', ({ lastScan }) => lastScan !== null);
  await caughtUp(node);
  node.wire.refuse(true);
  node.wire.cutAll();
  const filler = join(dir, 'filler');
  fillDisk(filler);
  const { outbox } = await node.agent.status();
  // Each is seen before it goes: an agent that is busy may not look at what came and went meanwhile.
  for (let i = 0; i < 10; i++) {
    const id = await node.api.run(running(`unsaid-${i}`));
    await statusWhere(node, `sees unsaid-${i}`, ({ containers }) => containers === 2);
    await node.api.remove(id);
    await statusWhere(node, `sees unsaid-${i} go`, ({ containers }) => containers === 1);
  }
  const lasting = await node.api.run(running('lasting'));
  await statusWhere(node, 'still answers, and sees', ({ containers }) => containers === 2);
  await node.agent.kill9();
  await node.agent.restart();
  await statusWhere(node, 'sees again after a restart on the full disk', ({ containers }) => containers === 2);
  const { lastScan } = await statusWhere(node, 'an interval passes', (status) => status.lastScan !== null);
  await statusWhere(node, 'and another', (status) => status.lastScan?.minute !== lastScan?.minute);
  await node.agent.stop();
  fillDisk(filler);
  assertSaid(await node.agent.cli('run'), 4, dir, 'no space left');
  rmSync(filler);
  await node.agent.restart();
  node.wire.refuse(false);
  await statusWhere(node, 'numbers again', (status) => status.outbox.headSeq > outbox.headSeq + 3, 30_000);
  await caughtUp(node);
  await goesOn(fleet, node);
  await entryWhere(fleet, { author: 'full', kind: 'drift.opened' }, ({ drift }) =>
    JSON.stringify(drift).includes(lasting),
  );
  await node.agent.stop();
  const chain = chainsOf(await readLedger(fleet.collector, folder.path)).get('full') ?? [];
  // An outbox that opens anew on a full disk frees some of it, and may say a few more before it is full again.
  const opened = chain.flatMap(({ entry }) => (entry.kind === 'drift.opened' ? [JSON.stringify(entry.body)] : []));
  const said = opened.filter((body) => body.includes('unsaid-')).length;
  const dropped = chain.flatMap(({ entry }) => (entry.kind === 'outbox.dropped' ? [entry.body] : []));
  const counted = dropped.reduce((sum, { kinds }) => sum + (kinds['drift.opened'] ?? 0), 0);
  assert.ok(said + counted >= 10, `said ${said} of ten, and counted ${JSON.stringify(dropped)}`);
  assertSaidOnce(chain, 1_000);
});

test('after all that every chain is without gaps, and the ledger is in order', async () => {
  chainsOf(await readLedger(fleet.collector, folder.path));
  await assertVerified(fleet.collector);
});

async function endsInTime(what: string, program: Pick<RunningNode, 'stop'>): Promise<void> {
  const startedMs = performance.now();
  await program.stop();
  const tookMs = Math.round(performance.now() - startedMs);
  assert.ok(tookMs <= stopsWithinMs, `${what} took ${tookMs} ms to end`);
}

/** An agent of its own, on a simulated engine. */
async function nodeOf(collector: RunningCollector, name: string): Promise<{ name: string; agent: RunningNode }> {
  const dir = join(folder.path, name);
  const { socketPath } = await keepEngine(join(folder.path, `${name}.sock`));
  await enrolNode(collector, name, dir);
  return { name, agent: await startNode({ node: name, dir, socketPath, scanIntervalMs: 1_000 }) };
}

function mountSmall(dir: string, megabytes: number): void {
  runTool('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755`, 'sigilwatch-test', dir]);
  const unmount = () => void runTool('umount', ['--lazy', dir]);
  takeCareOf({ remove: async () => unmount(), removeNow: unmount });
}

/** As a log that nobody rotates would. */
function fillDisk(file: string): void {
  const { bavail, bsize } = statfsSync(file.slice(0, file.lastIndexOf('/')));
  const handle = openSync(file, 'a');
  try {
    for (let left = bavail; left >= 0; left--) writeSync(handle, Buffer.alloc(bsize));
  } catch {
    // Full, which is the point.
  } finally {
    closeSync(handle);
  }
}
