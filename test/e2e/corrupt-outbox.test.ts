import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { entriesAfter, ownEntry, unpackRecord } from '../../agent/outbox/layout.ts';
import { openDb, pages } from '../../agent/outbox/level-store.ts';
import { readMeta } from '../../agent/outbox/standing.ts';
import { canonicalText } from '../../common/canonical.ts';
import type { Entry } from '../../common/entry.ts';
import { jsonLine, makeTemporaryFolder } from '../system.ts';
import { type FleetNode, running, startFleet, tearDown } from './fleet.ts';
import { assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { type Random, randomOf, seedOf } from './random.ts';
import { type StartTimes, startTimes } from './restarts.ts';
import { caughtUp, goesOn, statusWhere } from './waiting.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const usualSeed = 20_261_123;

/** What may happen to an outbox while its agent is down. `dir` is its folder. */
const damages: Readonly<Record<string, (dir: string, random: Random) => void>> = {
  'bytes flipped anywhere': (dir, random) => {
    for (let n = random.int(1, 40); n > 0; n -= 1) flip(random.pick(files(dir, /[A-Z0-9]$|\.log$|\.ldb$/)), random);
  },
  'bytes flipped in the log': (dir, random) => flip(random.pick(files(dir, /\.log$/)), random),
  'bytes flipped in a table': (dir, random) => flip(random.pick(files(dir, /\.ldb$/)), random),
  'bytes flipped in the MANIFEST': (dir, random) => flip(random.pick(files(dir, /^MANIFEST/)), random),
  'a file that lost its end': (dir, random) => {
    const path = random.pick(files(dir, /^MANIFEST|\.log$|\.ldb$/));
    truncateSync(path, random.int(0, statSync(path).size - 1));
  },
  'another CURRENT': (dir, random) =>
    writeFileSync(join(dir, 'CURRENT'), random.pick(['', 'MANIFEST-999999\n', '\0'.repeat(16), 'garbage'])),
  'half of its files gone': (dir, random) => {
    for (const path of files(dir, /./)) if (random.chance(0.5)) rmSync(path);
  },
  'half of its files gone, and what stands beside it': (dir, random) => {
    for (const path of files(dir, /./)) if (random.chance(0.5)) rmSync(path);
    for (const beside of ['mark', 'reserve']) rmSync(`${dir}.${beside}`);
  },
  'random bytes in every file': (dir, random) => {
    for (const path of files(dir, /./)) writeFileSync(path, randomBytesOf(random.int(0, 5_000), random));
  },
  'an empty folder': (dir) => {
    rmSync(dir, { recursive: true });
    mkdirSync(dir);
  },
};
const rounds = long ? 6 : 1;

after(tearDown);

test(`an outbox that is damaged in ${Object.keys(damages).length} ways, each ${rounds} times: its agent starts, says so, and goes on`, {
  timeout: 3_000_000,
}, async (t) => {
  const seed = seedOf('corrupt outbox', usualSeed);
  const folder = makeTemporaryFolder('sgw-corrupt-');
  const fleet = await startFleet({ dir: folder.path, nodes: ['lyra'], wanted: ['web'] });
  const node = fleet.node('lyra');
  await caughtUp(node);
  const starts = startTimes();
  const tally = { starts: 0, recoveries: 0, missing: 0 };
  const waited = new Set<string>();
  let recoveries = 0;
  for (let round = 0; round < rounds; round += 1) {
    for (const [how, damage] of Object.entries(damages)) {
      const when = `${how}, round ${round}`;
      const random = randomOf(seed, when);
      await fillCutOff(node, random);
      damage(join(node.dir, 'outbox'), random);
      await startAndGoOn(node, when, starts);
      tally.starts += 1;
      if (await saysSo(node, when, tally)) recoveries += 1;
      await node.agent.kill9();
      for (const said of await waitingIn(node)) waited.add(said);
      node.wire.refuse(false);
      await node.agent.restart();
      await caughtUp(node);
      await goesOn(fleet, node);
      const { outbox } = await node.agent.status();
      assert.equal(outbox.recovered, null, `${when}: a second start found more to mend`);
    }
  }
  tally.recoveries = recoveries;
  if (recoveries > 0) await doctorFinds(node);
  await node.agent.stop();
  await assertVerified(fleet.collector);
  const chain = chainsOf(await readLedger(fleet.collector, folder.path)).get('lyra') ?? [];
  const told = chain.filter(({ entry }) => entry.kind === 'outbox.recovered');
  assert.ok(told.length >= recoveries, `${told.length} of ${recoveries} recoveries are in the ledger`);
  const said = new Set(chain.map(({ entry }) => wordsOf(entry)));
  for (const words of waited) assert.ok(said.has(words), `waited after a start, and is not in the ledger: ${words}`);
  starts.assertInTime();
  t.diagnostic(JSON.stringify({ seed, ...tally, slowestStartMs: starts.slowestMs }));
});

function files(dir: string, pattern: RegExp): string[] {
  const names = readdirSync(dir).filter((name) => pattern.test(name) && !['LOCK', 'LOG', 'LOG.old'].includes(name));
  return names.sort().map((name) => join(dir, name));
}

function flip(path: string, random: Random): void {
  const bytes = readFileSync(path);
  const at = random.int(0, bytes.length - 1);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(0, 7));
  writeFileSync(path, bytes);
}

