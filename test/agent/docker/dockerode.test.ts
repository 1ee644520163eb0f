import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, get } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { after, afterEach, beforeEach, test } from 'node:test';
import { dockerEngine } from '../../../agent/docker/dockerode.ts';
import { limits } from '../../../common/limits.ts';
import { image, isUnreachable, record, sleeps } from '../../contract/engine.ts';
import { type FakeEngine, startFakeEngine } from '../../fakes/engine.ts';
import { until } from '../../until.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'sgw-'));
const socketPath = path.join(dir, 'engine.sock');
let fake: FakeEngine;

beforeEach(async () => {
  fake = await startFakeEngine(socketPath);
  await fake.importImage(image);
});
afterEach(() => fake.stop());
after(() => rmSync(dir, { recursive: true, force: true }));

test('what cannot be read on the event stream is reported, and what follows is still told', async () => {
  const told = await record(dockerEngine({ socketPath }));
  fake.writeToStreams('not json\n');
  fake.writeToStreams(`{"Action":"start","labels":"${'x'.repeat(limits.maxEngineEventBytes)}"}\n`);
  const id = await fake.run({ name: 'a', image, cmd: sleeps });
  await until('the start is told', () => told.actions(id).includes('start'));
  assert.equal(told.unreadable.length, 2);
  await told.stop();
});

test('names and images of any length and content arrive cut and well-formed', async () => {
  const { id } = fake.state.create(`${'n'.repeat(limits.maxForeignTextChars - 1)}😀`, { Image: image });
  const name = (await dockerEngine({ socketPath }).inspect(id))?.container.name ?? '';
  assert.ok(name.length <= limits.maxForeignTextChars && name.isWellFormed());
});

test('a broken connection rejects the stream as unreachable', async () => {
  const told = await record(dockerEngine({ socketPath }));
  const rejected = assert.rejects(told.ended, isUnreachable(socketPath));
  fake.dropConnections();
  await rejected;
});

test('an answer that breaks off in the middle is unreachable once the timeout passes', async () => {
  const halfPath = path.join(dir, 'half.sock');
  const half = createServer((socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{'));
  }).listen(halfPath);
  await assert.rejects(dockerEngine({ socketPath: halfPath, timeoutMs: 200 }).list(), isUnreachable(halfPath));
  half.close();
});

test('an answer that never ends is unreachable once the timeout passes, and is read no further', async () => {
  const endlessPath = path.join(dir, 'endless.sock');
  let cut = false;
  const endless = createServer((socket) => {
    const pour = setInterval(() => socket.write(`${'x'.repeat(1_000)}`), 1);
    socket.write('HTTP/1.1 200 OK\r\n\r\n[');
    socket.on('error', () => {});
    socket.on('close', () => {
      clearInterval(pour);
      cut = true;
    });
  }).listen(endlessPath);
  await assert.rejects(dockerEngine({ socketPath: endlessPath, timeoutMs: 200 }).list(), isUnreachable(endlessPath));
  await until('the connection is cut', () => cut);
  endless.close();
});

test('a time longer than any is an answer that cannot be read', async () => {
  const wordyPath = path.join(dir, 'wordy.sock');
  const { id } = fake.state.create('wordy', { Image: image });
  const response = await new Promise<string>((resolve, reject) => {
    get({ socketPath, path: `/containers/${id}/json` }, (answer) => text(answer).then(resolve, reject));
  });
  const json = { ...JSON.parse(response), Created: `2026-01-01T00:00:00.${'1'.repeat(600)}Z` };
  const wordy = createHttpServer((_, answer) => answer.end(JSON.stringify(json))).listen(wordyPath);
  await assert.rejects(dockerEngine({ socketPath: wordyPath }).inspect(id), { code: 'engine.answer' });
  wordy.close();
});

test('a missing socket, a file that is no socket and a listener that is no engine each name the socket', async () => {
  const file = path.join(dir, 'file');
  writeFileSync(file, '');
  await assert.rejects(dockerEngine({ socketPath: file }).ping(), isUnreachable(file));
  const missing = path.join(dir, 'missing.sock');
  await assert.rejects(dockerEngine({ socketPath: missing }).ping(), isUnreachable(missing));
  const otherPath = path.join(dir, 'other.sock');
  const other = createServer((socket) => socket.end('220 mail.example ESMTP\r\n')).listen(otherPath);
  await assert.rejects(dockerEngine({ socketPath: otherPath }).ping(), isUnreachable(otherPath));
  other.close();
});

test('DOCKER_HOST does not divert the agent from the engine it was told to watch', () => {
  const adapter = new URL('../../../agent/docker/dockerode.ts', import.meta.url).href;
  const program = `
    const { dockerEngine } = await import(${JSON.stringify(adapter)});
    await dockerEngine({ socketPath: '/missing/engine.sock' }).ping().catch((error) => console.log(error.message));`;
  const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    env: { PATH: '/usr/bin', DOCKER_HOST: 'tcp://127.0.0.1:1' },
    encoding: 'utf8',
  });
  assert.match(stdout, /^no Docker engine at \/missing\/engine\.sock/);
});
