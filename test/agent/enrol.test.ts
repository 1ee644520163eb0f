import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, test } from 'node:test';
import { enroll } from '../../agent/commands/enroll.ts';
import { enrol, formatEnrolment } from '../../agent/enrol.ts';
import { loadIdentity } from '../../agent/identity.ts';
import { enrolBytes, enrolPath, enrolRequest, formatJoinToken, hashLogKey, joinKeys } from '../../common/enrol.ts';
import { AppError } from '../../common/errors.ts';
import { fingerprint, publicKeyFromRaw, rawPublicKey, verifyBytes } from '../../common/keys.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { memoryLedger } from '../fakes/ledger.ts';
import { portOf } from '../wire.ts';
import { agentProgram } from './program.ts';

let dir = '';
const cleanups: (() => Promise<unknown> | undefined)[] = [];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sigilwatch-enrol-'));
  cleanups.push(() => rm(dir, { recursive: true, force: true }));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const secret = `swj_${'a'.repeat(43)}`;
const tokenOf = (vkey: string) => formatJoinToken({ secret, logKeyHash: hashLogKey(vkey) });

/** The collector's side of enrolment: a token belongs to the first key that uses it. */
async function joinServer(ledger = memoryLedger()) {
  const uses: string[] = [];
  const seen: string[] = [];
  const state = { losesReplies: 0, answer: (body: object): object => body };
  const server = http.createServer(async (request, response) => {
    const body = await text(request);
    seen.push(body);
    const wish = enrolRequest.parse(JSON.parse(body));
    const key = publicKeyFromRaw(Buffer.from(wish.public_key, 'base64'));
    const print = fingerprint(key);
    const proved = verifyBytes(key, enrolBytes(wish), Buffer.from(wish.signature, 'base64'));
    const tokenKey = publicKeyFromRaw(Buffer.from(wish.token_key, 'base64'));
    const invited =
      rawPublicKey(joinKeys(secret).publicKey).toString('base64') === wish.token_key &&
      verifyBytes(tokenKey, enrolBytes(wish), Buffer.from(wish.token_signature, 'base64'));
    const fits = request.url === enrolPath && proved && invited && (uses[0] ?? print) === print;
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
  return { collector: `http://127.0.0.1:${portOf(server)}`, token: tokenOf(ledger.vkey), ledger, uses, seen, state };
}

const wish = (at: { collector: string; token: string }) => ({
  ...{ collector: at.collector, token: at.token },
  ...{ node: 'node1', version: '0.1.0', dataDir: dir, force: false },
});
const failsWith = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof AppError && error.code === code && message.test(error.message);

test('a node enrols with a key made here, and pins the log', async () => {
  const server = await joinServer();
  const { collector: url, ledger, uses } = server;
  const enrolled = await enrol(wish(server));
  const identity = await loadIdentity(dir);
  assert.deepEqual(identity.collector, { url, origin: ledger.origin, vkey: ledger.vkey });
  assert.equal(enrolled.fingerprint, fingerprint(identity.keys.publicKey));
  assert.deepEqual(uses, [enrolled.fingerprint]);
  assert.equal(enrolled.logFingerprint, fingerprint(parseVerifierKey(ledger.vkey).publicKey));
  for (const print of [enrolled.fingerprint, enrolled.logFingerprint]) {
    assert.ok(formatEnrolment(enrolled).includes(print));
  }
});

test('after a lost reply the same command works, with the same key', async () => {
  const server = await joinServer();
  const { uses, state } = server;
  state.losesReplies = 1;
  await assert.rejects(enrol(wish(server)), failsWith('collector.unreachable', /can be run again/));
  await enrol(wish(server));
  await enrol(wish(server));
  assert.equal(uses.length, 3);
  assert.equal(new Set(uses).size, 1);
});

test('an identity enrolled elsewhere is not overwritten unless forced, and then with a new key', async () => {
  const [first, second] = [await joinServer(), await joinServer()];
  const { fingerprint: before } = await enrol(wish(first));
  await assert.rejects(enrol(wish(second)), failsWith('state.conflict', /enrolled as node1 with .*--force/));
  await assert.rejects(enrol({ ...wish(first), node: 'node2' }), failsWith('state.conflict', /--force/));
  assert.equal(second.uses.length, 0);
  second.state.losesReplies = 1;
  await assert.rejects(enrol({ ...wish(second), force: true }), failsWith('collector.unreachable', /./));
  assert.equal((await loadIdentity(dir)).collector.url, first.collector);
  const { fingerprint: after } = await enrol({ ...wish(second), force: true });
  assert.notEqual(after, before);
  assert.equal((await loadIdentity(dir)).collector.url, second.collector);
  assert.deepEqual((await readdir(dir)).sort(), ['collector.json', 'identity.pem']);
});

test('a collector whose log changed behind its address is not pinned over the old one', async () => {
  const server = await joinServer();
  await enrol(wish(server));
  const { origin, vkey } = memoryLedger({ origin: 'other.example/log' });
  server.state.answer = (body) => ({ ...body, origin, vkey });
  await assert.rejects(enrol(wish(server)), failsWith('collector.refused', /another log key/));
  const invited = { ...wish(server), token: tokenOf(vkey) };
  await assert.rejects(enrol(invited), failsWith('state.conflict', /another ledger/));
});

test('somebody on the way who swaps the log key is not believed, and has not used the token up', async () => {
  const server = await joinServer();
  const { origin } = server.ledger;
  server.state.answer = (body) => ({ ...body, vkey: memoryLedger({ origin }).vkey });
  await assert.rejects(enrol(wish(server)), failsWith('collector.refused', /another log key than the join token/));
  await assert.rejects(loadIdentity(dir), failsWith('auth.required', /./));
  server.state.answer = (body) => body;
  await enrol(wish(server));
  assert.equal((await loadIdentity(dir)).collector.vkey, server.ledger.vkey);
});

test('the secret of a join token never travels', async () => {
  const server = await joinServer();
  await enrol(wish(server));
  assert.equal(server.seen.length, 1);
  assert.equal(server.seen.join('').includes('a'.repeat(43)), false);
});

test('answers that are not about us, or name a foreign key, are not pinned', async () => {
  const server = await joinServer();
  const { state } = server;
  const { vkey } = memoryLedger({ origin: 'other.example/log' });
  for (const wrong of [{ node: 'node2' }, { fingerprint: 'SHA256:x' }, { vkey }, { vkey: undefined }]) {
    state.answer = (body) => ({ ...body, ...wrong });
    await assert.rejects(enrol(wish(server)), failsWith('collector.refused', /./));
  }
  await assert.rejects(loadIdentity(dir), failsWith('auth.required', /./));
});

test('a token that does not fit is reported with the collector’s reason', async () => {
  const server = await joinServer();
  const { uses } = server;
  uses.push('SHA256:somebody-else');
  await assert.rejects(enrol(wish(server)), failsWith('collector.refused', /auth\.token\): used by another key/));
});

test('malformed wishes never leave the node, and the token is not repeated', async () => {
  const server = await joinServer();
  const { uses } = server;
  const isQuiet = (error: unknown) =>
    error instanceof AppError && error.code === 'validation.request' && !error.message.includes('secret');
  await assert.rejects(enrol({ ...wish(server), token: 'secret' }), isQuiet);
  await assert.rejects(enrol({ ...wish(server), token: `${server.token}.secret` }), isQuiet);
  await assert.rejects(enrol({ ...wish(server), node: 'Node 1' }), isQuiet);
  await assert.rejects(enrol({ ...wish(server), collector: 'ftp://x' }), isQuiet);
  assert.equal(uses.length, 0);
});

test('a token that does not say which log to trust is refused before anything is sent', async () => {
  const server = await joinServer();
  const half = { ...wish(server), token: secret };
  await assert.rejects(enrol(half), failsWith('validation.request', /lacks its second part/));
  assert.equal(server.seen.length, 0);
});

test('an address where nobody listens is reported as unreachable', async () => {
  await assert.rejects(
    enrol(wish({ collector: 'http://127.0.0.1:1', token: tokenOf(memoryLedger().vkey) })),
    failsWith('collector.unreachable', /127\.0\.0\.1:1/),
  );
});

test('the executor is told by the answer whose orders count, in files that it can read and nobody else than we can write', async () => {
  const server = await joinServer();
  const executorDir = join(dir, 'executor');
  await enroll({ ...wish(server), dataDir: join(dir, 'data'), executorDir });
  const files = ['collector.vkey', 'executor.env'].map((name) => join(executorDir, name));
  const said = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  assert.deepEqual(said, [`${server.ledger.vkey}\n`, 'SIGILWATCH_NODE=node1\n']);
  for (const file of files) assert.equal((await stat(file)).mode & 0o777, 0o644);
});

const notRoot = { skip: process.getuid?.() === 0 ? false : 'only root can act as another user' };

test(
  "root enrols a node whose data belongs to the agent's user, again and again, and stays root",
  notRoot,
  async () => {
    const server = await joinServer();
    const [dataDir, executorDir] = [join(dir, 'data'), join(dir, 'executor')];
    await chmod(dir, 0o755);
    await mkdir(dataDir, { mode: 0o700 });
    await chown(dataDir, 4711, 4711);
    for (const _ of [1, 2]) await enroll({ ...wish(server), dataDir, executorDir });
    for (const file of await readdir(dataDir)) assert.equal((await stat(join(dataDir, file))).uid, 4711, file);
    for (const file of await readdir(executorDir)) assert.equal((await stat(join(executorDir, file))).uid, 0, file);
    assert.deepEqual([process.geteuid?.(), process.getegid?.()], [0, 0]);
  },
);

test(
  'root without the right to pass over permissions, as in a container, enrols as the owner of the data',
  notRoot,
  async () => {
    const server = await joinServer();
    const dataDir = join(dir, 'data');
    await chmod(dir, 0o755);
    await mkdir(dataDir, { mode: 0o700 });
    await chown(dataDir, 4711, 4711);
    const less = ['--bounding-set', '-dac_override,-dac_read_search', '--inh-caps', '-dac_override,-dac_read_search'];
    const wanted = ['--collector', server.collector, '--token', server.token, '--node', 'node1'];
    const { code, stderr } = await agentProgram(
      ['--data-dir', dataDir, 'enroll', ...wanted],
      {},
      { program: 'setpriv', args: less },
    );
    assert.equal(code, 0, stderr);
    assert.equal((await stat(join(dataDir, 'identity.pem'))).uid, 4711);
  },
);
