import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, test } from 'node:test';
import { enrol, formatEnrolment } from '../../agent/enrol.ts';
import { loadIdentity } from '../../agent/identity.ts';
import { enrolBytes, enrolPath, enrolRequest } from '../../common/enrol.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint, publicKeyFromRaw, verifyBytes } from '../../common/keys.ts';
import { memoryLedger } from '../fakes/ledger.ts';
import { portOf } from '../wire.ts';

let dir = '';
const cleanups: (() => Promise<unknown> | undefined)[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-enrol-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const token = `swj_${'a'.repeat(43)}`;

/** The collector's side of enrolment: a token belongs to the first key that uses it. */
async function joinServer(ledger = memoryLedger()) {
  const uses: string[] = [];
  const state = { losesReplies: 0, answer: (body: object): object => body };
  const server = http.createServer(async (request, response) => {
    const wish = enrolRequest.parse(JSON.parse(await text(request)));
    const key = publicKeyFromRaw(Buffer.from(wish.public_key, 'base64'));
    const print = fingerprint(key);
    const proved = verifyBytes(key, enrolBytes(wish), Buffer.from(wish.signature, 'base64'));
    const fits = request.url === enrolPath && proved && (uses[0] ?? print) === print;
    uses.push(print);
    if (state.losesReplies-- > 0) return void request.socket.destroy();
    const refusal = { error_code: 'auth.token', message: 'used by another key', details: {}, request_id: '1' };
    const enrolled = { node: wish.node, fingerprint: print, origin: ledger.origin, vkey: ledger.vkey };
    response.writeHead(fits ? 200 : 401, { 'content-type': 'application/json' });
    response.end(JSON.stringify(fits ? state.answer(enrolled) : refusal));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(async () => server.close().closeAllConnections());
  return { url: `http://127.0.0.1:${portOf(server)}`, ledger, uses, state };
}

const wish = (collector: string) => ({ collector, token, node: 'node1', version: '0.1.0', dataDir: dir, force: false });
const failsWith = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof AppError && error.code === code && message.test(error.message);

test('a node enrols with a key made here, and pins the log', async () => {
  const { url, ledger, uses } = await joinServer();
  const enrolled = await enrol(wish(url));
  const identity = await loadIdentity(dir);
  assert.deepEqual(identity.collector, { url, origin: ledger.origin, vkey: ledger.vkey });
  assert.equal(enrolled.fingerprint, fingerprint(identity.keys.publicKey));
  assert.deepEqual(uses, [enrolled.fingerprint]);
  assert.ok(formatEnrolment(enrolled).includes(enrolled.fingerprint));
});

test('after a lost reply the same command works, with the same key', async () => {
  const { url, uses, state } = await joinServer();
  state.losesReplies = 1;
  await assert.rejects(enrol(wish(url)), failsWith('collector.unreachable', /can be run again/));
  await enrol(wish(url));
  await enrol(wish(url));
  assert.equal(uses.length, 3);
  assert.equal(new Set(uses).size, 1);
});

test('an identity enrolled elsewhere is not overwritten unless forced, and then with a new key', async () => {
  const [first, second] = [await joinServer(), await joinServer()];
  const { fingerprint: before } = await enrol(wish(first.url));
  await assert.rejects(enrol(wish(second.url)), failsWith('state.conflict', /enrolled as node1 with .*--force/));
  await assert.rejects(enrol({ ...wish(first.url), node: 'node2' }), failsWith('state.conflict', /--force/));
  assert.equal(second.uses.length, 0);
  second.state.losesReplies = 1;
  await assert.rejects(enrol({ ...wish(second.url), force: true }), failsWith('collector.unreachable', /./));
  assert.equal((await loadIdentity(dir)).collector.url, first.url);
  const { fingerprint: after } = await enrol({ ...wish(second.url), force: true });
  assert.notEqual(after, before);
  assert.equal((await loadIdentity(dir)).collector.url, second.url);
  assert.deepEqual((await readdir(dir)).sort(), ['collector.json', 'identity.pem']);
});

test('a collector whose log changed behind its address is not pinned over the old one', async () => {
  const { url, state } = await joinServer();
  await enrol(wish(url));
  const { origin, vkey } = memoryLedger({ origin: 'other.example/log' });
  state.answer = (body) => ({ ...body, origin, vkey });
  await assert.rejects(enrol(wish(url)), failsWith('state.conflict', /another ledger/));
});

test('answers that are not about us, or name a foreign key, are not pinned', async () => {
  const { url, state } = await joinServer();
  const { vkey } = memoryLedger({ origin: 'other.example/log' });
  for (const wrong of [{ node: 'node2' }, { fingerprint: 'SHA256:x' }, { vkey }, { vkey: undefined }]) {
    state.answer = (body) => ({ ...body, ...wrong });
    await assert.rejects(enrol(wish(url)), failsWith('collector.refused', /./));
  }
  await assert.rejects(loadIdentity(dir), failsWith('auth.required', /./));
});

test('a token that does not fit is reported with the collector’s reason', async () => {
  const { url, uses } = await joinServer();
  uses.push('SHA256:somebody-else');
  await assert.rejects(enrol(wish(url)), failsWith('collector.refused', /auth\.token\): used by another key/));
});

test('malformed wishes never leave the node, and the token is not repeated', async () => {
  const { url, uses } = await joinServer();
  const isQuiet = (error: unknown) =>
    error instanceof AppError && error.code === 'validation.request' && !error.message.includes('secret');
  await assert.rejects(enrol({ ...wish(url), token: 'secret' }), isQuiet);
  await assert.rejects(enrol({ ...wish(url), node: 'Node 1' }), isQuiet);
  await assert.rejects(enrol(wish('ftp://x')), isQuiet);
  assert.equal(uses.length, 0);
});

test('an address where nobody listens is reported as unreachable', async () => {
  await assert.rejects(enrol(wish('http://127.0.0.1:1')), failsWith('collector.unreachable', /127\.0\.0\.1:1/));
});
