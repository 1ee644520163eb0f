import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const folder = join(import.meta.dirname, '../systemd');
const units = readdirSync(folder).filter((name) => /\.(service|timer)$/.test(name));
const skip = spawnSync('systemd-analyze', ['--version']).error ? 'systemd-analyze is missing (package systemd)' : false;

test('systemd finds nothing wrong with the units', { skip }, () => {
  const paths = units.map((name) => join(folder, name));
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...paths], {
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('a timer has its service', () => {
  const timers = units.filter((name) => name.endsWith('.timer'));
  assert.ok(timers.length > 0);
  for (const timer of timers) assert.ok(units.includes(timer.replace(/timer$/, 'service')), timer);
});
