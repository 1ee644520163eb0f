import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const folder = join(import.meta.dirname, '../../../systemd');
const path = join(folder, 'sigilwatch-executor.service');
const lines = readFileSync(path, 'utf8').split('\n');
const analyze = spawnSync('systemd-analyze', ['--version']).status === 0;

describe('the unit of the executor', () => {
  test('gives it no network, no privilege, no writable file system and little memory', () => {
    for (const line of [
      ...['PrivateNetwork=yes', 'RestrictAddressFamilies=AF_UNIX', 'NoNewPrivileges=yes', 'CapabilityBoundingSet='],
      ...['ProtectSystem=strict', 'MemoryDenyWriteExecute=yes', 'MemoryMax=64M', 'SystemCallFilter=@system-service'],
    ]) {
      assert.ok(lines.includes(line), line);
    }
  });

  test('starts it as a user of its own, whose group is not that of the engine', () => {
    assert.ok(lines.includes('User=sigilwatch-executor') && lines.includes('Group=sigilwatch-engine'));
    const made = readFileSync(join(folder, 'sigilwatch-executor.sysusers.conf'), 'utf8');
    for (const line of ['g sigilwatch-engine ', 'u sigilwatch-executor ', 'm sigilwatch-executor docker']) {
      assert.ok(made.includes(line), line);
    }
  });

  test('is understood by systemd', { skip: analyze ? false : 'systemd-analyze is not installed' }, () => {
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
    assert.deepEqual([status, stderr.includes('sigilwatch-executor')], [0, false], stderr);
  });
});
