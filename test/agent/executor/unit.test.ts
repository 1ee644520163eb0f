import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';

const folder = join(import.meta.dirname, '../../../systemd');
const unitOf = (program: string) => join(folder, `sigilwatch-${program}.service`);
const linesOf = (program: string) => readFileSync(unitOf(program), 'utf8').split('\n');
const analyze = spawnSync('systemd-analyze', ['--version']).status === 0;
const needsSystemd = { skip: analyze ? false : 'systemd-analyze is not installed' };

describe('the unit of the executor', () => {
  const lines = linesOf('executor');
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
});

describe('the unit of the agent', () => {
  const lines = linesOf('agent');
  test("gives it the executor's socket, and the engine's in no way", () => {
    for (const line of [
      ...['User=sigilwatch-agent', 'SupplementaryGroups=sigilwatch-engine', 'NoNewPrivileges=yes'],
      'Environment=SIGILWATCH_DOCKER_SOCKET_PATH=/run/sigilwatch-executor/engine.sock',
      'InaccessiblePaths=-/run/docker.sock -/var/run/docker.sock',
      'Wants=network-online.target sigilwatch-executor.service',
    ]) {
      assert.ok(lines.includes(line), line);
    }
    assert.ok(linesOf('executor').some((line) => line.includes('--socket /run/sigilwatch-executor/engine.sock')));
    assert.match(readFileSync(join(folder, 'sigilwatch-agent.sysusers.conf'), 'utf8'), /^u sigilwatch-agent /m);
  });

  test('gives it no privilege, and nothing that makes of a drop-in that gives one more than it says', () => {
    for (const line of [
      ...['CapabilityBoundingSet=', 'AmbientCapabilities='],
      // `open_by_handle_at`, by which a right to read all files leads out of every folder tree, is @privileged.
      ...['ProtectSystem=strict', 'SystemCallFilter=~@privileged @resources @keyring'],
    ]) {
      assert.ok(lines.includes(line), line);
    }
  });
});

for (const program of ['agent', 'executor']) {
  test(`the unit of the ${program} is understood by systemd`, needsSystemd, () => {
    const verified = spawnSync('systemd-analyze', ['verify', unitOf(program)], { encoding: 'utf8' });
    const said = verified.stderr.replace(/^.*Unknown key '(RestartSteps|RestartMaxDelaySec)'.*\n/gm, '');
    assert.deepEqual([verified.status, said.includes('sigilwatch-')], [0, false], said);
  });
}
