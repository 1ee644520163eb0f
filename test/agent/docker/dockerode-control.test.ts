import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, beforeEach, test } from 'node:test';
import { dockerControl } from '../../../agent/docker/dockerode-control.ts';
import { limits } from '../../../common/limits.ts';
import { image, isUnreachable, sleeps } from '../../contract/engine.ts';
import { type FakeEngine, startFakeEngine } from '../../fakes/engine.ts';

const dir = mkdtempSync(path.join(tmpdir(), 'sgw-'));
const socketPath = path.join(dir, 'engine.sock');
let fake: FakeEngine;

beforeEach(async () => {
  fake = await startFakeEngine(socketPath);
  await fake.importImage(image);
});
afterEach(() => fake.stop());
after(() => rmSync(dir, { recursive: true, force: true }));

/** A container whose program has left this behind. */
async function left(behind: { readonly added?: readonly string[]; readonly output?: readonly string[] }) {
  const id = await fake.create({ name: 'busy', image, cmd: sleeps });
  const output = (behind.output ?? []).map((text) => ({ to: 'stdout' as const, text }));
  fake.state.find(id).ran = { output, added: behind.added ?? [], exitCode: undefined };
  return id;
}

test('of many changed files the first are told, also when there are more than anybody would read', async () => {
  const control = dockerControl({ socketPath });
  for (const name of ['x', 'a {"brace}" \\ in it '.repeat(120)]) {
    const added = Array.from({ length: 2 * limits.maxEvidenceChanges }, (_, at) => `/${at}/${name}`);
    const id = await left({ added });
    const told = (await control.changes(id)).map(({ path, kind }) => `${kind} ${path}`);
    const first = added.slice(0, limits.maxEvidenceChanges).map((path) => `added ${path}`);
    assert.ok(told.join('\n') === first.join('\n'), `${told.length} are told`);
    await control.remove(id);
  }
});

test('of long lines the end is told', async () => {
  const output = ['a', 'b', 'c'].map((letter) => `${letter.repeat(limits.maxEvidenceLogBytes)}\n`);
  const text = await dockerControl({ socketPath }).logs(await left({ output }), 3);
  assert.equal(text, output.join('').slice(-limits.maxEvidenceLogBytes));
});

test('a log driver that cannot be read leaves no log; another refusal is one', async () => {
  const refusing = path.join(dir, 'refusing.sock');
  let status = 501;
  const server = createServer((_, response) => response.writeHead(status).end('{"message":"no"}')).listen(refusing);
  const control = dockerControl({ socketPath: refusing });
  const id = 'a'.repeat(64);
  assert.equal(await control.logs(id, 1), '');
  status = 500;
  await assert.rejects(control.logs(id, 1), { code: 'engine.answer' });
  await assert.rejects(control.kill(id), { code: 'engine.answer' });
  server.close();
  server.closeAllConnections();
});

test('an answer that cannot be read is told as such', async () => {
  const lying = path.join(dir, 'lying.sock');
  const server = createServer((_, response) => response.end('[{"Path":')).listen(lying);
  const control = dockerControl({ socketPath: lying });
  const id = 'a'.repeat(64);
  const calls = [() => control.rawInspect(id), () => control.changes(id), () => control.findImage(image)];
  for (const call of calls) await assert.rejects(call(), { code: 'engine.answer' });
  await assert.rejects(control.create('x', { Image: image, Labels: {}, HostConfig: {} }), { code: 'engine.answer' });
  server.close();
  server.closeAllConnections();
});

test('no engine at all is unreachable, whatever is asked', async () => {
  const missing = path.join(dir, 'missing.sock');
  const control = dockerControl({ socketPath: missing });
  const id = 'a'.repeat(64);
  const calls = [
    () => control.kill(id),
    () => control.logs(id, 1),
    () => control.networks(id),
    () => control.stop(id, 0),
  ];
  for (const call of calls) await assert.rejects(call(), isUnreachable(missing));
});
