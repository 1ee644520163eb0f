import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { systemClock } from '../../../collector/clock.ts';
import { issueJoinToken, revokeNode } from '../../../collector/fleet/enrolment.ts';
import { postgresEnrolment, revokedChannel } from '../../../collector/postgres/access-store.ts';
import { listen } from '../../../collector/postgres/listen.ts';
import { enrolBytes, enrolResponse, hashLogKey, parseJoinToken, tokenHash } from '../../../common/enrol.ts';
import { fingerprint, generateKeyPair, rawPublicKey, signBytes } from '../../../common/keys.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { enrolmentOf, postEnrolment, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;
let databaseUrl: string;

before(async () => {
  postgres = await startPostgres();
  databaseUrl = await postgres.emptyDatabase();
  under = await startTestCollector(databaseUrl);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

function fleet(clock = systemClock) {
  return { store: postgresEnrolment(under.db), ledger: under.ledger, clock };
}

async function joinToken(node: string, ttlMs = 60_000): Promise<string> {
  return (await issueJoinToken(fleet(), { node, ttlMs, randomBytes })).token;
}

async function entriesOf(kind: string): Promise<number> {
  const { json } = await under.get(`/api/v1/entries?kind=${kind}&limit=1000`);
  assert.ok(Array.isArray(json.items));
  return json.items.length;
}

test('a node with a join token is enrolled, on record, and told whom to trust', async () => {
  const keys = generateKeyPair();
  const answer = await post(enrolmentOf('lyra', await joinToken('lyra'), keys));
  assert.equal(answer.status, 200);
  const told = enrolResponse.parse(answer.json);
  assert.deepEqual(told, {
    node: 'lyra',
    fingerprint: fingerprint(keys.publicKey),
    origin: under.ledger.origin,
    vkey: under.ledger.vkey,
  });
  const { json } = await under.get('/api/v1/nodes');
  assert.equal(JSON.stringify(json).includes(told.fingerprint), true);
});

test('the same key asking again gets the same answer and no second entry; another key gets nothing', async () => {
  const token = await joinToken('node1');
  const request = enrolmentOf('node1', token, generateKeyPair());
  const first = await post(request);
  const enrolled = await entriesOf('node.enrolled');
  assert.deepEqual(await post(request), first);
  assert.equal(await entriesOf('node.enrolled'), enrolled);
  const thief = await post(enrolmentOf('node1', token, generateKeyPair()));
  assert.equal(thief.status, 401);
  assert.equal(thief.json.error_code, 'auth.token');
});

test('a token counts for its node only, not after its time, and not when it was made up', async () => {
  const keys = generateKeyPair();
  const wrongNode = enrolmentOf('node3', await joinToken('node2'), keys);
  const expired = enrolmentOf('node2', await joinToken('node2', 0), keys);
  const invented = enrolmentOf('node2', `swj_${'A'.repeat(43)}.${'A'.repeat(22)}`, keys);
  for (const request of [wrongNode, expired, invented]) {
    const { status, json } = await post(request);
    assert.equal(status, 401);
    assert.equal(json.error_code, 'auth.token');
  }
});

test('a key that is not held, or was signed for something else, is refused', async () => {
  const token = await joinToken('node2');
  const request = enrolmentOf('node2', token, generateKeyPair());
  for (const forged of [
    { ...request, node: 'node9' },
    { ...request, signature: enrolmentOf('node2', token, generateKeyPair()).signature },
    { ...request, agent_version: '6.6.6' },
  ]) {
    const { status, json } = await post(forged);
    assert.equal(status, 401);
    assert.equal(json.error_code, 'auth.signature');
  }
});

test('who has only seen a join token used cannot enrol a key of their own with it', async () => {
  const token = await joinToken('watched');
  const seen = enrolmentOf('watched', token, generateKeyPair());
  const { signature, public_key } = enrolmentOf('watched', token, generateKeyPair());
  const own = enrolmentOf('watched', `swj_${'A'.repeat(43)}.${'A'.repeat(22)}`, generateKeyPair());
  const keys = generateKeyPair();
  const bound = { ...seen, public_key: rawPublicKey(keys.publicKey).toString('base64') };
  const stolen = { ...bound, signature: signBytes(keys.privateKey, enrolBytes(bound)).toString('base64') };
  for (const forged of [stolen, { ...seen, signature, public_key }, { ...own, token_key: seen.token_key }]) {
    const { status, json } = await post(forged);
    assert.equal(status, 401);
    assert.equal(json.error_code, 'auth.signature');
  }
  assert.equal((await post(seen)).status, 200);
});

test('neither the wire nor the database holds a join token', async () => {
  const token = await joinToken('discreet');
  const { secret, logKeyHash } = parseJoinToken(token);
  assert.equal(logKeyHash, hashLogKey(under.ledger.vkey));
  assert.equal(JSON.stringify(enrolmentOf('discreet', token, generateKeyPair())).includes(secret), false);
  const { rows } = await under.db.query<{ kept: string }>(`select join_tokens::text as kept from join_tokens`);
  const kept = rows.map((row) => row.kept).join();
  assert.ok(kept.includes('discreet'));
  for (const form of [secret, Buffer.from(secret).toString('hex'), tokenHash(secret).toString('hex')]) {
    assert.equal(kept.includes(form), false);
  }
});

test('of two keys that use one token at once exactly one is enrolled', async () => {
  const token = await joinToken('twins');
  const answers = await Promise.all(
    Array.from({ length: 6 }, () => post(enrolmentOf('twins', token, generateKeyPair()))),
  );
  assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401, 401, 401, 401, 401]);
});

