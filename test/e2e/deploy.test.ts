import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { version } from '../../common/version.ts';
import { makeNetwork, type Network, type SshMachine, withoutNetworks } from '../deployment/network.ts';
import { brokenProject, deployedResult, deployIn, release } from '../deployment/releases.ts';
import { openWorkshop } from '../packages/packaged.ts';
import { sshSigners, withoutSshKeygen } from '../ssh-keys.ts';
import { makeTemporaryFolder } from '../system/leftovers.ts';
import { projectRoot } from '../system/program.ts';

const run = promisify(execFile);
const newer = '0.99.0';
const names = ['lyra', 'node1', 'node2', 'node3'];
const skip = withoutNetworks() || withoutSshKeygen();

describe('from tarballs, without a network that leads anywhere, over ssh', { skip }, () => {
  const folder = makeTemporaryFolder('sigilwatch-deploy-');
  const at = (name: string) => join(folder.path, name);
  let network: Network;
  let collector: SshMachine;
  let nodes: readonly SshMachine[] = [];

  before(async () => {
    const workshop = await openWorkshop(at('archives'));
    const same = { numbered: version };
    await release(workshop, at('packages'), { 'sigilwatch-agent': same, 'sigilwatch-collector': same });
    cpSync(at('packages'), at('broken'), { recursive: true });
    const broken = { numbered: newer, from: brokenProject(at('project')) };
    await release(workshop, at('broken'), { 'sigilwatch-agent': broken });
    const signers = await sshSigners({ releases: 'releases@example.org' });
    const sums = readFileSync(join(at('packages'), 'SHA256SUMS'), 'utf8');
    writeFileSync(join(at('packages'), 'SHA256SUMS.sig'), signers.sign('releases', sums, 'sigilwatch-release'));
    cpSync(signers.allowedSigners, at('signers'));
    await signers.remove();
    network = await makeNetwork();
    collector = await network.add('hub');
    nodes = await Promise.all(names.map((name) => network.add(name)));
  });
  after(async () => {
    await network?.remove();
    await folder.remove();
  });

  const targets = (some = nodes) => some.map(({ name, address }) => `${name}=root@${address}`);
  const deploy = (packages: string, more: readonly string[] = targets(), knownHosts?: string) =>
    deployIn({ network, hub: collector, packages: at(packages), knownHosts }, more);
  const nodeAt = (place: number): SshMachine => {
    const found = nodes[place];
    assert.ok(found !== undefined);
    return found;
  };

  test('one command brings up a collector and four nodes, each with a first report that is proved', async (t) => {
    const startedMs = performance.now();
    const { code, stdout, stderr } = await deploy('packages', ['--signers', at('signers'), ...targets()]);
    const seconds = (performance.now() - startedMs) / 1_000;
    assert.equal(code, 0, stderr + stdout);
    const { nodes: all, collector: served } = deployedResult.parse(JSON.parse(stdout));
    assert.deepEqual(
      all.map(({ node, state, version: is }) => [node, state, is]),
      names.map((name) => [name, 'up', version]),
    );
    assert.ok(all.every(({ report_index: index }) => typeof index === 'number'));
    assert.equal(new Set(all.map(({ fingerprint }) => fingerprint)).size, names.length);
    assert.equal(served.url, `https://${collector.address}:7600`);
    assert.match(stderr, /packages: signed by releases@example\.org/);
    t.diagnostic(`${Math.round(seconds)} s, of the 300 that are promised`);
    const left = await nodeAt(0).ssh('cat /proc/[0-9]*/cmdline | tr "\\0" " "; ls /var/lib/sigilwatch-deploy');
    assert.doesNotMatch(left, /swj_/);
    assert.doesNotMatch(stdout + stderr, /swj_|sws_/);
  });

  test('again, it leaves everything as it is: the same keys, the same processes', async () => {
    const pids = () => Promise.all([collector, ...nodes].map(({ ssh }) => ssh('cat /run/sigilwatch-*.pid')));
    const before = await pids();
    const { code, stdout, stderr } = await deploy('packages');
    assert.equal(code, 0, stderr + stdout);
    assert.deepEqual(await pids(), before);
    assert.doesNotMatch(stderr, /copying|enrolling|starting/);
  });

  test('a node that stopped is started, and stays enrolled', async () => {
    await nodeAt(1).ssh('/etc/sigilwatch/service stop sigilwatch-agent');
    const key = await nodeAt(1).ssh('cat /var/lib/sigilwatch-agent/identity.pem');
    const { code, stdout, stderr } = await deploy('packages', targets([nodeAt(1)]));
    assert.equal(code, 0, stderr + stdout);
    assert.equal(await nodeAt(1).ssh('cat /var/lib/sigilwatch-agent/identity.pem'), key);
    assert.doesNotMatch(stderr, /enrolling/);
  });

  test('a node on which the new version does not come up gets the old one back, with its data, and goes on', async () => {
    const one = nodeAt(2);
    const kept =
      'cat /var/lib/sigilwatch-agent/identity.pem /etc/sigilwatch/agent.yaml /var/lib/sigilwatch-agent/version';
    const before = await one.ssh(kept);
    const { code, stdout, stderr } = await deploy('broken', ['--wait-seconds', '8', ...targets([one])]);
    assert.equal(code, 1, stderr + stdout);
    const [outcome] = deployedResult.parse(JSON.parse(stdout)).nodes;
    assert.deepEqual([outcome?.state, outcome?.version], ['rolled-back', version], stderr);
    assert.match(outcome?.reason ?? '', /there is nothing to run/);
    assert.equal(await one.ssh(kept), before);
    assert.equal((await one.ssh('sigilwatch-agent --version')).trim(), version);
    assert.match(await one.ssh('sigilwatch-agent --config /etc/sigilwatch/agent.yaml status || true'), /connected/);
    assert.equal(existsSync(join(one.root, 'var/lib/sigilwatch-deploy/sigilwatch-agent')), false);
  });

  test('nothing is installed from a package that was changed, nor from sums that nobody signed', async () => {
    const one = nodeAt(3);
    const [tarball = ''] = readdirSync(at('packages')).filter((name) => /^sigilwatch-agent-.*gz$/.test(name));
    cpSync(at('packages'), at('changed'), { recursive: true });
    writeFileSync(join(at('changed'), tarball), 'something else');
    const changed = await deploy('changed', targets([one]));
    assert.equal(changed.code, 1, changed.stdout);
    assert.match(changed.stdout, /is another file than the one whose sum is in SHA256SUMS/);
    const unsigned = await deploy('broken', ['--signers', at('signers'), ...targets([one])]);
    assert.deepEqual([unsigned.code, /is not signed/.test(unsigned.stderr)], [2, true], unsigned.stderr);
    assert.equal((await one.ssh('sigilwatch-agent --version')).trim(), version);
  });

  test('a machine with another host key than the known one gets nothing', async () => {
    const stranger = at('known_hosts');
    const lines = readFileSync(network.knownHosts, 'utf8').trim().split('\n');
    // The key of another machine under this one's address.
    const swapped = lines.map((line) =>
      line.replace(nodeAt(3).address, '10.77.0.99').replace(nodeAt(0).address, nodeAt(3).address),
    );
    writeFileSync(stranger, `${swapped.join('\n')}\n`);
    const { code, stdout } = await deploy('packages', targets([nodeAt(3)]), stranger);
    assert.equal(code, 1);
    assert.match(stdout, /[Hh]ost key verification failed/);
  });
});

test('scripts/deploy says what it takes, and does nothing when there is nobody to ask', async () => {
  const deploy = join(projectRoot, 'scripts/deploy');
  const help = await run(deploy, ['--help']);
  assert.match(help.stdout, /^usage: \.\/scripts\/deploy --collector/);
  const told = (said: RegExp) => (thrown: unknown) => thrown instanceof Error && said.test(thrown.message);
  const odd = '-oProxyCommand=x';
  await assert.rejects(run(deploy, [`--collector=${odd}`, '--yes']), told(/--collector -oProxyCommand=x: .*expected/));
  await assert.rejects(run(deploy, ['--collector', odd, '--yes']), told(/ambiguous; .*--help/));
});
