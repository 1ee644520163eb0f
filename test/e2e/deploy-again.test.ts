import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { z } from 'zod';
import { version } from '../../common/version.ts';
import { type BootedMachine, bootOn, withoutBootedMachines } from '../deployment/booted.ts';
import { makeNetwork, type Network, type SshMachine, withoutNetworks } from '../deployment/network.ts';
import { brokenProject, deployedResult, deployIn, release } from '../deployment/releases.ts';
import { openWorkshop, unpack } from '../packages/packaged.ts';
import { makeTemporaryFolder } from '../system/leftovers.ts';
import { collectorCli, property } from '../systemd/world.ts';
import { until } from '../until.ts';

const skip = withoutNetworks();
const unbooted = withoutBootedMachines();
const folder = makeTemporaryFolder('sigilwatch-deploy-');
const at = (name: string) => join(folder.path, name);

before(async () => {
  if (skip !== false && unbooted !== false) return;
  const workshop = await openWorkshop(at('archives'));
  const same = { numbered: version };
  await release(workshop, at('packages'), { 'sigilwatch-agent': same, 'sigilwatch-collector': same });
  if (unbooted !== false) return;
  cpSync(at('packages'), at('broken'), { recursive: true });
  const broken = { numbered: '0.99.0', from: brokenProject(at('project')) };
  await release(workshop, at('broken'), { 'sigilwatch-agent': broken });
});
after(() => folder.remove());

/** Deployments that were interrupted, or told to do less, or asked for what is not there. */
describe('over ssh, once more', { skip }, () => {
  let network: Network;
  let collector: SshMachine;
  let node: SshMachine;

  before(async () => {
    network = await makeNetwork();
    [collector, node] = [await network.add('hub'), await network.add('lyra')];
  });
  after(() => network?.remove());

  const deploy = (more: readonly string[] = [], hub: Pick<SshMachine, 'address'> = collector) =>
    deployIn({ network, hub, packages: at('packages') }, [...more, `lyra=root@${node.address}`]);
  const active = () => node.ssh('/etc/sigilwatch/service active sigilwatch-agent && echo runs || echo stopped');

  /** As a run leaves a machine that was cut off before users, commands and settings: the package's own files, and its defaults. */
  function cutOff({ root }: SshMachine, name: string, settings: string): void {
    const lib = join('usr/lib', name);
    cpSync(join(unpack(at('packages'), name, version), lib), join(root, lib), {
      recursive: true,
      verbatimSymlinks: true,
    });
    cpSync(join(root, lib, 'settings', settings), join(root, 'etc/sigilwatch', settings));
    mkdirSync(join(root, 'var/lib/sigilwatch-deploy', name, 'new'), { recursive: true });
  }

  test('a collector that is not there is told as JSON, too, and files that are not there before anything is done', async () => {
    const { code, stdout, stderr } = await deploy([], { address: '10.77.0.250' });
    const said = z.object({ collector: z.object({ state: z.literal('failed'), reason: z.string() }) });
    assert.equal(code, 1, stderr);
    assert.match(said.parse(JSON.parse(stdout)).collector.reason, /10\.77\.0\.250/);
    const unread = await deploy(['--node-settings', at('nothing.yaml')]);
    assert.deepEqual([unread.code, /--node-settings: .*nothing\.yaml/.test(unread.stderr)], [2, true], unread.stderr);
    assert.doesNotMatch(unread.stderr, /looking/);
  });

  test('first installations that were interrupted are ended by the next run, with the settings that they were to have', async () => {
    cutOff(collector, 'sigilwatch-collector', 'collector.yaml');
    cutOff(node, 'sigilwatch-agent', 'agent.yaml');
    mkdirSync(join(node.root, 'var/lib/sigilwatch-deploy/sigilwatch-agent/before'));
    const { code, stdout, stderr } = await deploy();
    assert.equal(code, 0, stderr + stdout);
    assert.match(await node.ssh('cat /etc/sigilwatch/agent.yaml'), /caFile: \/etc\/sigilwatch\/collector-ca\.pem/);
    for (const { root } of [collector, node])
      assert.deepEqual(readdirSync(join(root, 'var/lib/sigilwatch-deploy')), []);
  });

  test('with --no-start what ran goes on with what it was given, and what was stopped is not started', async () => {
    const settings = at('agent.yaml');
    const given = (level: string) => {
      writeFileSync(settings, `${chosen}log: { level: ${level} }\n`);
      return deploy(['--no-start', '--node-settings', settings]);
    };
    const chosen = await node.ssh('cat /etc/sigilwatch/agent.yaml');
    const ran = await given('warn');
    assert.deepEqual([ran.code, await active()], [0, 'runs\n'], ran.stderr);
    await node.ssh('/etc/sigilwatch/service stop sigilwatch-agent');
    const stopped = await given('info');
    assert.deepEqual([stopped.code, await active()], [0, 'stopped\n'], stopped.stderr);
  });
});