test('one key that uses its token many times at once is enrolled once, and not as two nodes', async () => {
  const [keys, token] = [generateKeyPair(), await joinToken('eager')];
  const enrolled = await entriesOf('node.enrolled');
  const requests = [
    ...Array.from({ length: 3 }, () => enrolmentOf('eager', token, keys)),
    enrolmentOf('greedy', await joinToken('greedy'), keys),
  ];
  const answers = await Promise.all(requests.map((request) => post(request)));
  assert.equal(await entriesOf('node.enrolled'), enrolled + 1);
  assert.equal(answers.filter(({ json }) => json.error_code === 'state.conflict').length >= 1, true);
});

test('a request that is malformed, too large or too frequent is told so', async () => {
  const malformed = await post({ token: 'x', node: 'Node 1', extra: true });
  assert.equal(malformed.status, 422);
  assert.equal(malformed.json.error_code, 'validation.body');
  const large = await post({ token: 'x'.repeat(100_000) });
  assert.equal(large.status, 413);
  const many = await Promise.all(Array.from({ length: 60 }, () => postEnrolment(under.collector.url, {})));
  assert.ok(many.some(({ status }) => status === 429));
});

test('a key that was replaced cannot come back with its old token', async () => {
  await post({});
  const oldToken = await joinToken('moved');
  const old = enrolmentOf('moved', oldToken, generateKeyPair());
  assert.equal((await post(old)).status, 200);
  const fresh = enrolmentOf('moved', await joinToken('moved'), generateKeyPair());
  assert.equal((await post(fresh)).status, 200);
  assert.equal((await post(old)).status, 401);
});

test('revoking is on record, announced within a second to every listener, and final for that key', async () => {
  const keys = generateKeyPair();
  const token = await joinToken('gone');
  assert.equal((await post(enrolmentOf('gone', token, keys))).status, 200);
  const heard: string[] = [];
  const listener = await listen({
    database: { url: databaseUrl, applicationName: 'test' },
    channel: revokedChannel,
    onNotify: (node) => heard.push(node),
    onListening: () => {},
    logger: quietLogger,
  });
  await revokeNode(fleet(), { node: 'gone', reason: 'test' });
  await until('the revocation is heard', () => heard.includes('gone'));
  await listener.stop();
  const again = await post(enrolmentOf('gone', await joinToken('gone'), keys));
  assert.equal(again.json.error_code, 'auth.revoked');
  assert.equal((await under.get('/api/v1/nodes?state=revoked')).status, 200);
  await assert.rejects(revokeNode(fleet(), { node: 'gone', reason: 'again' }), { code: 'state.conflict' });
  await assert.rejects(revokeNode(fleet(), { node: 'never', reason: 'x' }), { code: 'resource.not_found' });
});

test('a listener whose connection is cut listens again and says that it may have missed something', async () => {
  let begun = 0;
  const heard: string[] = [];
  const listener = await listen({
    database: { url: databaseUrl, applicationName: 'cut-me' },
    channel: revokedChannel,
    onNotify: (node) => heard.push(node),
    onListening: () => {
      begun += 1;
    },
    logger: quietLogger,
  });
  await under.db.query(`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cut-me'`);
  await until('it listens again', () => begun === 2);
  await under.db.query('select pg_notify($1, $2)', [revokedChannel, 'later']);
  await until('it hears again', () => heard.includes('later'));
  await listener.stop();
});

/** The collector's answer once it lets this address in: all tests of this file share its enrolments per second. */
async function post(body: object) {
  let answer = await postEnrolment(under.collector.url, body);
  const letIn = async () => {
    if (answer.status === 429) answer = await postEnrolment(under.collector.url, body);
    return answer.status !== 429;
  };
  await until('the second of the flood is over', letIn);
  return answer;
}
