import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { until } from '../until.ts';
import { bootMachine, type Machine, whyNoMachine } from './machine.ts';
import { probeSource } from './probe.ts';
import { addDropIn, collectorCli, install, journal, journalled, probe, property, start } from './world.ts';

const unit = 'sigilwatch-collector.service';
const reason = whyNoMachine();

describe('the collector under systemd', { skip: reason ?? false }, () => {
  let machine: Machine;

  before(async () => {
    machine = await bootMachine();
    install(machine);
  });
  after(() => machine?.stop());

  const mainPid = () => {
    const pid = Number(property(machine, unit, 'MainPID'));
    assert.ok(pid > 0, 'kill takes 0 for everybody in our own group');
    return pid;
  };
  const restarts = () => Number(property(machine, unit, 'NRestarts'));
  const health = (url = 'http://127.0.0.1:7600') => machine.run('curl', '-sf', '--max-time', '20', `${url}/health`);
  const backAfter = (count: number) =>
    until('it serves again', () => restarts() > count && property(machine, unit, 'ActiveState') === 'active', 60_000);

  test('has started once it takes entries, as a user of its own, with its own database', async () => {
    start(machine, unit);
    assert.deepEqual(health().stdout, '{"status":"ok"}');
    assert.equal(property(machine, unit, 'StatusText'), 'serving http://127.0.0.1:7600');
    assert.equal(machine.output('stat', '-c', '%U %a', '/var/lib/sigilwatch-collector'), 'sigilwatch-collector 700\n');
    const processes = machine.output('ps', '-o', 'user:32=', '-o', 'comm=', '-C', 'node,postgres').trim().split('\n');
    assert.deepEqual(new Set(processes.map((line) => line.split(/\s+/)[0])), new Set(['sigilwatch-collector']));
    assert.ok(processes.some((line) => line.endsWith('postgres')));
    const code = await journalled(machine, unit, ({ setupCode }) =>
      typeof setupCode === 'string' ? setupCode : undefined,
    );
    assert.ok(code.length > 8);
    assert.doesNotMatch(journal(machine, unit), /"level":"(warn|error)"/);
  });

  test('may write its own folder and nothing else', () => {
    const found = probe(machine, unit, probeSource, ['Environment=STATE=/var/lib/sigilwatch-collector']);
    const done = [...found].flatMap(([what, outcome]) => (outcome === 'done' ? [what] : []));
    assert.deepEqual(done, ['write own folder', 'step behind others', 'listen on a port']);
    assert.equal(found.get('user'), 'sigilwatch-collector');
    assert.equal(found.get('privileges'), '0000000000000000');
  });

  test('that was killed is back by itself, and what was on record is there', async () => {
    collectorCli(machine, 'nodes', 'token', 'lyra');
    const before = collectorCli(machine, '--json', 'ledger', 'verify');
    const count = restarts();
    machine.output('kill', '-9', String(mainPid()));
    await backAfter(count);
    const { entries } = JSON.parse(collectorCli(machine, '--json', 'ledger', 'verify'));
    assert.ok(entries > 0 && entries >= JSON.parse(before).entries);
  });

  test('that hangs is ended by the watchdog, and started again', async () => {
    addDropIn(machine, unit, ['[Service]', 'WatchdogSec=10s']);
    machine.output('systemctl', 'restart', unit);
    const count = restarts();
    machine.output('kill', '-STOP', String(mainPid()));
    await backAfter(count);
    assert.match(machine.output('journalctl', '--no-pager', '--output=cat', '_PID=1'), /Watchdog timeout/);
    assert.equal(health().status, 0);
  });

  test('is checked at night as the same user, beside it', () => {
    const sharedMemory = () => machine.output('ls', '/dev/shm');
    const before = sharedMemory();
    assert.match(before, /PostgreSQL/);
    start(machine, 'sigilwatch-ledger-check.service');
    assert.equal(sharedMemory(), before);
    assert.equal(property(machine, 'sigilwatch-ledger-check.service', 'Result'), 'success');
    assert.equal(health().status, 0);
    assert.match(collectorCli(machine, 'integrity', 'reports'), /^\S+\tcollector\tok\t/m);
  });

  test('has commands that root may run, up or down, which leave nothing of root behind', () => {
    const strangers = () =>
      machine.output(
        'find',
        '/var/lib/sigilwatch-collector',
        '!',
        '-user',
        'sigilwatch-collector',
        '-o',
        '!',
        '-group',
        'sigilwatch-collector',
      );
    const command = ['sigilwatch-collector', '--config', '/etc/sigilwatch/collector.yaml'] as const;
    machine.output(...command, 'nodes', 'token', 'node1');
    assert.equal(strangers(), '');
    machine.output('systemctl', 'stop', unit);
    machine.output(...command, 'nodes', 'token', 'node2');
    machine.output(...command, 'ledger', 'verify');
    assert.equal(strangers(), '');
  });

  test('whose socket systemd holds refuses nobody while it restarts, and serves a low port without any right', async () => {
    machine.output('systemctl', 'stop', unit);
    addDropIn(machine, 'sigilwatch-collector.socket', ['[Socket]', 'ListenStream=', 'ListenStream=127.0.0.1:443']);
    start(machine, 'sigilwatch-collector.socket');
    // Nothing runs; whoever comes first has it started, and waits.
    assert.equal(property(machine, unit, 'ActiveState'), 'inactive');
    assert.equal(health('http://127.0.0.1:443').stdout, '{"status":"ok"}');
    await until('it says so', () => property(machine, unit, 'StatusText') === 'serving http://127.0.0.1:443');
    machine.output('systemctl', '--no-block', 'restart', unit);
    assert.equal(health('http://127.0.0.1:443').stdout, '{"status":"ok"}');
  });

  test('does not serve others without TLS through a socket that is passed', async () => {
    machine.output('systemctl', 'stop', 'sigilwatch-collector.socket', unit);
    addDropIn(machine, 'sigilwatch-collector.socket', ['[Socket]', 'ListenStream=', 'ListenStream=0.0.0.0:7601']);
    start(machine, 'sigilwatch-collector.socket');
    machine.run('systemctl', '--no-block', 'start', unit);
    await until('it says why', () => journal(machine, unit).includes('without TLS'), 60_000);
    machine.output('systemctl', 'stop', 'sigilwatch-collector.socket', unit);
  });
});
