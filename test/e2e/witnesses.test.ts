import assert from 'node:assert/strict';
import { cpSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, afterEach, before, test } from 'node:test';
import { z } from 'zod';
import { identityPaths, loadIdentity } from '../../agent/identity.ts';
import { collectorKeyPath, readCollectorKey } from '../../collector/data/keys.ts';
import { openCheckpoint } from '../../common/checkpoint.ts';
import { verifyCosignatures } from '../../common/cosignature.ts';
import { toAppError } from '../../common/errors.ts';
import { judgeCheckpoint } from '../../common/judgement.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { type Policy, parsePolicy } from '../../common/policy.ts';
import { memoryLedger } from '../fakes/ledger.ts';
import { makeTemporaryFolder } from '../system.ts';
import { until } from '../until.ts';
import { startCollector as startLiar } from '../wire.ts';
import { type Fleet, type FleetNode, startFleet, tearDown } from './fleet.ts';
import { entryWhere, goesOn } from './waiting.ts';

const folder = makeTemporaryFolder('sgw-witness-');
const names = ['lyra', 'node1', 'node2'];
let fleet: Fleet;
before(async () => {
  fleet = await startFleet({ dir: folder.path, nodes: names, wanted: ['web'] });
});
after(tearDown);

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const view = z.object({
  quorum: z.object({ required: z.number(), of: z.number(), problem: z.null() }),
  witnessed_size: z.number(),
  witnesses: z.array(z.object({ name: z.string(), key: z.string(), last_size: z.number().nullable() })),
});

async function fetchText(path: string): Promise<string> {
  const { url, token } = fleet.collector;
  const answer = await fetch(url + path, { headers: { authorization: `Bearer ${token}` } });
  const text = await answer.text();
  assert.equal(answer.status, 200, text);
  return text;
}

/** How many have cosigned; 0 before the first quorum. */
function quorumOf(note: string, policy: Policy): number {
  try {
    return judgeCheckpoint(note, policy).cosignatures.length;
  } catch (thrown) {
    if (toAppError(thrown).code === 'ledger.quorum') return 0;
    throw thrown;
  }
}

test('a running fleet publishes checkpoints that a majority of its nodes cosigned', async () => {
  const { collector } = fleet;
  await until('three witnesses', async () => (await collector.api('/api/v1/witnesses', view)).quorum.of === 3);
  await until(
    'a quorum of all that counts',
    async () => {
      const [note, policy] = [await fetchText('/log/checkpoint'), parsePolicy(await fetchText('/log/policy.txt'))];
      return quorumOf(note, policy) >= 2;
    },
    15_000,
  );
  const { witnesses, quorum } = await collector.api('/api/v1/witnesses', view);
  assert.deepEqual([quorum.required, witnesses.map(({ name }) => name)], [2, names]);
  const { ledger } = await collector.api('/api/v1/stats', z.object({ ledger: z.object({ vkey: z.string() }) }));
  const { note } = openCheckpoint(await fetchText('/log/checkpoint'), parseVerifierKey(ledger.vkey));
  const keys = witnesses.map(({ key }) => parseVerifierKey(key));
  assert.ok(verifyCosignatures(note, keys).length >= 2);
  const listed = await collector.cli('--json', 'witnesses', 'list');
  assert.equal(listed.exitCode, 0, listed.stderr);
  assert.equal(view.parse(JSON.parse(listed.stdout)).quorum.required, 2);
  assert.match((await collector.cli('witnesses', 'list')).stdout, /quorum: 2 of 3 \(majority\)/);
  assert.match(await fetchText('/metrics'), /sigilwatch_collector_witnessed_size [1-9]/);
});

/** A collector with the real one's key that has forgotten everything; the node's next connection ends there. */
async function meetLiar(node: FleetNode): Promise<Awaited<ReturnType<typeof startLiar>>> {
  const { key, enrolment } = identityPaths(node.dir);
  // Nobody reads a key that is another user's, as each of these may be.
  const taken = makeTemporaryFolder('sgw-taken-').path;
  for (const path of [key, enrolment, collectorKeyPath(fleet.collector.dir)]) cpSync(path, join(taken, basename(path)));
  const { keys, collector } = await loadIdentity(taken);
  const own = await readCollectorKey(collectorKeyPath(taken));
  const ledger = memoryLedger({ origin: collector.origin, keys: own }).fork(0);
  const liar = await startLiar({ ledger });
  cleanups.push(liar.close);
  liar.nodes.enrol(node.name, keys);
  node.redirect(liar.port());
  return liar;
}

test('a node that was shown a fork stands by it through restarts until somebody releases it', async () => {
  const node = fleet.node('node2');
  const liar = await meetLiar(node);
  await node.agent.restart();
  await until('forked', async () => (await node.agent.status()).link.state === 'forked');
  const shown = await node.agent.cli('witness', 'show');
  assert.equal(shown.exitCode, 1);
  assert.match(shown.stdout, /FORK found .*: rolled back from \d+ to 0 entries/);
  assert.equal((await node.agent.cli('status')).exitCode, 1);
  const doctor = await node.agent.cli('doctor');
  assert.match(doctor.stdout, /✗ witness +rolled back/);
  assert.equal(readdirSync(join(node.dir, 'evidence')).length, 1);
  node.redirect(undefined);
  await node.agent.restart();
  await until('still forked', async () => (await node.agent.status()).link.state === 'forked');
  assert.equal((await node.agent.status()).status, 'degraded');
  assert.ok(liar.events.some(({ event }) => event === 'session.opened'));

  assert.equal((await node.agent.cli('witness', 'release', '--reason', ' ')).exitCode, 2);
  const released = await node.agent.cli('witness', 'release', '--reason', 'a test shown by a liar');
  assert.equal(released.exitCode, 0, released.stderr);
  assert.match(released.stdout, /The agent goes on/);
  assert.equal((await node.agent.cli('witness', 'release', '--reason', 'again')).exitCode, 2);
  await goesOn(fleet, node);
  const fork = await entryWhere(fleet, { author: 'node2', kind: 'witness.fork' });
  const end = await entryWhere(fleet, { author: 'node2', kind: 'witness.released' });
  assert.match(String(fork.reason), /rolled back/);
  assert.equal(end.reason, 'a test shown by a liar');
  assert.equal((await node.agent.cli('witness', 'show')).exitCode, 0);
});