function randomBytesOf(size: number, random: Random): Buffer {
  return Buffer.from(Array.from({ length: size }, () => random.int(0, 255)));
}

/** Cuts the node off, lets entries gather in a log and in tables, and kills the agent. */
async function fillCutOff(node: FleetNode, random: Random): Promise<void> {
  const { agent, wire, api } = node;
  wire.refuse(true);
  wire.cutAll();
  for (let starts = random.int(1, 2); starts >= 0; starts -= 1) {
    const { outbox } = await agent.status();
    for (let n = random.int(1, 8); n > 0; n -= 1) await api.remove(await api.run(running(`gone-${n}`)));
    await statusWhere(node, 'entries wait', (now) => now.outbox.headSeq >= outbox.headSeq + 3);
    // A start makes a table of what is in the log.
    if (starts > 0) await agent.restart();
  }
  await agent.kill9();
}

async function startAndGoOn(node: FleetNode, when: string, starts: StartTimes): Promise<void> {
  await starts.time(when, () => node.agent.restart());
  const { pid } = node.agent;
  const { outbox } = await node.agent.status();
  await statusWhere(node, `${when}: says more`, (now) => now.outbox.headSeq >= outbox.headSeq + 2);
  assert.equal(node.agent.pid, pid);
}

/** Where damage was found: the log, the status, the metrics and the outbox itself tell of the same. */
async function saysSo(node: FleetNode, when: string, tally: { missing: number }): Promise<boolean> {
  const { outbox } = await node.agent.status();
  const logged = node.agent
    .logs()
    .map(jsonLine)
    .find((line) => line?.event === 'outbox.replaced');
  const metrics = await (await fetch(`${node.agent.url}/metrics`)).text();
  const metric = (name: string) =>
    Number(new RegExp(`^sigilwatch_agent_outbox_${name} (\\d+)$`, 'm').exec(metrics)?.[1]);
  const { recovered } = outbox;
  assert.equal(metric('recovered'), recovered === null ? 0 : 1, when);
  if (recovered === null) {
    assert.equal(logged, undefined, when);
    return false;
  }
  assert.equal(logged?.reason, recovered.reason, when);
  assert.equal(metric('missing_entries'), recovered.missing ?? 0, when);
  if (recovered.quarantine !== null) assert.ok(statSync(recovered.quarantine).isDirectory(), when);
  tally.missing += recovered.missing ?? 0;
  const { stdout } = await node.agent.cli('status');
  assert.match(stdout, /was damaged and built anew/, when);
  return true;
}

/** Long after, too, and until what was damaged is removed as it says. */
async function doctorFinds({ agent }: FleetNode): Promise<void> {
  const found = await agent.cli('doctor');
  assert.equal(found.exitCode, 1);
  const [, fix] = /✗ outbox damage .*\n +fix: .*, then: (rm -r .*)\n/.exec(found.stdout) ?? [];
  assert.ok(fix !== undefined, found.stdout);
  execFileSync('/bin/sh', ['-c', fix]);
  assert.match((await agent.cli('doctor')).stdout, /✓ outbox damage +none was found\n/);
}

/** What an entry says, whatever its number: an outbox that lost its place numbers anew. */
function wordsOf({ at, kind, body }: Pick<Entry, 'at' | 'kind' | 'body'>): string {
  return `${at} ${kind} ${canonicalText(body)}`;
}

/** What is to be sent, of an agent that is down. Reads a copy: opening the outbox itself would tidy it up. */
async function waitingIn({ dir }: FleetNode): Promise<readonly string[]> {
  const copy = join(dir, 'copy');
  cpSync(join(dir, 'outbox'), copy, { recursive: true });
  const db = await openDb(copy);
  try {
    const { chain } = await readMeta(db);
    assert.ok(chain);
    const words: string[] = [];
    for await (const page of pages(db, entriesAfter(chain.generation, chain.acked.seq))) {
      for (const [key, value] of page) {
        const entry = ownEntry(unpackRecord(value)?.bytes ?? Buffer.alloc(0));
        assert.ok(entry, `${key} is damaged`);
        words.push(wordsOf(entry));
      }
    }
    return words;
  } finally {
    await db.close();
    rmSync(copy, { recursive: true });
  }
}
