import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { systemdNotifier } from '../../agent/notify.ts';
import type { Logger } from '../../common/log.ts';
import { notifierOver, watchdogIntervalMs } from '../../common/notify.ts';
import { until } from '../until.ts';

const tools = ['systemd-notify', 'systemd-socket-activate'];
const missing = tools.filter((tool) => spawnSync(tool, ['--version']).error !== undefined);
const skip = missing.length > 0 ? `${missing.join(' and ')} is missing (package systemd)` : false;

/** systemd-socket-activate binds the datagram socket and hands it over as descriptor 3; each read is one datagram. */
const receiverSource = `
  const { readSync } = require('node:fs');
  const buffer = Buffer.alloc(4096);
  const poll = () => {
    try { console.log(JSON.stringify(buffer.toString('utf8', 0, readSync(3, buffer)))); } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
    setTimeout(poll, 5);
  };
  poll();`;

function collectingLog(events: string[]): Logger {
  const take = (event: string) => void events.push(event);
  return { debug: take, info: take, warn: take, error: take };
}

describe('under systemd', { skip }, () => {
  let folder: string;
  let socket: string;
  let receiver: ChildProcess;
  const datagrams: string[] = [];
  const events: string[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sigilwatch-notify-'));
    socket = join(folder, 'notify.sock');
    receiver = spawn(
      'systemd-socket-activate',
      ['--datagram', `--listen=${socket}`, '--', process.execPath, '-e', receiverSource],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const { stdout, stderr } = receiver;
    assert.ok(stdout !== null && stderr !== null);
    createInterface(stdout).on('line', (line) => datagrams.push(String(JSON.parse(line))));
    await once(createInterface(stderr), 'line', { signal: AbortSignal.timeout(60_000) });
    // The first datagram starts the receiver, which may take longer than a message may.
    await systemdNotifier({ NOTIFY_SOCKET: socket }, collectingLog([])).status('wake up');
    await until('the receiver reads', () => datagrams.includes('STATUS=wake up'), 60_000);
    datagrams.length = 0;
  });

  after(async () => {
    const gone = once(receiver, 'exit');
    receiver.kill('SIGKILL');
    await gone;
    await rm(folder, { recursive: true, force: true });
  });

  test('the manager hears readiness, life signs and the end, in this order', async () => {
    const notifier = systemdNotifier({ NOTIFY_SOCKET: socket, WATCHDOG_USEC: '180000000' }, collectingLog(events));
    await notifier.ready('watching 3 containers\nREADY=0', 90_000);
    await notifier.watchdog();
    await Promise.all([notifier.status('scanning'), notifier.watchdog(), notifier.stopping()]);
    // systemd-notify returns once its barrier is taken, which the receiver does in the order of arrival.
    const deadline = Date.now() + 10_000;
    while (!datagrams.includes('STOPPING=1') && Date.now() < deadline) await new Promise(setImmediate);
    assert.deepEqual(
      datagrams.filter((datagram) => datagram !== 'BARRIER=1'),
      ['READY=1\nSTATUS=watching 3 containers READY=0', 'WATCHDOG=1', 'STATUS=scanning', 'STOPPING=1'],
    );
    assert.deepEqual(events, []);
  });

  test('a manager that is gone is one warning, not a failure', async () => {
    const gone = systemdNotifier({ NOTIFY_SOCKET: join(folder, 'nobody.sock') }, collectingLog(events));
    await gone.ready('x');
    await gone.status('y');
    assert.deepEqual(events, ['notify.failed']);
  });
});

test('without a service manager nothing is sent', async () => {
  const events: string[] = [];
  const notifier = systemdNotifier({}, collectingLog(events));
  await notifier.ready('x');
  await notifier.stopping();
  assert.deepEqual(events, []);
});

test('a manager that is less patient than life signs are far apart is asked to wait', async () => {
  const said: string[] = [];
  const send = async (_: string, assignments: readonly string[]) => {
    said.push(assignments.join(' '));
    return undefined;
  };
  const notifier = (usec?: string) =>
    notifierOver(send, { NOTIFY_SOCKET: 'x', WATCHDOG_USEC: usec }, collectingLog([]));
  await notifier('180000000').ready('a', 90_000);
  await notifier('180000000').ready('b', 3_600_000);
  await notifier().ready('c', 3_600_000);
  assert.deepEqual(said, ['READY=1 STATUS=a', 'READY=1 STATUS=b WATCHDOG_USEC=7200000000', 'READY=1 STATUS=c']);
});

test('life signs are due twice as often as the manager expects them', () => {
  assert.equal(watchdogIntervalMs('60000000'), 30_000);
  assert.equal(watchdogIntervalMs(undefined), undefined);
  assert.equal(watchdogIntervalMs('0'), undefined);
  assert.equal(watchdogIntervalMs('soon'), undefined);
});
