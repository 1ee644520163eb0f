import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { openCheckpoint } from '../../../common/checkpoint.ts';
import { cosign, verifyCosignatures } from '../../../common/cosignature.ts';
import { parseEntry, splitLeaf } from '../../../common/entry.ts';
import { AppError } from '../../../common/errors.ts';
import { judgeCheckpoint, weighCheckpoint } from '../../../common/judgement.ts';
import { generateKeyPair } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import { parseNote, parseVerifierKey } from '../../../common/note.ts';
import { parsePolicy } from '../../../common/policy.ts';
import { nodeWitnessKey, nodeWitnessSigner } from '../../../common/witnesses.ts';
import { startOutsideWitness } from '../../fakes/outside-witness.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { until } from '../../until.ts';
import { statement, systemClock } from '../../wire.ts';
import { enrolled, startWitnessed, type WitnessedCollector, type WitnessNode } from './witnessed.ts';

let postgres: TestPostgres;
before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Options = Parameters<typeof startWitnessed>[2] & { url?: string; keys?: ReturnType<typeof generateKeyPair> };

async function collector({ url, keys = generateKeyPair(), ...options }: Options = {}): Promise<WitnessedCollector> {
  const started = await startWitnessed(url ?? (await postgres.migratedDatabase()), keys, options);
  cleanups.push(started.stop);
  return started;
}

async function nodes(at: WitnessedCollector, names: readonly string[]): Promise<WitnessNode[]> {
  const made: WitnessNode[] = [];
  for (const name of names) {
    const node = await enrolled(at.ledger, name);
    node.join(at);
    cleanups.push(node.leave);
    made.push(node);
  }
  return made;
}

const view = (at: WitnessedCollector) => at.witnessing.published.view();

async function allWitnessed(at: WitnessedCollector): Promise<void> {
  await until('all witnessed', async () => {
    const { witnessed_size, ledger_size } = await view(at);
    return witnessed_size === ledger_size;
  });
}

async function judged(at: WitnessedCollector) {
  const { published } = at.witnessing;
  return judgeCheckpoint(await published.note(), parsePolicy(await published.policy()));
}

async function gapsIn(at: WitnessedCollector) {
  const { size } = await at.ledger.checkpoint();
  const leaves = await postgresLedgerStore(at.db).leaves(0, size);
  const entries = leaves.map((leaf) => parseEntry(splitLeaf(leaf).bytes));
  return entries.flatMap((entry) => (entry.kind === 'witness.gap' ? [entry.body] : []));
}

test('the agents of a fleet cosign one checkpoint, and whoever has the policy can check it', async () => {
  const at = await collector();
  const fleet = await nodes(at, ['node1', 'node2', 'node3']);
  fleet[0]?.outbox.append(statement(1));
  await allWitnessed(at);
  const { checkpoint, cosignatures, quorumReached } = await judged(at);
  assert.ok(quorumReached && cosignatures.length >= 2);
  assert.ok(checkpoint.size >= 4);
  const { note } = openCheckpoint(await at.witnessing.published.note(), parseVerifierKey(at.ledger.vkey));
  const keys = fleet.map(({ node, keys: { publicKey } }) => nodeWitnessKey(at.ledger.origin, node, publicKey));
  assert.ok(verifyCosignatures(note, keys).length >= 2);
  const { quorum, unwitnessed, witnesses } = await view(at);
  assert.deepEqual(quorum, { rule: 'majority', required: 2, of: 3, problem: null });
  assert.equal(unwitnessed, null);
  assert.ok(witnesses.filter(({ last_size }) => last_size === checkpoint.size).length >= 2);
  assert.match(await at.registry.metrics(), /witness_rounds_total\{outcome="quorum"\} [1-9]/);
});

test('a ledger that nothing is added to has nothing cosigned, and rounds add nothing to it', async () => {
  const at = await collector();
  await nodes(at, ['node1', 'node2']);
  await allWitnessed(at);
  const rows = async () => (await at.db.query('select size from checkpoints')).rows.length;
  const [before, { size }] = [await rows(), await at.ledger.checkpoint()];
  for (let i = 0; i < 5; i++) await at.store.announce('round 1');
  await until('some rounds later', async () => {
    await at.ledger.checkpoint();
    return at.sockets.sessions().length === 2;
  });
  assert.deepEqual([await rows(), (await at.ledger.checkpoint()).size], [before, size]);
  assert.deepEqual(await gapsIn(at), []);
});