/** What the services of the units are like when they were deployed. */
describe('on machines that systemd runs', { skip: unbooted }, () => {
  const [executor, agent, hubService] = ['sigilwatch-executor', 'sigilwatch-agent', 'sigilwatch-collector'] as const;
  const data = '/var/lib/sigilwatch-agent';
  let network: Network;
  let hub: BootedMachine;
  let spare: BootedMachine;

  before(async () => {
    network = await makeNetwork();
    hub = await bootOn(network);
    spare = await bootOn(network);
  });
  after(async () => {
    for (const booted of [hub, spare]) await booted?.machine.stop();
    await network?.remove();
  });

  const lyra = () => `lyra=root@${hub.address}`;
  const deploy = (packages: string, more: readonly string[] = [lyra()]) =>
    deployIn({ network, hub, packages: at(packages) }, more);
  const of = (name: string, unit: string) => property(hub.machine, `${unit}.service`, name);
  const starts = () => [hubService, executor, agent].map((unit) => of('InvocationID', unit));
  /** All three of the hub, as what the packages have brought, and each as its own user. */
  function assertRunning(): void {
    for (const unit of [hubService, executor, agent]) {
      const states = ['ActiveState', 'SubState', 'UnitFileState'].map((name) => of(name, unit));
      assert.deepEqual([unit, ...states], [unit, 'active', 'running', 'enabled']);
      const lib = unit === hubService ? hubService : agent;
      const ran = hub.machine.output('readlink', `/proc/${of('MainPID', unit)}/exe`);
      assert.equal(ran, `/usr/lib/${lib}/bin/node\n`);
      assert.equal(hub.machine.output('ps', '-o', 'user:32=', '-p', of('MainPID', unit)), `${unit}\n`);
    }
    assert.equal(of('StatusText', agent), 'watching lyra');
  }

  test('one command brings up a collector and a node as services of their units, with a first report that is proved', async () => {
    const { code, stdout, stderr } = await deploy('packages');
    assert.equal(code, 0, stderr + stdout);
    const [outcome] = deployedResult.parse(JSON.parse(stdout)).nodes;
    assert.deepEqual([outcome?.state, outcome?.version], ['up', version]);
    assert.ok(typeof outcome?.report_index === 'number');
    assertRunning();
    assert.match(collectorCli(hub.machine, 'nodes', 'list'), /lyra/);
    assert.equal(hub.machine.run('sh', '-c', 'command -v node').status, 127);
  });

  test('again, no service is started anew', async () => {
    const before = starts();
    const { code, stdout, stderr } = await deploy('packages');
    assert.equal(code, 0, stderr + stdout);
    assert.deepEqual(starts(), before);
    assert.doesNotMatch(stderr, /copying|enrolling|starting/);
  });

  test('a node whose service does not come up gets the old one back, and one that had none is left without', async () => {
    const [collectorBefore] = starts();
    const kept = () => hub.machine.output('cat', `${data}/identity.pem`, '/etc/sigilwatch/agent.yaml');
    const before = kept();
    const more = ['--wait-seconds', '8', lyra(), `node1=root@${spare.address}`];
    const { code, stdout, stderr } = await deploy('broken', more);
    assert.equal(code, 1, stderr + stdout);
    const { nodes } = deployedResult.parse(JSON.parse(stdout));
    assert.deepEqual(
      nodes.map(({ node, state, version: is }) => [node, state, is]),
      [
        ['lyra', 'rolled-back', version],
        ['node1', 'rolled-back', null],
      ],
      stderr,
    );
    for (const { reason } of nodes) assert.match(reason ?? '', /there is nothing to run/);
    await until('the old agent watches', () => of('StatusText', agent) === 'watching lyra', 30_000);
    assertRunning();
    assert.equal(starts()[0], collectorBefore);
    assert.equal(kept(), before);
    assert.equal(hub.machine.output('sigilwatch-agent', '--version'), `${version}\n`);
    const left = ['list-units', 'list-unit-files'].map((what) => {
      return spare.machine.run('systemctl', what, '--all', '--no-legend', 'sigilwatch-*').stdout;
    });
    assert.deepEqual(left, ['', '']);
    assert.equal(spare.machine.run('test', '-s', `${data}/identity.pem`).status, 0);
  });
});
