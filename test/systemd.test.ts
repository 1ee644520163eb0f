import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const folder = join(import.meta.dirname, '../systemd');
const units = readdirSync(folder).filter((name) => /\.(service|timer|socket)$/.test(name));
const asked = spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' });
const skip = asked.error ? 'systemd-analyze is missing (package systemd)' : false;
const systemdVersion = Number(/^systemd (\d+)/.exec(asked.stdout ?? '')?.[1] ?? 0);

/** Known from systemd 254; older ones say so, leave them out, and wait `RestartSec=` each time. */
const newerKeys = /^.*: Unknown key '(RestartSteps|RestartMaxDelaySec)' in section \[Service\], ignoring\.\n/gm;

/** What `systemd-analyze security` says of each, times ten, at most. */
const exposures = { agent: 15, collector: 15, executor: 10, integrity: 15, 'ledger-check': 15 };

test('systemd finds nothing wrong with the units', { skip }, () => {
  const paths = units.map((name) => join(folder, name));
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...paths], {
    encoding: 'utf8',
  });
  const complaints = systemdVersion < 254 ? stderr.replace(newerKeys, '') : stderr;
  assert.deepEqual([status, stdout, complaints], [0, '', '']);
});

for (const [program, threshold] of Object.entries(exposures)) {
  const unit = `sigilwatch-${program}.service`;
  test(`the exposure of ${unit} is at most ${threshold / 10}`, { skip }, () => {
    const options = ['--offline=true', `--threshold=${threshold}`, '--no-pager'];
    const { status, stdout } = spawnSync('systemd-analyze', ['security', ...options, join(folder, unit)], {
      encoding: 'utf8',
    });
    assert.match(stdout, /Overall exposure level/);
    assert.equal(status, 0, stdout);
  });
}

test('each service has a bound for its exposure', () => {
  const services = units.filter((name) => name.endsWith('.service'));
  assert.deepEqual(
    services,
    Object.keys(exposures)
      .map((program) => `sigilwatch-${program}.service`)
      .sort(),
  );
});

test('a timer has its service', () => {
  const timers = units.filter((name) => name.endsWith('.timer'));
  assert.ok(timers.length > 0);
  for (const timer of timers) assert.ok(units.includes(timer.replace(/timer$/, 'service')), timer);
});
