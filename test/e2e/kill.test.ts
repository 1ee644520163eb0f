import assert from 'node:assert/strict';
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { AgentStatus } from '../../agent/health/status.ts';
import { entriesAfter, unpackRecord } from '../../agent/outbox/layout.ts';
import { openDb, pages } from '../../agent/outbox/level-store.ts';
import { readMeta } from '../../agent/outbox/standing.ts';
import { runningPostmaster } from '../../collector/postgres/postmaster.ts';
import { type ChainHead, collectorAuthor, entryHash, type LoggedEntry } from '../../common/entry.ts';
import type { ConnectionFate } from '../fakes/chaos-proxy.ts';
import type { EngineState, FakeContainer } from '../fakes/engine-state.ts';
import { makeTemporaryFolder, type RunningCollector, type RunningWriter, startWriter } from '../system.ts';
import { until } from '../until.ts';
import { churn } from './churn.ts';
import { type Fleet, type FleetNode, secret, shown, startFleet, tearDown, wantedImage, wantedOn } from './fleet.ts';
import { assertSaidOnce, assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { type Random, randomOf, seedOf } from './random.ts';
import { type StartTimes, startTimes } from './restarts.ts';
import { statusWhere } from './waiting.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
/** SIGKILLs in all, and of how many agents. */
const campaign = long
  ? { agentKills: 200, collectorKills: 50, nodes: ['lyra', 'node1', 'node2', 'node3'] }
  : { agentKills: 12, collectorKills: 4, nodes: ['lyra', 'node1'] };
const longLifeMs = long ? 12_000 : 4_000;
/** The link's backoff may have grown to a minute. */
const catchUpWithinMs = 120_000;
const intervalMs = 1_000;
const wanted = ['web', 'db', 'queue'];

after(tearDown);

/** What is known of a node's outbox when its agent is dead. */
interface Left {
  readonly acked: ChainHead;
  /** Durable and not acknowledged, in order. */
  readonly waiting: readonly ChainHead[];
}

interface Tally {
  kills: number;
  killsWhileStarting: number;
  killsWhileOffline: number;
  killsWithEntriesWaiting: number;
  readonly starts: StartTimes;
}

const newTally = (): Tally => ({
  kills: 0,
  killsWhileStarting: 0,
  killsWhileOffline: 0,
  killsWithEntriesWaiting: 0,
  starts: startTimes(),
});

const told = ({ starts, ...counts }: Tally) => ({ ...counts, slowestRestartMs: starts.slowestMs });

test(`${campaign.agentKills} kills of agents and ${campaign.collectorKills} of the collector lose nothing and double nothing`, async (t) => {
  const seed = seedOf('kill campaign');
  const folder = makeTemporaryFolder('sgw-kill-');
  const startedMs = performance.now();
  let calm = false;
  const fates = randomOf(seed, 'wires');
  const fateOf = () => (calm ? {} : someFate(fates));
  const fleet = await startFleet({ dir: folder.path, nodes: campaign.nodes, wanted, fateOf });
  const writer = await writerOn(fleet.node('lyra'));
  const quiet = new AbortController();
  const churning = fleet.nodes.map((node) => churnOn(node, seed, quiet.signal));
  const badKeys = corruptNow(writer, randomOf(seed, 'sigils'), quiet.signal);

  const collectorTally = newTally();
  const agentTally = newTally();
  const expected = new Map(fleet.nodes.map(({ name }) => [name, new Map<number, string>()]));
  const lanes = [
    killCollector(fleet.collector, randomOf(seed, 'collector'), collectorTally, quiet.signal),
    ...fleet.nodes.map((node, at) => {
      const kills = Math.ceil((campaign.agentKills - at) / fleet.nodes.length);
      return killAgent(node, {
        random: randomOf(seed, node.name),
        kills,
        tally: agentTally,
        signal: quiet.signal,
        expected: expected.get(node.name),
      });
    }),
  ];
  await allOrNone(lanes, quiet);
  quiet.abort();
  await Promise.all(churning);
  calm = true;
  for (const { wire } of fleet.nodes) {
    wire.refuse(false);
    wire.cutAll();
  }
  await Promise.all(fleet.nodes.map((node) => sentAll(node, Math.max(...(expected.get(node.name)?.keys() ?? [])))));
  await projectionsAgree(fleet, await badKeys);
  await writer.stop();
  for (const { agent } of fleet.nodes) await agent.stop();

  const verified = await assertVerified(fleet.collector);
  const entries = await readLedger(fleet.collector, folder.path);
  const chains = chainsOf(entries);
  for (const { name } of fleet.nodes) auditNode(chains.get(name) ?? [], expected.get(name) ?? new Map());
  assert.ok(typeof verified?.entries === 'number' && verified.entries <= entries.length);
  // The agents are down; the collector alone may have spoken since, of the silence.
  const since = entries.slice(verified.entries).map(({ entry }) => entry.author);
  assert.deepEqual(
    since.filter((author) => author !== collectorAuthor),
    [],
  );
  await fleet.collector.stop();
  await folder.remove();
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  t.diagnostic(
    JSON.stringify({
      seed,
      seconds,
      entries: entries.length,
      agents: told(agentTally),
      collector: told(collectorTally),
    }),
  );
  for (const { starts } of [agentTally, collectorTally]) starts.assertInTime();
  assert.equal(agentTally.kills, campaign.agentKills);
  assert.equal(collectorTally.kills, campaign.collectorKills);
});

/** Ends the others when one fails: nothing may be started any more once the test is over. */
async function allOrNone(lanes: readonly Promise<void>[], stop: AbortController): Promise<void> {
  try {
    await Promise.all(lanes);
  } catch (failure) {
    stop.abort();
    await Promise.allSettled(lanes);
    throw failure;
  }
}

function someFate(random: Random): ConnectionFate {
  if (random.chance(0.6)) return {};
  return { cutAfterBytes: random.int(0, 200_000), maxChunkBytes: random.int(500, 20_000) };
}

function writerOn({ storeDir, name }: FleetNode): Promise<RunningWriter> {
  return startWriter({ dir: storeDir, tenant: name, secret, rate: 20 });
}

/** Writes a record with a wrong checksum every few seconds. @returns their keys, once `signal` ends it */
async function corruptNow(writer: RunningWriter, random: Random, signal: AbortSignal): Promise<string[]> {
  const keys: string[] = [];
  while (!signal.aborted) {
    keys.push(await writer.writeWrongChecksum());
    await delay(random.int(1_000, 8_000), undefined, { signal }).catch(() => {});
  }
  return keys;
}

function churnOn({ name, engine }: FleetNode, seed: number, signal: AbortSignal): Promise<void> {
  if (engine === undefined) throw new Error('only a simulated engine is churned');
  return churn(engine, wantedNames(name), randomOf(seed, `containers of ${name}`), signal);
}

const wantedNames = (node: string): string[] => wanted.map((name) => wantedOn(node, name).name);

interface AgentKills {
  readonly random: Random;
  readonly kills: number;
  readonly tally: Tally;
  readonly signal: AbortSignal;
  /** Hash by number, of every entry that was seen durable or acknowledged: all must be in the ledger in the end. */
  readonly expected: Map<number, string> | undefined;
}

async function killAgent(
  node: FleetNode,
  { random, kills, tally, signal, expected = new Map() }: AgentKills,
): Promise<void> {
  const { agent, wire } = node;
  let offline = false;
  for (let kill = 0; kill < kills && !signal.aborted; kill++) {
    if (random.chance(0.4)) offline = !offline;
    wire.refuse(offline);
    if (offline) wire.cutAll();
    await liveAWhile(agent, random, tally);
    const before = await agent.status().catch(() => undefined);
    await agent.kill9();
    const left = await readOutbox(node);
    if (before !== undefined) {
      const last = left.waiting.at(-1) ?? left.acked;
      assert.ok(left.acked.seq >= before.link.ackedSeq, `${node.name}: forgot what was acknowledged`);
      assert.ok(
        last.seq >= before.outbox.headSeq,
        `${node.name}: lost entries ${last.seq + 1} to ${before.outbox.headSeq}`,
      );
    }
    for (const { seq, hash } of [left.acked, ...left.waiting]) {
      assert.equal(expected.get(seq) ?? hash, hash, `${node.name}: entry ${seq} was rewritten`);
      if (seq > 0) expected.set(seq, hash);
    }
    tally.kills += 1;
    tally.killsWhileOffline += offline ? 1 : 0;
    tally.killsWithEntriesWaiting += left.waiting.length > 0 ? 1 : 0;
  }
  await tally.starts.time('the last', () => agent.restart());
}

interface Restartable {
  restart(): Promise<void>;
  kill9(): Promise<void>;
}

/** Until it is to be killed: shortly after it was started anew, or after some normal work. */
async function liveAWhile(program: Restartable, random: Random, tally: Tally): Promise<void> {
  if (random.chance(0.25)) {
    tally.killsWhileStarting += 1;
    // It is down, or made to be: what is killed now is on its way up.
    await program.kill9();
    const starting = program.restart().catch((thrown: unknown) => String(thrown));
    await delay(random.int(0, 700));
    await program.kill9();
    const told = (await starting) ?? 'SIGKILL';
    assert.match(told, /SIGKILL/, 'it ended by itself');
    return;
  }
  await program.kill9();
  await tally.starts.time('after a kill', () => program.restart());
  await delay(random.int(0, random.chance(0.2) ? longLifeMs : 2_500));
}

async function killCollector(
  collector: RunningCollector,
  random: Random,
  tally: Tally,
  signal: AbortSignal,
): Promise<void> {
  for (let kill = 0; kill < campaign.collectorKills && !signal.aborted; kill++) {
    await liveAWhile(collector, random, tally);
    if (random.chance(0.2)) {
      await crashDatabase(collector.dir, random);
      await delay(random.int(0, 3_000));
    }
    await collector.kill9();
    // A power cut takes the database with it.
    if (random.chance(0.3)) await crashDatabase(collector.dir, random);
    tally.kills += 1;
    await delay(random.chance(0.3) ? random.int(0, 4_000) : 0);
  }
  await tally.starts.time('the last', () => collector.restart());
}

/** Unless it is not up at this moment. */
async function crashDatabase(dir: string, random: Random): Promise<void> {
  const signal = random.pick(['SIGQUIT', 'SIGKILL'] as const);
  const postmaster = await runningPostmaster(join(dir, 'postgres/data'));
  if (postmaster !== undefined) process.kill(postmaster.pid, signal);
}

/** Reads a copy: opening the outbox itself would tidy it up. */
async function readOutbox({ dir }: FleetNode): Promise<Left> {
  const copy = join(dir, 'copy');
  await cp(join(dir, 'outbox'), copy, { recursive: true });
  const db = await openDb(copy);
  try {
    const { chain } = await readMeta(db);
    assert.ok(chain, `${dir}: the outbox has no chain`);
    const waiting: ChainHead[] = [];
    for await (const page of pages(db, entriesAfter(chain.generation, chain.acked.seq))) {
      for (const [key, value] of page) {
        const record = unpackRecord(value);
        assert.ok(record, `${dir}: ${key} is damaged`);
        waiting.push({ seq: chain.acked.seq + waiting.length + 1, hash: record.hash });
      }
    }
    return { acked: chain.acked, waiting };
  } finally {
    await db.close();
    await rm(copy, { recursive: true });
  }
}

async function sentAll(node: FleetNode, throughSeq: number): Promise<void> {
  const done = ({ link, outbox }: AgentStatus) =>
    link.state === 'connected' && outbox.depth === 0 && link.ackedSeq >= throughSeq;
  await statusWhere(node, `has sent everything up to ${throughSeq}`, done, catchUpWithinMs);
}

async function projectionsAgree({ collector, nodes }: Fleet, badKeys: readonly string[]): Promise<void> {
  for (const { name, engine } of nodes) {
    assert.ok(engine);
    const containers = async () => {
      const rows = await collector.list(`/api/v1/containers?node=${name}`, shown.container);
      return rows.map(({ id, name, image, state }) => `${id} ${name} ${image} ${state}`);
    };
    await sameSoon(`containers of ${name}`, containers, [...engine.state.containers.values()].map(containerLine));
    const drifts = async () => {
      const rows = await collector.list(`/api/v1/drifts?node=${name}&state=open`, shown.drift);
      return rows.map(({ kind, container, container_id }) => `${kind} ${container} ${container_id}`);
    };
    await sameSoon(`drifts of ${name}`, drifts, driftLines(engine.state, wantedNames(name)));
  }
  const findings = async () => {
    const rows = await collector.list('/api/v1/findings?state=open', shown.finding);
    return rows.map(({ node, check, finding }) => `${node} ${check} ${finding.key}`);
  };
  await sameSoon(
    'findings',
    findings,
    badKeys.map((key) => `lyra checksum ${key}`),
  );
}

/** Asks until the answer is the expected one, in any order; tells the difference when it never is. */
async function sameSoon(what: string, ask: () => Promise<string[]>, expected: readonly string[]): Promise<void> {
  const wish = [...expected].sort();
  const same = async () => JSON.stringify((await ask()).sort()) === JSON.stringify(wish);
  await until(what, same).catch(async () => assert.deepEqual((await ask()).sort(), wish, what));
}

function containerLine({ id, name, body, status }: FakeContainer): string {
  return `${id} ${name} ${body.Image} ${status}`;
}

function driftLines({ containers }: EngineState, wantedHere: readonly string[]): string[] {
  const all = [...containers.values()];
  const strangers = all.filter(({ name }) => !wantedHere.includes(name));
  return [
    ...strangers.map(({ id, name }) => `UNAUTHORIZED_CONTAINER ${name} ${id}`),
    ...wantedHere.flatMap((name) => {
      const there = all.find((container) => container.name === name);
      if (there === undefined || there.status === 'exited') return [`MISSING_CONTAINER ${name} ${there?.id ?? null}`];
      return there.body.Image === wantedImage ? [] : [`IMAGE_DRIFT ${name} ${there.id}`];
    }),
  ];
}

function auditNode(chain: readonly LoggedEntry[], expected: ReadonlyMap<number, string>): void {
  for (const [seq, hash] of expected) {
    const logged = chain[seq - 1];
    assert.ok(logged, `entry ${seq} is not in the ledger`);
    assert.equal(entryHash(logged.bytes), hash, `entry ${seq} is another one in the ledger`);
  }
  for (const { entry } of chain) {
    assert.ok(!['outbox.recovered', 'outbox.dropped', 'witness.fork'].includes(entry.kind), JSON.stringify(entry));
  }
  assertSaidOnce(chain, intervalMs);
}
