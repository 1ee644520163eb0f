import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../common/limits.ts';
import {
  type AgentMessage,
  agentMessage,
  type CollectorMessage,
  collectorMessage,
  fromWire,
  handshakeBytes,
  parseMessage,
  toWire,
} from '../../common/protocol.ts';
import { statements } from '../arbitrary/statements.ts';
import { cleared, testAuthor } from '../authors.ts';

const refused = { name: 'AppError', code: 'validation.protocol' };
const hash = Buffer.alloc(32, 7).toString('base64');
const checkpoint = { note: 'a note\n', consistency: [hash] };
const [entry] = testAuthor('node1').more(1).map(toWire);
const hello = { type: 'hello', node: 'node1', fingerprint: 'SHA256:x', version: '1', checkpoint: 'a note\n' } as const;

const fromAgent: readonly AgentMessage[] = [
  hello,
  { type: 'proof', signature: Buffer.alloc(64).toString('base64') },
  { type: 'append', entries: entry === undefined ? [] : [entry] },
  { type: 'cosign', size: 5, cosignature: Buffer.alloc(72).toString('base64') },
  { type: 'fork', held: 'a note\n', offered: 'another\n', reason: 'rolled back' },
];
const fromCollector: readonly CollectorMessage[] = [
  { type: 'challenge', nonce: hash, origin: 'sigilwatch.test/ledger' },
  { type: 'welcome', head: { seq: 0, hash: '0'.repeat(64), proof: null }, checkpoint, now: '2026-01-01T00:00:00.000Z' },
  { type: 'checkpoint', checkpoint },
  { type: 'ack', entries: [{ seq: 1, index: 5, proof: [0] }], hashes: [hash], checkpoint },
  { type: 'refused', code: 'auth.signature', message: 'no', retryable: false },
];

describe('messages', () => {
  test('of each side are read as they were sent, and only by the other side', () => {
    for (const message of fromAgent) {
      assert.deepEqual(parseMessage(agentMessage, JSON.stringify(message)), message);
      assert.throws(() => parseMessage(collectorMessage, JSON.stringify(message)), refused);
    }
    for (const message of fromCollector) {
      assert.deepEqual(parseMessage(collectorMessage, JSON.stringify(message)), message);
      assert.throws(() => parseMessage(agentMessage, JSON.stringify(message)), refused);
    }
  });

  test('with a member too many, missing or of another type are refused', () => {
    for (const message of fromAgent) {
      for (const key of Object.keys(message)) {
        const without = Object.fromEntries(Object.entries(message).filter(([name]) => name !== key));
        // Whoever holds no checkpoint says so.
        const nothing = key === 'checkpoint' ? [] : [{ ...message, [key]: null }];
        for (const damaged of [without, ...nothing, { ...message, [key]: { deep: [1] } }]) {
          assert.throws(() => parseMessage(agentMessage, JSON.stringify(damaged)), refused);
        }
      }
      assert.throws(() => parseMessage(agentMessage, JSON.stringify({ ...message, extra: 1 })), refused);
    }
  });

  test('beyond their bounds are refused', () => {
    const entries = (count: number) => Array.from({ length: count }, () => entry);
    for (const damaged of [
      { ...hello, node: '../x' },
      { ...hello, checkpoint: 0 },
      { ...hello, checkpoint: 'x'.repeat(8_001) },
      { ...hello, version: 'v'.repeat(65) },
      { type: 'cosign', size: 1, cosignature: Buffer.alloc(64).toString('base64') },
      { type: 'cosign', size: 2 ** 53, cosignature: Buffer.alloc(72).toString('base64') },
      { type: 'fork', held: 'x'.repeat(8_001), offered: '', reason: '' },
      { type: 'append', entries: [] },
      { type: 'append', entries: entries(limits.maxAppendEntries + 1) },
      { type: 'append', entries: [{ ...entry, text: 'x'.repeat(limits.maxEntryBytes + 1) }] },
      { type: 'append', entries: [{ ...entry, signature: 'not base64' }] },
    ]) {
      assert.throws(() => parseMessage(agentMessage, JSON.stringify(damaged)), refused);
    }
    parseMessage(agentMessage, JSON.stringify({ type: 'append', entries: entries(limits.maxAppendEntries) }));
  });

  test('that are no messages at all are refused', () => {
    for (const frame of ['', 'null', '[]', '"hello"', '{}', '{"type":"__proto__"}', '{"type":"hello"', '\0', '1e999']) {
      assert.throws(() => parseMessage(agentMessage, frame), refused, frame);
    }
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (frame) => {
        assert.throws(() => parseMessage(agentMessage, frame), refused);
        assert.throws(() => parseMessage(collectorMessage, frame), refused);
      }),
    );
  });
});

describe('an entry on the wire', () => {
  test('arrives as the bytes that were signed', () => {
    fc.assert(
      fc.property(statements(), (statement) => {
        const { bytes, signature } = testAuthor('node1').next(statement);
        const frame = JSON.stringify({ type: 'append', entries: [toWire({ bytes, signature })] });
        const message = parseMessage(agentMessage, frame);
        assert.ok(message.type === 'append');
        assert.deepEqual(message.entries.map(fromWire), [{ bytes, signature }]);
      }),
    );
  });

  test('fits into a frame with all the others of a full batch, however much of it has to be escaped', () => {
    const author = testAuthor('node1');
    const commit = '"\\\n'.repeat(9_000);
    const entries = [];
    let size = 0;
    while (entries.length < limits.maxAppendEntries) {
      const signed = author.next({ kind: 'drift.resolved', body: { id: 'x', commit } });
      if (size + signed.bytes.length > limits.maxAppendBytes) break;
      size += signed.bytes.length;
      entries.push(toWire(signed));
    }
    const frame = JSON.stringify({ type: 'append', entries });
    assert.ok(size > limits.maxAppendBytes / 2);
    assert.ok(Buffer.byteLength(frame) <= limits.maxFrameBytes, `${Buffer.byteLength(frame)} bytes`);
  });
});

test('what is signed in the handshake differs for another nonce, origin or node', () => {
  const text = fc.constantFrom('a', 'b', 'a\nb', 'b\na', '');
  const challenge = fc.record({ nonce: fc.constantFrom(hash, Buffer.alloc(32).toString('base64')), origin: text });
  const node = fc.constantFrom('a', 'b', 'node1');
  fc.assert(
    fc.property(challenge, node, challenge, node, (one, oneNode, two, twoNode) => {
      const same = one.nonce === two.nonce && one.origin === two.origin && oneNode === twoNode;
      assert.equal(handshakeBytes(one, oneNode).equals(handshakeBytes(two, twoNode)), same);
    }),
    { numRuns: 500 },
  );
  const signed = handshakeBytes({ nonce: hash, origin: 'x' }, 'node1');
  assert.ok(!signed.equals(testAuthor('node1').next(cleared('an entry')).bytes));
});
