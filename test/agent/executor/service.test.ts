import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { startExecutor } from '../../../agent/executor/executor.ts';
import { lineLog } from '../../../agent/executor/log.ts';
import { limits } from '../../../common/limits.ts';
import { until } from '../../until.ts';
import {
  endlessPath,
  ids,
  lingeringPath,
  makeKeys,
  makeOrder,
  node,
  type Scene,
  silentPath,
  slowPath,
  startScene,
} from './scene.ts';

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: docker\r\n\r\n`;
const bytesBetween = 4 * 1024 * 1024;

describe('the executor', () => {
  let scene: Scene;
  const clients: net.Socket[] = [];
  beforeEach(async () => {
    scene = await startScene();
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    await scene.stop();
  });

  function open(request: string): net.Socket {
    const client = net.connect(scene.socketPath);
    client.on('error', () => {});
    client.write(request);
    clients.push(client);
    return client;
  }

  test('holds nothing of an answer that nobody reads, and gives it to who begins to', async () => {
    const client = open(get(endlessPath));
    await until('the engine pours', () => scene.poured() > 0);
    let before = -1;
    // It comes to a stop when all that lies between is full.
    await until('nobody takes more', () => {
      const stands = before === scene.poured();
      before = scene.poured();
      return stands;
    });
    assert.ok(before < bytesBetween, `${before} bytes lie between engine and client`);
    client.resume();
    await until('it goes on', () => scene.poured() > before + bytesBetween);
    client.destroy();
    await until('the engine was let go', () => scene.waiting() === 0);
  });

  test('lets go of the engine when its client goes, in the middle of an answer or before it', async () => {
    const waiting = [open(get(slowPath)), open(get(silentPath)), open(get(silentPath))];
    await until('all wait', () => scene.waiting() === waiting.length);
    for (const client of waiting) client.destroy();
    await until('none waits', () => scene.waiting() === 0);
  });

  test('counts what a client had done that does not wait for the connection to end', async () => {
    const client = open(`DELETE ${lingeringPath} HTTP/1.1\r\nHost: docker\r\n\r\n`);
    let said = '';
    client.on('data', (chunk) => {
      said += chunk;
    });
    await until('the answer is whole', () => said.endsWith('{}'));
    client.destroy();
    await until('the engine was let go', () => scene.waiting() === 0);
    const { text } = await scene.ask({ method: 'GET', path: '/sigilwatch/counts' });
    const { passed, failed } = JSON.parse(text);
    assert.deepEqual([passed.untag, failed], [1, {}]);
  });

  test('serves so many connections at a time and not one more, and others again when they have gone', async () => {
    const held = Array.from({ length: limits.executorMaxConnections }, () => open(get(silentPath)));
    await until('all wait', () => scene.waiting() === held.length);
    let said = '';
    const oneMore = open(get('/_ping')).on('data', (chunk) => {
      said += chunk;
    });
    await until('it is turned away', () => oneMore.closed);
    assert.equal(said, '');
    for (const client of held) client.destroy();
    await until('none waits', () => scene.waiting() === 0);
    await until('it answers again', async () => (await scene.raw(get('/_ping'))).startsWith('HTTP/1.1 200'));
    const { text } = await scene.ask({ method: 'GET', path: '/sigilwatch/counts' });
    const { refused, passed } = JSON.parse(text);
    assert.deepEqual([refused.busy, passed.ping], [1, 1]);
  });

  test('ends with what is under way done, waits for no stream, and leaves no socket', async () => {
    const events = open(get('/events')).resume();
    const slow = open(get(slowPath));
    await until('both are under way', () => scene.reached.length === 2);
    await once(slow, 'data');
    const slowEnded = once(slow.resume(), 'close');
    const stopping = scene.executor.stop();
    await assert.rejects(scene.ask({ method: 'GET', path: '/_ping' }));
    assert.equal(slow.closed, false);
    slow.destroy();
    await Promise.all([stopping, slowEnded]);
    assert.ok(events.closed || events.destroyed || events.readableEnded);
    assert.equal(existsSync(scene.socketPath), false);
  });

  test('breaks the connection when the engine is not there, and the order is not used up by it', async () => {
    const gone = await startScene();
    const order = makeOrder();
    const path = `/containers/${ids.ordered}/kill`;
    const asked = { method: 'POST', path, order };
    rmSync(gone.enginePath);
    for (let attempt = 0; attempt <= limits.executorUsesPerOrder; attempt++) {
      await assert.rejects(gone.ask(asked), { code: 'ECONNRESET' });
    }
    await assert.rejects(gone.ask({ method: 'GET', path: '/_ping' }), { code: 'ECONNRESET' });
    await gone.stop();
  });

  test('sends an image on as it comes, framed anew, and nothing beside it', async () => {
    const pieces = Array.from({ length: 40 }, (_, i) => Buffer.alloc(i * 3_000 + 1, `${i}`));
    const order = makeOrder({ action: 'rollback' });
    const asked = { method: 'POST', path: '/images/load', order, stream: pieces };
    assert.equal((await scene.ask(asked)).status, 200);
    const whole = Buffer.concat(pieces);
    const headers = { 'Content-Length': `${whole.length}`, 'Content-Type': 'application/x-tar' };
    assert.equal((await scene.ask({ ...asked, headers })).status, 200);
    for (const { body } of scene.reached) assert.ok(body.equals(whole));
    assert.deepEqual(
      scene.reached.map(({ headers }) => [headers['transfer-encoding'], headers['content-length']]),
      [
        ['chunked', undefined],
        [undefined, `${whole.length}`],
      ],
    );
  });

  test('says of every change what was done and by which order, and of a refusal why; never what was sent', async () => {
    const order = makeOrder();
    await scene.ask({ method: 'POST', path: `/containers/${ids.ordered}/kill`, order });
    await scene.ask({ method: 'POST', path: '/exec/secret/start' });
    const [, passed, refused] = scene.lines.map((line): unknown => JSON.parse(line));
    assert.deepEqual(
      [passed, refused].map((line) => JSON.stringify(line)).filter((line) => line.includes('secret')),
      [],
    );
    assert.match(JSON.stringify(passed), /"event":"executor.passed","call":"kill",.*"how":"answered","status":200/);
    assert.match(JSON.stringify(refused), /"event":"executor.refused","code":"request.call"/);
  });

  test('does not let its log be filled by refusals', async () => {
    for (let i = 0; i < limits.executorMaxRefusalLinesPerSecond * 3; i++)
      await scene.ask({ method: 'GET', path: '/info' });
    assert.equal(scene.lines.length, 1 + limits.executorMaxRefusalLinesPerSecond);
    const { text } = await scene.ask({ method: 'GET', path: '/sigilwatch/counts' });
    assert.equal(JSON.parse(text).refused['request.call'], limits.executorMaxRefusalLinesPerSecond * 3);
  });
});

describe('the served socket', () => {
  const trust = { node, collectorKeys: [makeKeys().collector.publicKey], nodeKey: undefined };
  const needs = {
    now: () => 0,
    log: lineLog(
      () => {},
      () => 0,
    ),
  };
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sgw-exec-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  const settings = (groupId?: number) => {
    return { socketPath: join(dir, 'x.sock'), enginePath: join(dir, 'none.sock'), groupId, trust };
  };

  test('is for its owner and its group alone', async () => {
    const executor = await startExecutor(settings(process.getgid?.()), needs);
    const { mode, gid } = statSync(settings().socketPath);
    assert.deepEqual([mode & 0o777, gid], [0o660, process.getgid?.()]);
    await executor.stop();
  });

  test('is not taken from an executor that serves there, only from one that has died', async () => {
    const first = await startExecutor(settings(), needs);
    await assert.rejects(startExecutor(settings(), needs), { code: 'state.conflict' });
    await first.stop();
    await leaveSocket(settings().socketPath);
    const second = await startExecutor(settings(), needs);
    await second.stop();
  });

  test('is not made over something else, nor where there is no folder', async () => {
    writeFileSync(settings().socketPath, 'precious');
    chmodSync(settings().socketPath, 0o600);
    await assert.rejects(startExecutor(settings(), needs), { code: 'validation.config' });
    assert.equal(statSync(settings().socketPath).size, 'precious'.length);
    const nowhere = { ...settings(), socketPath: join(dir, 'no/x.sock') };
    await assert.rejects(startExecutor(nowhere, needs), { code: 'validation.config' });
  });
});

/** As a process leaves its socket that was killed: the file stays, and nobody listens. */
async function leaveSocket(path: string): Promise<void> {
  const { spawnSync } = await import('node:child_process');
  const script = `require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  spawnSync(process.execPath, ['-e', script, path]);
  assert.ok(existsSync(path));
}
