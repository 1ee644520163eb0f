import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { until } from '../until.ts';
import { bootMachine, type Machine, whyNoMachine } from './machine.ts';
import { probeSource } from './probe.ts';
import { addDropIn, collectorCli, install, journal, probe, property, start } from './world.ts';

const unit = 'sigilwatch-agent.service';
const executor = 'sigilwatch-executor.service';
const reason =
  whyNoMachine() ?? (existsSync('/run/docker.sock') ? undefined : 'needs a Docker engine at /run/docker.sock');

/** A store that only the group of its program may read. */
const store = '/var/lib/app/sigils';
const makeStore = `
  const { ClassicLevel } = require('/usr/lib/sigilwatch/node_modules/classic-level');
  const db = new ClassicLevel(process.argv[1]);
  db.put('app!health!probe', '{}').then(() => db.close());`;

describe('the agent under systemd', { skip: reason ?? false }, () => {
  let machine: Machine;

  before(async () => {
    machine = await bootMachine();
    install(machine);
    machine.output('groupadd', '--system', 'app');
    machine.output('mkdir', '-p', store);
    machine.output('node', '-e', makeStore, store);
    machine.output('chgrp', '-R', 'app', '/var/lib/app');
    machine.output('chmod', '-R', 'u=rwX,g=rX,o=', '/var/lib/app');
    start(machine, 'sigilwatch-collector.service');
    const { token } = JSON.parse(collectorCli(machine, '--json', 'nodes', 'token', 'lyra'));
    machine.output('mkdir', '-p', '-m', '700', '/var/lib/sigilwatch-agent');
    machine.output('chown', 'sigilwatch-agent:', '/var/lib/sigilwatch-agent');
    const enroll = ['enroll', '--collector', 'http://127.0.0.1:7600', '--token', token, '--node', 'lyra'];
    machine.output('sigilwatch-agent', ...enroll, '--executor-dir', '/etc/sigilwatch');
  });
  after(() => machine?.stop());

  test('watches through the executor, as a user of its own that cannot reach the engine', () => {
    start(machine, executor, unit);
    assert.equal(property(machine, unit, 'StatusText'), 'watching lyra');
    assert.equal(
      machine.output('ps', '-o', 'user:32=', '-p', property(machine, unit, 'MainPID')),
      'sigilwatch-agent\n',
    );
    assert.match(collectorCli(machine, 'nodes', 'list'), /lyra/);
    const status = JSON.parse(machine.output('curl', '-sf', 'http://127.0.0.1:7601/healthz'));
    assert.equal(status.engine, 'up');
    assert.doesNotMatch(journal(machine, unit), /"level":"(warn|error)"/);
  });

  test('may write its own folder, speak to the executor, and nothing else', () => {
    const found = probe(machine, unit, probeSource, ['Environment=STATE=/var/lib/sigilwatch-agent']);
    const done = [...found].flatMap(([what, outcome]) => (outcome === 'done' ? [what] : []));
    const own = ['write own folder', 'connect /run/sigilwatch-executor/engine.sock', 'listen on a port'];
    assert.deepEqual(done, own);
    assert.equal(found.get('user'), 'sigilwatch-agent');
    assert.equal(found.get('privileges'), '0000000000000000');
  });

  test('reads a store of another user by its group, and by no other way', () => {
    const read = `
      const { readFileSync } = require('node:fs');
      try { readFileSync('${store}/CURRENT'); console.log('store: read'); } catch (error) { console.log('store: ' + error.code); }
      try { console.log('secret: ' + (readFileSync('/etc/shadow', 'utf8') || 'nothing')); } catch (error) { console.log('secret: ' + error.code); }`;
    const outcome = (lines: readonly string[]) =>
      [...probe(machine, unit, read, lines)].filter(([what]) => /^(store|secret)$/.test(what));
    assert.deepEqual(outcome([]), [
      ['store', 'EACCES'],
      ['secret', 'EACCES'],
    ]);
    assert.deepEqual(outcome(['SupplementaryGroups=app']), [
      ['store', 'read'],
      ['secret', 'EACCES'],
    ]);
    const everything = ['CapabilityBoundingSet=CAP_DAC_READ_SEARCH', 'AmbientCapabilities=CAP_DAC_READ_SEARCH'];
    // What is hidden is another, empty file to whoever may read all files.
    assert.deepEqual(outcome(everything), [
      ['store', 'read'],
      ['secret', 'nothing'],
    ]);
  });

  test('that hangs is ended by the watchdog, and started again; killed, it is back by itself', async () => {
    const restarts = () => Number(property(machine, unit, 'NRestarts'));
    const backAfter = (count: number) =>
      until(
        'it watches again',
        () => restarts() > count && property(machine, unit, 'ActiveState') === 'active',
        60_000,
      );
    machine.write('/etc/sigilwatch/agent.yaml', 'integrity: {schedule: "off"}\nscanIntervalMs: 1000\n');
    addDropIn(machine, unit, ['[Service]', 'WatchdogSec=10s']);
    machine.output('systemctl', 'restart', unit);
    const mainPid = () => {
      const pid = property(machine, unit, 'MainPID');
      assert.ok(Number(pid) > 0, 'kill takes 0 for everybody in our own group');
      return pid;
    };
    let count = restarts();
    machine.output('kill', '-STOP', mainPid());
    await backAfter(count);
    assert.match(machine.output('journalctl', '--no-pager', '--output=cat', '_PID=1'), /Watchdog timeout/);
    count = restarts();
    machine.output('kill', '-9', mainPid());
    await backAfter(count);
  });

  test('that scans seldom asks the watchdog for more patience', () => {
    machine.write('/etc/sigilwatch/agent.yaml', 'integrity: {schedule: "off"}\nscanIntervalMs: 600000\n');
    machine.output('systemctl', 'restart', unit);
    assert.equal(property(machine, unit, 'WatchdogUSec'), '30min');
  });

  test('has its stores checked at night by a service as tight as itself', () => {
    machine.write('/etc/sigilwatch/agent.yaml', `integrity: {schedule: "off"}\nsigils: {stores: {main: ${store}}}\n`);
    addDropIn(machine, 'sigilwatch-integrity.service', ['[Service]', 'SupplementaryGroups=app']);
    start(machine, 'sigilwatch-integrity.service');
    assert.equal(property(machine, 'sigilwatch-integrity.service', 'Result'), 'success');
  });

  test('the executor may reach two sockets of this machine, and nothing else', () => {
    const found = probe(machine, executor, probeSource, [
      'RuntimeDirectory=probe',
      'Environment=STATE=/run/probe',
      'MemoryMax=256M',
    ]);
    const done = [...found].flatMap(([what, outcome]) => (outcome === 'done' ? [what] : []));
    assert.deepEqual(done, [
      'write own folder',
      'connect /run/docker.sock',
      'connect /run/sigilwatch-executor/engine.sock',
    ]);
    assert.equal(found.get('user'), 'sigilwatch-executor');
  });
});
