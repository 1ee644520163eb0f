import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { readCommandLine } from '../../scripts/deployment/command-line.ts';
import { type Facts, readFacts } from '../../scripts/deployment/facts.ts';
import { readGiven } from '../../scripts/deployment/given.ts';
import { readMachine, readNodeMachine } from '../../scripts/deployment/machine.ts';
import { changeOf, hasSettings, requireNoDowngrade } from '../../scripts/deployment/machinery.ts';
import { latestOf, sumOfText } from '../../scripts/deployment/packages.ts';
import { addressesOf } from '../../scripts/deployment/settings.ts';
import { asRoot, quoted, sshArguments } from '../../scripts/deployment/ssh.ts';
import { programPackages } from '../../scripts/packaging/programs.ts';
import { until } from '../until.ts';

describe('a machine on the command line', () => {
  test('is [user@]host[:port], and an IPv6 address in brackets', () => {
    const undefinedOnes = { user: undefined, port: undefined };
    assert.deepEqual(readMachine('hub'), { ...undefinedOnes, host: 'hub' });
    assert.deepEqual(readMachine('ops@hub.example.org:2222'), { user: 'ops', host: 'hub.example.org', port: 2222 });
    assert.deepEqual(readMachine('root@[fd00::1]:22'), { user: 'root', host: 'fd00::1', port: 22 });
  });

  test('is never what ssh would take for an option, nor a port that there cannot be', () => {
    for (const text of ['', '-oProxyCommand=x', 'a@-l', 'hub:0', 'hub:65536', 'hub:x', 'a b', 'hub;id', '-x@hub']) {
      assert.equal(readMachine(text), undefined, text);
    }
  });

  test('has the name of its host as a node, or the one before "="; an address needs one', () => {
    assert.equal(readNodeMachine('root@lyra.example.org')?.name, 'lyra');
    assert.equal(readNodeMachine('node1=root@10.0.0.1:22')?.name, 'node1');
    for (const text of ['10.0.0.1', '[fd00::1]', 'Lyra', '=hub', 'a_b=hub', 'lyra=']) {
      assert.equal(readNodeMachine(text), undefined, text);
    }
  });
});

test('a command line that makes no sense is told by what is wrong with it', () => {
  const read = (...args: string[]) => readCommandLine(args, '/srv');
  assert.throws(() => read('lyra'), /--collector/);
  assert.throws(() => read('--collector', 'hub', 'lyra', 'lyra=other'), /two nodes are called lyra/);
  assert.throws(() => read('--collector', 'hub', '10.0.0.1'), /10\.0\.0\.1: \[NAME=\]/);
  assert.throws(() => read('--collector', 'hub', '--parallel', '0', 'lyra'), /--parallel 0: 1 to 64/);
  assert.throws(() => read('--collector', 'hub', '--url', 'https://hub$(id)', 'lyra'), /--url https:\/\/hub\$/);
  assert.throws(() => read('--collector', 'hub', '--paralel', '2'), /--paralel/);
  const options = read('--collector', 'hub', '--packages', 'out', '--url', 'https://hub:7600/', 'lyra');
  assert.deepEqual([options?.packages, options?.url, options?.parallel], ['/srv/out', 'https://hub:7600', 4]);
});

test('what is quoted for a shell arrives as it was', () => {
  for (const text of ["it's", '$(id) `id` "x"', 'a\nb', "'", '\\', '']) {
    assert.equal(execFileSync('sh', ['-c', `printf %s ${quoted(text)}`], { encoding: 'utf8' }), text);
  }
  const script = asRoot(`printf %s ${quoted("it's")}`);
  assert.match(script, /^if \[ "\$\(id -u\)" = 0 \]; then exec sh -c .*; else exec sudo -n sh -c /s);
});

test('ssh asks nobody, and options of the command line come before ours', () => {
  const args = sshArguments({ user: 'ops', host: 'hub', port: 22 }, { identity: '/k', sshOptions: ['BatchMode=no'] });
  assert.ok(args.indexOf('BatchMode=no') < args.indexOf('BatchMode=yes'));
  assert.deepEqual(args.slice(-7), ['-i', '/k', '-p', '22', '-T', '--', 'ops@hub']);
});

test('nodes are told the address of the collector that its settings make reachable, if any', () => {
  const config = (host: string, tls: string) => `http:\n  host: "${host}"\n  port: 7600\n  tls:\n${tls}`;
  const plain = '    # certificate: not set\n';
  const withTls = '    certificate: "/c.pem"\n';
  assert.equal(addressesOf(config('127.0.0.1', plain), 'hub').nodes, undefined);
  assert.equal(addressesOf(config('10.0.0.1', plain), 'hub').nodes, 'http://hub:7600');
  const everywhere = addressesOf(config('0.0.0.0', withTls), 'fd00::1');
  assert.deepEqual(everywhere, { own: 'https://127.0.0.1:7600', nodes: 'https://[fd00::1]:7600' });
});