test('two collectors on one database share rounds, each with its own agents', async () => {
  const [url, keys] = [await postgres.migratedDatabase(), generateKeyPair()];
  const [one, two] = [await collector({ url, keys }), await collector({ url, keys })];
  const here = await nodes(one, ['node1', 'node2']);
  const there = await nodes(two, ['node3', 'node4']);
  for (let i = 0; i < 200; i++) for (const { outbox } of [...here, ...there]) outbox.append(statement(i));
  await until('acknowledged', () => [...here, ...there].every(({ outbox }) => outbox.depth === 0));
  await allWitnessed(one);
  // Three of four are needed, so neither collector's own agents are enough.
  const counted = await Promise.all([one, two].map(judged));
  assert.equal(counted[0]?.checkpoint.size, counted[1]?.checkpoint.size);
  assert.ok(counted.every(({ cosignatures }) => cosignatures.length >= 3));
});

test('under load on both collectors every span reaches its quorum before the load ends', async () => {
  const [url, keys] = [await postgres.migratedDatabase(), generateKeyPair()];
  const [one, two] = [await collector({ url, keys }), await collector({ url, keys })];
  const all = [...(await nodes(one, ['node1', 'node2'])), ...(await nodes(two, ['node3', 'node4']))];
  await allWitnessed(one);
  const start = (await view(one)).witnessed_size;
  let number = 0;
  let loaded = true;
  const load = async (): Promise<void> => {
    while (loaded) {
      for (const { outbox } of all) if (outbox.depth < 50) outbox.append(statement(number++));
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const loading = load();
  try {
    await until('a quorum under load', async () => (await view(one)).witnessed_size > start + 200);
  } finally {
    loaded = false;
    await loading;
  }
});

test('a revoked node does not count any more, and neither does its key under another enrolment', async () => {
  const at = await collector();
  const fleet = await nodes(at, ['node1', 'node2', 'node3']);
  await allWitnessed(at);
  const [lost] = fleet;
  assert.ok(lost);
  const body = { node: 'node1', fingerprint: 'SHA256:x', reason: 'lost' };
  await at.ledger.record({ kind: 'node.revoked', body });
  at.sockets.disconnect('node1', 'revoked');
  await allWitnessed(at);
  const { quorum, witnesses } = await view(at);
  assert.deepEqual([quorum.required, witnesses.map(({ name }) => name)], [2, ['node2', 'node3']]);
  const policy = parsePolicy(await at.witnessing.published.policy());
  // What it signs now is a signature by nobody.
  const { note } = await at.ledger.checkpoint();
  const line = cosign(parseNote(note).text, nodeWitnessSigner(at.ledger.origin, 'node1', lost.keys), Date.now());
  at.witnessing.rounds
    .cosigned({
      node: 'node1',
      publicKey: lost.keys.publicKey,
      checkpoint: { size: (await at.ledger.checkpoint()).size, note, text: parseNote(note).text },
      cosignature: line.signature,
    })
    .catch(() => {});
  const published = weighCheckpoint(await at.witnessing.published.note(), policy);
  assert.deepEqual([published.unknownSignatures, published.cosignatures.length], [0, 2]);
});

test('a cosignature by another key or for another checkpoint is refused and counts for nothing', async () => {
  const at = await collector();
  const [node1] = await nodes(at, ['node1']);
  assert.ok(node1);
  await allWitnessed(at);
  const { size, note } = await at.ledger.checkpoint();
  const text = parseNote(note).text;
  const signer = (keys = node1.keys) => nodeWitnessSigner(at.ledger.origin, 'node1', keys);
  const wrong = [
    cosign(text, signer(generateKeyPair()), Date.now()),
    cosign(text.replace(`\n${size}\n`, `\n${size + 1}\n`), signer(), Date.now()),
    { signature: Buffer.alloc(72) },
  ];
  for (const { signature } of wrong) {
    const vote = {
      node: 'node1',
      publicKey: node1.keys.publicKey,
      checkpoint: { size, note, text },
      cosignature: signature,
    };
    await assert.rejects(at.witnessing.rounds.cosigned(vote), (thrown: unknown) => {
      return thrown instanceof AppError && thrown.code === 'auth.signature';
    });
  }
  assert.match(await at.registry.metrics(), /cosignatures_total\{kind="node",outcome="refused"\} 3/);
});

test('a quorum that was lost and came back leaves its mark: once, for the whole span', async () => {
  // An hour without a quorum passes when the test says so.
  let aheadMs = 0;
  const clock = { now: () => Date.now() + aheadMs, monotonicMs: systemClock.monotonicMs };
  const at = await collector({ clock });
  const fleet = await nodes(at, ['node1', 'node2', 'node3']);
  await allWitnessed(at);
  const { witnessed_size: from } = await view(at);
  await fleet[1]?.leave();
  await fleet[2]?.leave();
  fleet[0]?.outbox.append(statement(1));
  await until('acknowledged', () => fleet[0]?.outbox.depth === 0);
  assert.equal((await judged(at)).checkpoint.size, from, 'not missing for long');
  aheadMs = 3_600_000;
  const { unwitnessed, witnessed_size } = await view(at);
  assert.deepEqual([unwitnessed?.from, witnessed_size], [from, from]);
  // The newest checkpoint there is, with the signatures there are: too few, and it says so.
  const published = weighCheckpoint(
    await at.witnessing.published.note(),
    parsePolicy(await at.witnessing.published.policy()),
  );
  assert.ok(published.checkpoint.size > from && !published.quorumReached);
  fleet[1]?.join(at);
  await allWitnessed(at);
  await until('on record', async () => (await gapsIn(at)).length > 0);
  await allWitnessed(at);
  const gaps = await gapsIn(at);
  assert.equal(gaps.length, 1);
  assert.equal(gaps[0]?.fromSize, from);
  assert.ok(gaps[0].toSize > from);
  const { rows } = await at.db.query('select size from checkpoints where vouched_by is null');
  assert.deepEqual(rows, []);
  assert.ok((await judged(at)).checkpoint.size > from);
});

test('a gap whose entry was cut off by a crash is told by whoever looks next', async () => {
  const at = await collector();
  await at.db.query('insert into witness_gaps (to_size, from_size, since_ms, until_ms) values (9, 4, 1000, 2000)');
  await until('told', async () => (await gapsIn(at)).length === 1);
  await until('noted', async () => (await at.store.claimGap()) === undefined);
  assert.deepEqual((await gapsIn(at))[0], {
    fromSize: 4,
    toSize: 9,
    since: '1970-01-01T00:00:01.000Z',
    until: '1970-01-01T00:00:02.000Z',
  });
});

test('what somebody put into the tables by hand is not served', async () => {
  const at = await collector();
  await nodes(at, ['node1']);
  await allWitnessed(at);
  const { witnesses } = await view(at);
  const key = parseVerifierKey(witnesses[0]?.key ?? '');
  const { size } = (await judged(at)).checkpoint;
  const forged = { witness: key.name, keyId: key.keyId, cosignature: Buffer.alloc(72, 9) };
  await at.store.addCosignatures(size, [forged]);
  const { note } = openCheckpoint(await at.witnessing.published.note(), parseVerifierKey(at.ledger.vkey));
  assert.equal(note.signatures.length, 1, 'the log alone');
});

test('a node that cosigns by an impossible clock is heard, but does not count and spoils nothing', async () => {
  const at = await collector({ wanted: { quorum: 1, outside: [] } });
  const evil = await enrolled(at.ledger, 'evil');
  const { size, note } = await at.ledger.checkpoint();
  const { text } = parseNote(note);
  const signer = nodeWitnessSigner(at.ledger.origin, 'evil', evil.keys);
  const vote = (unixMs: number) => {
    const { signature: cosignature } = cosign(text, signer, unixMs);
    const checkpoint = { size, note, text };
    return at.witnessing.rounds.cosigned({ node: 'evil', publicKey: evil.keys.publicKey, checkpoint, cosignature });
  };
  await assert.rejects(vote(9e18), { code: 'auth.signature' });
  const ahead = systemClock.now() + 2 * limits.maxCosignatureAheadMs;
  for (const ms of [ahead, ahead, 8.64e15]) await vote(ms);
  assert.equal(at.events.filter(({ event }) => event === 'witness.clock_ahead').length, 1);
  assert.equal((await view(at)).witnesses.find(({ name }) => name === 'evil')?.last_size, null);
  assert.match(await at.registry.metrics(), /cosignatures_total\{[^}]*outcome="refused"[^}]*\} 4/);
});

