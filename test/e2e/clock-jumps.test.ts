import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeTemporaryFolder } from '../system.ts';
import { until } from '../until.ts';
import { running, shown, startFleet, tearDown } from './fleet.ts';
import { assertVerified, chainsOf, readLedger } from './ledger-audit.ts';
import { startTimes } from './restarts.ts';
import { caughtUp, goesOn, statusWhere } from './waiting.ts';

const faketime = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const skip = existsSync(faketime) ? false : `${faketime} is not installed (package faketime)`;
const jumps = ['+10y', '-10y'] as const;

after(tearDown);

test('clocks that jump by ten years, either way and back, stop nothing and cost no entry', { skip }, async (t) => {
  const folder = makeTemporaryFolder('sgw-clock-');
  const clockFile = (of: string) => join(folder.path, `${of}-clock`);
  const set = (of: string, to: string) => writeFileSync(clockFile(of), to);
  const envOf = (of: string) => ({
    LD_PRELOAD: faketime,
    FAKETIME_TIMESTAMP_FILE: clockFile(of),
    FAKETIME_CACHE_DURATION: '1',
    DONT_FAKE_MONOTONIC: '1',
  });
  for (const of of ['collector', 'jumps']) set(of, '+0');
  const options = { dir: folder.path, nodes: ['lyra'], wanted: ['web'], collectorEnv: envOf('collector') };
  const fleet = await startFleet(options);
  const node = await fleet.add('jumps', { env: envOf('jumps') });
  const lyra = fleet.node('lyra');
  await caughtUp(node);
  const starts = startTimes();
  const restarted = async (program: { restart(): Promise<void>; kill9(): Promise<void> }) => {
    await program.kill9();
    await starts.time('after a kill', () => program.restart());
  };
  for (const jump of jumps) {
    const { pid } = node.agent;
    set('jumps', jump);
    await statusWhere(node, `suspects its clock (${jump})`, ({ lastScan }) => lastScan?.coverage === 'clock-suspect');
    await goesOn(fleet, node);
    assert.equal(node.agent.pid, pid, 'it was not started anew');
    await restarted(node.agent);
    await caughtUp(node);
    await goesOn(fleet, node);
    set('jumps', '+0');
    await statusWhere(node, 'trusts its clock again', ({ lastScan }) => lastScan?.coverage === 'observed', 30_000);
    await goesOn(fleet, node);
  }
  for (const jump of jumps) {
    set('collector', jump);
    // Its tokens go by its clock, so nobody asks it anything: that it takes entries is seen from the nodes.
    const id = await lyra.api.run(running(`meanwhile${jump}`));
    await statusWhere(lyra, 'sees it', ({ openDrifts }) => openDrifts === 1);
    await caughtUp(lyra);
    await lyra.api.remove(id);
    await restarted(fleet.collector);
    await caughtUp(lyra);
    set('collector', '+0');
    await caughtUp(lyra);
    await caughtUp(node);
    const tokenIsGood = () =>
      fleet.collector.list('/api/v1/drifts', shown.drift).then(
        () => true,
        () => false,
      );
    await until('the token that had expired is good again', tokenIsGood);
    await goesOn(fleet, lyra);
  }
  await restarted(fleet.collector);
  await caughtUp(lyra);
  for (const { agent } of [lyra, node]) await agent.stop();
  const chains = chainsOf(await readLedger(fleet.collector, folder.path));
  for (const name of ['lyra', 'jumps']) {
    const kinds = new Set((chains.get(name) ?? []).map(({ entry }) => entry.kind));
    for (const bad of ['outbox.recovered', 'outbox.dropped', 'witness.fork'] as const) assert.ok(!kinds.has(bad), bad);
  }
  await assertVerified(fleet.collector);
  starts.assertInTime();
  t.diagnostic(JSON.stringify({ slowestMs: starts.slowestMs }));
});