test('the latest of several packages is taken, by its version and not by its name', () => {
  const [agent] = programPackages;
  assert.ok(agent !== undefined);
  const file = (version: string) => `sigilwatch-agent-${version}-linux-x64.tar.gz`;
  const names = [file('0.9.0'), file('0.10.0'), file('0.10.0-rc1'), 'sigilwatch-agent-9.0.0-linux-arm64.tar.gz'];
  assert.deepEqual(latestOf(names, agent, 'x64'), { name: file('0.10.0'), version: '0.10.0' });
  assert.throws(() => latestOf([], agent, 'x64'), /there is no sigilwatch-agent-VERSION/);
});

test('what stands on a machine is read from lines, and what is empty is not there', () => {
  const lines =
    'machine=Linux x86_64\nversion=\nmanifest=\nsettings=ab\nmanager=program\nactive=yes\ndeb=\nunfinished=\nbegun=\n';
  const enrolment = '{"node":"lyra","url":"https://hub:7600","origin":"x=y","vkey":"k"}';
  const facts = readFacts(`${lines}enrolment=${enrolment}\n`);
  assert.deepEqual([facts.version, facts.settings, facts.active, facts.deb], [undefined, 'ab', true, false]);
  assert.deepEqual(facts.enrolment, { node: 'lyra', url: 'https://hub:7600' });
  assert.throws(() => readFacts('machine=x\n'));
});

const release = { version: '0.2.0', manifest: 'bb', defaultSettings: '# defaults\n' };
const onMachine = (lines: string): Facts =>
  readFacts(
    `machine=Linux x86_64\nmanager=systemd\nactive=\ndeb=\nenrolment=\n${lines}`
      .split('\n')
      .concat(['version=', 'manifest=', 'settings=', 'unfinished=', 'begun='].filter((key) => !lines.includes(key)))
      .join('\n'),
  );

test('settings that an installation has put there, and nothing has run with, are chosen anew after an interruption', () => {
  const defaults = `settings=${sumOfText('# defaults\n')}`;
  assert.equal(hasSettings(onMachine(''), release), false);
  assert.equal(hasSettings(onMachine(defaults), release), false);
  assert.equal(hasSettings(onMachine(`${defaults}\nbegun=yes`), release), true);
  assert.equal(hasSettings(onMachine('settings=ab'), release), true);
});

test('what an interrupted run has installed is installed again, though its manifest is there', () => {
  const there = 'manifest=bb';
  assert.equal(changeOf(onMachine(there), release, undefined).package, false);
  assert.equal(changeOf(onMachine(`${there}\nunfinished=yes`), release, undefined).package, true);
});

test('a later version is refused before anything is touched', () => {
  assert.throws(() => requireNoDowngrade(onMachine('version=0.3.0'), release), /version 0\.3\.0 is installed there/);
  requireNoDowngrade(onMachine('version=0.2.0'), release);
  requireNoDowngrade(onMachine(''), release);
});

test('files of the command line are read before anything is done', async () => {
  const options = readCommandLine(['--collector', 'hub', '--ca-file', 'no.pem', 'lyra'], '/nowhere');
  await assert.rejects(readGiven(options), /--ca-file: ENOENT.*\/nowhere\/no\.pem/);
});

test('of two scripts for a program on one machine the second waits for the first', async () => {
  const turn = (await readFile(join(import.meta.dirname, '../../scripts/deployment/shell/turn.sh'), 'utf8')).replace(
    '/run/',
    '"$at"/',
  );
  const at = await mkdtemp(join(tmpdir(), 'sgw-turn-'));
  const run = (script: string) =>
    promisify(execFile)('sh', ['-euc', `at=${quoted(at)} name=x\nfail() { exit 1; }\n${turn}\n${script}`]);
  // The first one goes on only once the second one has begun.
  const first = run('until [ -e "$at/second" ]; do sleep 0.1; done; sleep 1; echo first >>"$at/said"');
  await until('the first has its turn', () => readdirSync(at).includes('sigilwatch-deploy-x'));
  const second = promisify(execFile)('sh', [
    '-euc',
    `at=${quoted(at)} name=x\nfail() { exit 1; }\n: >"$at/second"\n${turn}\necho second >>"$at/said"`,
  ]);
  await Promise.all([first, second]);
  assert.equal(await readFile(join(at, 'said'), 'utf8'), 'first\nsecond\n');
  // One that was killed holds up nobody.
  await symlink('999999999', join(at, 'sigilwatch-deploy-x'));
  await run('echo third >>"$at/said"');
  assert.deepEqual(readdirSync(at).sort(), ['said', 'second']);
  await rm(at, { recursive: true });
});

test('a node counts as running when all its services do, and what ran of it is known one by one', async () => {
  const common = await readFile(join(import.meta.dirname, '../../scripts/deployment/shell/common.sh'), 'utf8');
  const said = (running: string) => {
    // Like systemctl, which says of several units that they are active when one of them is.
    const fake = `manager() { echo systemd; }; systemctl() { shift 2; for one; do case " ${running} " in *" $one "*) return 0 ;; esac; done; return 3; }`;
    const script = `name=x services='executor agent'\n${common}\n${fake}\nactive && echo all; running`;
    return execFileSync('sh', ['-uc', script], { encoding: 'utf8' }).trim().split('\n');
  };
  assert.deepEqual(['', 'executor', 'executor agent'].map(said), [[''], ['executor'], ['all', 'executor', 'agent']]);
});