test('outside witnesses are asked over HTTP, and a wish for more than there are is named', async () => {
  const keys = generateKeyPair();
  const url = await postgres.migratedDatabase();
  const plain = await collector({ url, keys });
  const outside = await startOutsideWitness(plain.ledger.vkey);
  cleanups.push(outside.close);
  const wanted = { quorum: 'all', outside: [{ name: 'friend', key: outside.vkey, url: outside.url }] } as const;
  const at = await collector({ url, keys, wanted: { ...wanted, outside: [...wanted.outside] } });
  await plain.witnessing.stop();
  const [node1] = await nodes(at, ['node1']);
  node1?.outbox.append(statement(1));
  await allWitnessed(at);
  const { cosignatures } = await judged(at);
  assert.deepEqual(cosignatures.map(({ name }) => name).sort(), ['test.example/ledger/node1', 'witness.example/w1']);
  const greedy = await collector({ url, keys, wanted: { quorum: 5, outside: [] } });
  assert.match((await view(greedy)).quorum.problem ?? '', /wants 5 cosignatures, but there are only 1 witnesses/);
  await assert.rejects(greedy.witnessing.published.policy(), /only 1 witnesses/);
  assert.ok((await greedy.witnessing.published.note()).startsWith('test.example/ledger\n'));
});

