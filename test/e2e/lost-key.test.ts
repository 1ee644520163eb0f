import assert from 'node:assert/strict';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { identityPaths } from '../../agent/identity.ts';
import { type Finished, makeTemporaryFolder } from '../system.ts';
import { until } from '../until.ts';
import { type Fleet, type FleetNode, startFleet, tearDown } from './fleet.ts';
import { assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { caughtUp, goesOn } from './waiting.ts';

/** The commands of docs/backup.md for a node whose key is gone. */
const folder = makeTemporaryFolder('sgw-key-');
let fleet: Fleet;
let node: FleetNode;

before(async () => {
  fleet = await startFleet({ dir: folder.path, nodes: ['node1'], wanted: ['web'] });
  node = fleet.node('node1');
  await goesOn(fleet, node);
  await caughtUp(node);
});
after(tearDown);

function succeeded({ exitCode, stdout, stderr }: Finished): string {
  assert.equal(exitCode, 0, stderr);
  return stdout;
}

/** Enrols the node once more, as it is. @returns its new key's fingerprint */
async function enrolledAnew(): Promise<string> {
  const made = JSON.parse(succeeded(await fleet.collector.cli('--json', 'nodes', 'token', 'node1')));
  const { token } = z.object({ token: z.string() }).parse(made);
  const target = ['--collector', `http://127.0.0.1:${node.wire.port}`, '--node', 'node1', '--token', token];
  const answer = JSON.parse(succeeded(await node.agent.cli('--json', 'enroll', '--force', ...target)));
  return z.object({ fingerprint: z.string() }).parse(answer).fingerprint;
}

async function outboxAside(): Promise<void> {
  const { dir } = node.agent;
  const old = join(dir, 'old-key');
  await mkdir(old);
  const parts = (await readdir(dir)).filter((name) => /^outbox(\.|$)/.test(name));
  for (const name of parts) await rename(join(dir, name), join(old, name));
}

test('a node whose key is lost gets another one, and its chain goes on in the same ledger', async () => {
  const { collector } = fleet;
  const before = chainsOf(await readLedger(collector, folder.path)).get('node1')?.length ?? 0;
  await node.agent.stop();
  await rm(identityPaths(node.agent.dir).key);
  await assert.rejects(node.agent.restart(), /is not enrolled .*identity\.pem does not exist/);
  succeeded(await collector.cli('nodes', 'revoke', 'node1', '--reason', 'its key is lost'));
  const fingerprint = await enrolledAnew();
  await assert.rejects(node.agent.restart(), /put the right key back, or move the folder away/);
  await outboxAside();
  await node.agent.restart();
  await goesOn(fleet, node);
  await caughtUp(node);
  const row = succeeded(await collector.cli('nodes', 'list'));
  assert.match(row, /^node1\s+active\s/m);
  assert.ok(row.includes(fingerprint));
  const chain = chainsOf(await readLedger(collector, folder.path)).get('node1') ?? [];
  assert.ok(chain.length > before);
  await assertVerified(collector);
});

test('an agent whose key was revoked says so in doctor, with the commands that get it another', async () => {
  const told = z.array(
    z.object({ name: z.string(), state: z.string(), detail: z.string(), fix: z.string().nullable() }),
  );
  succeeded(await fleet.collector.cli('nodes', 'revoke', 'node1', '--reason', 'somebody has it'));
  await until('refused', async () => (await node.agent.status()).link.state === 'refused');
  const { stdout, exitCode } = await node.agent.cli('--json', 'doctor');
  const link = told.parse(JSON.parse(stdout)).find(({ name }) => name === 'link');
  assert.deepEqual([exitCode, link?.state], [1, 'wrong']);
  assert.match(link?.detail ?? '', /^refused: the collector refused \(auth\.revoked\): /);
  assert.match(link?.fix ?? '', /nodes token NODE on the collector.*enroll --force/);
});
