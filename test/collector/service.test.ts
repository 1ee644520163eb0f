import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { passedSocket } from '../../collector/http/passed-socket.ts';
import { reportService } from '../../collector/service.ts';
import { until } from '../until.ts';

function world(answers: readonly (string | undefined)[]) {
  const said: string[] = [];
  const stopping = new AbortController();
  let looks = 0;
  const say = (what: string) => async (text?: string) => void said.push(text === undefined ? what : `${what} ${text}`);
  const notifier = { ready: say('ready'), status: say('status'), watchdog: say('watchdog'), stopping: say('stopping') };
  const served = { url: 'http://127.0.0.1:1', unready: async () => answers[Math.min(looks++, answers.length - 1)] };
  const report = (lifeSignMs: number) =>
    reportService(served, { notifier, lifeSignMs, lookMs: 1, signal: stopping.signal });
  return { said, stop: () => stopping.abort(), report };
}

describe('what the service manager is told', () => {
  test('the collector counts as started once entries can be taken and proven', async () => {
    const { said, stop, report } = world(['database: database.unreachable', undefined]);
    const reporting = report(1_000_000);
    await until('it is said', () => said.length >= 2);
    stop();
    await reporting;
    assert.deepEqual(said, ['status not ready: database: database.unreachable', 'ready serving http://127.0.0.1:1']);
  });

  test('what goes wrong later is its status, said once, and life signs go on', async () => {
    const { said, stop, report } = world([undefined, 'database: database.unreachable']);
    const reporting = report(1);
    await until('it is said', () => said.filter((line) => line === 'watchdog').length >= 3);
    stop();
    await reporting;
    const statuses = said.filter((line) => line !== 'watchdog');
    assert.deepEqual(statuses, [
      'ready serving http://127.0.0.1:1',
      'status not ready: database: database.unreachable',
    ]);
  });

  test('a collector that is stopped while it starts is not called ready', async () => {
    const { said, stop, report } = world(['ledger: ledger.tampered']);
    const reporting = report(1_000_000);
    await until('it is said', () => said.length >= 1);
    stop();
    await reporting;
    assert.ok(!said.some((line) => line.startsWith('ready')), said.join());
  });
});

describe('a socket that the service manager passes', () => {
  test('is taken by the process it is meant for, and by none of its children', () => {
    assert.equal(passedSocket({ LISTEN_PID: '7', LISTEN_FDS: '1' }, 7), 3);
    assert.equal(passedSocket({ LISTEN_PID: '7', LISTEN_FDS: '1' }, 8), undefined);
    assert.equal(passedSocket({ LISTEN_PID: '7', LISTEN_FDS: '0' }, 7), undefined);
    assert.equal(passedSocket({}, 7), undefined);
  });

  test('is one', () => {
    assert.throws(() => passedSocket({ LISTEN_PID: '7', LISTEN_FDS: '2' }, 7), { code: 'validation.config' });
  });
});