test('an agent that ends between storing a checkpoint and cosigning it is asked for it again', async () => {
  const at = await collector({ wanted: { quorum: 'all', outside: [] } });
  const [node1, node2] = await nodes(at, ['node1']).then(async (one) => [...one, await enrolled(at.ledger, 'node2')]);
  assert.ok(node1 && node2);
  const { outbox } = node2;
  const trim = outbox.trim.bind(outbox);
  let crashes = 6;
  Object.assign(outbox, {
    trim: async (...kept: Parameters<typeof trim>) => {
      await trim(...kept);
      if (crashes-- > 0) throw new Error('killed with the checkpoint stored');
    },
  });
  node2.join(at);
  cleanups.push(node2.leave);
  await allWitnessed(at);
  assert.ok(crashes <= 0);
  assert.ok((await judged(at)).quorumReached);
  assert.deepEqual(node2.forks, []);
});

test('a quorum that grows is asked for, although nothing is added to the ledger', async () => {
  const [url, keys] = [await postgres.migratedDatabase(), generateKeyPair()];
  // All: a node that has cosigned something less than half a second before is not asked again where one other is enough.
  const at = await collector({ url, keys, wanted: { quorum: 'all', outside: [] } });
  const outside = await startOutsideWitness(at.ledger.vkey);
  cleanups.push(outside.close);
  const [, node2] = await nodes(at, ['node1', 'node2']);
  await allWitnessed(at);
  await node2?.leave();
  const { size } = await at.ledger.checkpoint();
  const friend = { name: 'friend', key: outside.vkey, url: outside.url };
  const strict = await collector({ url, keys, wanted: { quorum: 'all', outside: [friend] } });
  node2?.join(strict);
  const { published } = strict.witnessing;
  await until('all three have cosigned', async () => {
    return weighCheckpoint(await published.note(), parsePolicy(await published.policy())).quorumReached;
  });
  assert.equal((await judged(strict)).checkpoint.size, size);
  assert.equal((await strict.ledger.checkpoint()).size, size);
});

test('an agent that is behind is told of the growth in between; one that is ahead of a restored database is not lied to', async () => {
  const url = await postgres.migratedDatabase();
  const keys = generateKeyPair();
  const at = await collector({ url, keys });
  const [node1, node2] = await nodes(at, ['node1', 'node2']);
  assert.ok(node1 && node2);
  await allWitnessed(at);
  await node2.leave();
  for (let i = 0; i < 30; i++) node1.outbox.append(statement(i));
  await until('acknowledged', () => node1.outbox.depth === 0);
  node2.join(at);
  await allWitnessed(at);
  assert.deepEqual([node1.forks, node2.forks], [[], []]);
  // Another database with the same key and origin: what a restored backup looks like to the agents.
  const restored = await collector({ keys });
  for (const { node, keys: own } of [node1, node2]) await enrolled(restored.ledger, node, own);
  await node1.leave();
  node1.join(restored);
  await until('turned away', () => restored.events.some(({ fields }) => fields.code === 'ledger.tampered'));
  assert.deepEqual(node1.forks, []);
  assert.notEqual(node1.link.status().state, 'forked');
  await assert.rejects(restored.ledger.checkpoint(), (thrown: unknown) => {
    return thrown instanceof AppError && thrown.code === 'ledger.tampered';
  });
});

test("a fork that an agent reports is looked into: proved, refuted, or nobody's word", async () => {
  const keys = generateKeyPair();
  const at = await collector({ keys });
  const other = await collector({ keys });
  await other.ledger.record({ kind: 'auth.event', body: { event: 'x', actor: 'x', subject: 'x', detail: 'x' } });
  const [own, strange] = [(await at.ledger.checkpoint()).note, (await other.ledger.checkpoint()).note];
  const stranger = (await (await collector()).ledger.checkpoint()).note;
  const report = (held: string, offered: string) =>
    at.witnessing.rounds.forked({ node: 'node1', held, offered, reason: 'test' });
  const verdicts = () => at.events.map(({ event }) => event).filter((event) => event.startsWith('witness.fork'));
  await report(own, own);
  await report(own, stranger);
  await at.ledger.checkpoint();
  await report(own, strange);
  assert.deepEqual(verdicts(), ['witness.fork_refuted', 'witness.fork_unsigned', 'witness.fork_proved']);
  await assert.rejects(at.ledger.checkpoint());
});
