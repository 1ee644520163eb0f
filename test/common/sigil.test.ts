import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../common/limits.ts';
import { checkRecord, classifyKey, SigilChecker, type SigilCheckOptions } from '../../common/sigil.ts';
import { recordFailures } from '../../common/sigil-checks.ts';
import { EventSecret } from '../../common/sigil-hmac.ts';

const secret = 'event-secret-one';
const key = Buffer.from('lyra!sigil!OMEN!a1b2');

interface Parts {
  readonly [name: string]: unknown;
}

function record(data: unknown, changes: Parts = {}, under = secret): Record<string, unknown> {
  const text = JSON.stringify(data ?? {});
  return {
    id: 'omen-1',
    tenantId: 'lyra',
    symbol: 'OMEN',
    authHash: 'a1b2',
    updatedAt: '2026-01-02T03:04:05.000Z',
    data,
    checksum: createHash('sha256').update(text).digest('hex'),
    signature: createHmac('sha256', under).update(text).digest('hex'),
    ...changes,
  };
}

function failedChecks(value: unknown, options: SigilCheckOptions = { secrets: [secret] }, at = key): string[] {
  const bytes = Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
  return checkRecord(at, bytes, options).map((failed) => failed.check);
}

/** The verdict by the letter, without the fast way. */
function verdict(at: Buffer, value: Buffer) {
  return recordFailures(at, classifyKey(at), value, {
    secrets: [new EventSecret(secret)],
    payloadOf: (found) => (Object.hasOwn(found, 'data') ? found.data : undefined),
    redact: (text) => text,
  });
}

describe('the kind of a store key', () => {
  const cases: [string, ReturnType<typeof classifyKey>][] = [
    ['lyra!sigil!OMEN!a1', { kind: 'tenant', tenant: 'lyra', symbol: 'OMEN', authHash: 'a1' }],
    ['lyra!sigil!A!B!a1', { kind: 'tenant', tenant: 'lyra', symbol: 'A!B', authHash: 'a1' }],
    ['sigil:ns:7', { kind: 'namespaced', namespace: 'ns', id: '7' }],
    ['sigil:ns:7:8', { kind: 'namespaced', namespace: 'ns', id: '7:8' }],
    ['sigil:7', { kind: 'plain', id: '7' }],
    ['lyra!health!probe', { kind: 'other' }],
    ['!sigil!OMEN!a1', { kind: 'other' }],
    ['lyra!sigil!OMEN!', { kind: 'other' }],
    ['lyra!sigil!!a1', { kind: 'other' }],
    ['sigil:', { kind: 'other' }],
    ['', { kind: 'other' }],
  ];
  for (const [text, kind] of cases)
    it(`is told from ${text || 'the empty key'}`, () => assert.deepEqual(classifyKey(Buffer.from(text)), kind));
});

describe('a sigil record', () => {
  it('passes as its writer made it, whatever its data', () => {
    for (const data of [
      {},
      { a: [1, -0.5, 1e21, 'x"y\\z', null] },
      'text',
      7,
      [],
      undefined,
      { n: 0.8414709848078965 },
    ]) {
      assert.deepEqual(failedChecks(record(data)), [], JSON.stringify(data));
    }
  });

  it('passes under either of two secrets and fails under a third', () => {
    const value = record({ a: 1 }, {}, 'old');
    assert.deepEqual(failedChecks(value, { secrets: ['new', 'old'] }), []);
    assert.deepEqual(failedChecks(value, { secrets: ['old'] }), []);
    assert.deepEqual(failedChecks(value, { secrets: ['new', 'other'] }), ['signature']);
  });

  it('is checked for the shape of its signature when no secret is configured', () => {
    assert.deepEqual(failedChecks(record({}, {}, 'unknown'), { secrets: [] }), []);
    assert.deepEqual(failedChecks(record({}, { signature: 'zz' }), { secrets: [] }), ['signature']);
    assert.deepEqual(failedChecks(record({}, { signature: undefined }), { secrets: [] }), ['required_field']);
  });

  it('may have its signature over something else than its data', () => {
    const payloadOf = (found: Parts) => [found.id, found.data];
    const signature = createHmac('sha256', secret)
      .update(JSON.stringify(['omen-1', { a: 1 }]))
      .digest('hex');
    assert.deepEqual(failedChecks(record({ a: 1 }, { signature }), { secrets: [secret], payloadOf }), []);
    assert.deepEqual(failedChecks(record({ a: 1 }), { secrets: [secret], payloadOf }), ['signature']);
  });

  it('needs its fields, in their types, and only its own', () => {
    assert.deepEqual(failedChecks('{"__proto__":{"id":"x","signature":"y"}}', undefined, Buffer.from('sigil:x')), [
      'required_field',
    ]);
    assert.deepEqual(failedChecks(record({}, { updatedAt: undefined, id: 5 })), ['required_field', 'schema']);
    for (const value of ['[]', 'null', '"x"', '7']) assert.deepEqual(failedChecks(value), ['schema']);
    for (const value of ['', '{', '{"a":1}}', '\ufeff{}']) assert.deepEqual(failedChecks(value), ['json']);
  });

  it('agrees with its key', () => {
    assert.deepEqual(failedChecks(record({}, { tenantId: 'node1' })), ['tenant_isolation']);
    assert.deepEqual(failedChecks(record({}, { symbol: 'RUNE', authHash: 'ff' })), [
      'key_value_agreement',
      'key_value_agreement',
    ]);
    assert.deepEqual(failedChecks(record({}), undefined, Buffer.from('sigil:ns:omen-1')), []);
    assert.deepEqual(failedChecks(record({}, { namespace: 'else' }), undefined, Buffer.from('sigil:ns:omen-1')), [
      'key_value_agreement',
    ]);
    assert.deepEqual(failedChecks(record({}), undefined, Buffer.from('sigil:omen-2')), ['key_value_agreement']);
    assert.deepEqual(failedChecks(Buffer.from('anything'), undefined, Buffer.from('lyra!health!probe')), []);
  });

  it('cannot hide behind a key whose escaped spelling looks like its own', () => {
    const at = Buffer.from('lyra!sigil!a\\\\b!a1b2');
    assert.deepEqual(failedChecks(record({}, { symbol: 'a\\b' }), undefined, at), ['key_value_agreement']);
  });

  it('fails when a member occurs twice, also in another spelling or deep inside', () => {
    const text = JSON.stringify(record({ a: 1 }));
    for (const twice of [
      text.replace('"data":', '"data":{"a":2},"data":'),
      text.replace('"data":', '"d\\u0061ta":{"a":2},"data":'),
      text.replace('{"a":1}', '{"a":2,"a":1}'),
      `${text.replace('{"a":1}', '{"a":2,\n"a":1}')}`,
    ]) {
      assert.deepEqual(failedChecks(twice), ['schema'], twice);
    }
  });

  it('is found when its bytes are not UTF-8, and not when its writer wrote U+FFFD', () => {
    assert.deepEqual(failedChecks(record({ a: 'x\ufffdy' })), []);
    const bytes = Buffer.from(JSON.stringify(record({ a: 'x\u00e9y' })));
    bytes[bytes.indexOf('\u00e9') + 1] = 0x41;
    const [failed] = checkRecord(key, bytes, { secrets: [secret] });
    assert.equal(failed?.check, 'encoding');
    assert.match(failed?.detail ?? '', new RegExp(`byte ${bytes.indexOf(0xc3)} `));
    assert.deepEqual(
      failedChecks(record({}, { symbol: '\ufffd' }), undefined, Buffer.from('lyra!sigil!\xff!a1b2', 'latin1')),
      ['encoding'],
    );
  });

  it('is never shown with a secret, or longer than allowed', () => {
    const long = 'x'.repeat(limits.maxForeignTextChars - 5);
    const value = record(
      {},
      { symbol: long + secret, authHash: secret, signature: secret, checksum: `${secret}\u001b[2J` },
    );
    const failures = checkRecord(key, Buffer.from(JSON.stringify(value)), { secrets: [secret] });
    assert.equal(failures.length, 4);
    for (const failed of failures) {
      assert.ok(!JSON.stringify(failed).includes(secret.slice(0, 4)), JSON.stringify(failed));
      assert.ok((failed.actual ?? '').length <= limits.maxForeignTextChars);
      assert.ok(!(failed.actual ?? '').includes('\u001b'));
    }
  });

  it('never publishes the signature it should have had', () => {
    const right = record({ a: 1 }).signature;
    const [failed] = checkRecord(key, Buffer.from(JSON.stringify(record({ a: 1 }, { signature: '0'.repeat(64) }))), {
      secrets: [secret],
    });
    assert.equal(failed?.check, 'signature');
    assert.ok(!JSON.stringify(failed).includes(String(right)));
  });

  it('parses no record that would take the memory of many, and any other however long its texts', () => {
    const failures = (data: unknown) =>
      checkRecord(key, Buffer.from(JSON.stringify(record(data))), { secrets: [secret] }).map(
        ({ check, detail }) => `${check}: ${detail}`,
      );
    const many = (count: number, make: () => unknown) => Array.from({ length: count }, make);
    const most = limits.sigilMaxRecordValues;
    assert.deepEqual(failures(['[{,"\\'.repeat(500_000), many(most - 100, () => 0)]), []);
    for (const make of [() => 0, () => ({}), () => [[]]])
      assert.deepEqual(failures(many(most, make)), ['json: the value holds too much to be checked']);
    assert.deepEqual(failures('x'.repeat(limits.sigilMaxRecordBytes)), ['json: the value is too long to be checked']);
  });

  it('survives nesting that no stack can hold', () => {
    const deep = `{"id":"x","signature":"${'0'.repeat(64)}","checksum":"x","data":${'['.repeat(200_000)}${']'.repeat(200_000)}}`;
    assert.ok(failedChecks(deep, { secrets: [secret] }, Buffer.from('sigil:x')).length > 0);
  });
});

describe('the fast way', () => {
  // Each learns from what it is shown, so that most of what follows has a shape that was seen before.
  it('gives the verdict of parse and stringify for any data and spacing', () => {
    const checker = new SigilChecker({ secrets: [secret] });
    const spaced = fc.constantFrom(undefined, 1, '\n');
    fc.assert(
      fc.property(fc.jsonValue({ stringUnit: 'binary' }), spaced, fc.boolean(), (data, space, wrong) => {
        const value = Buffer.from(JSON.stringify(record(data, wrong ? { checksum: '0'.repeat(64) } : {}), null, space));
        for (let time = 0; time < 2; time++) assert.deepEqual(checker.check(key, value), verdict(key, value));
      }),
      { numRuns: 500 },
    );
  });

  it('gives that verdict for any damage too, and every damaged byte of the data is found', () => {
    const value = Buffer.from(JSON.stringify(record({ a: [1, 2.5, 'text \u00e9', { b: null, c: true }], d: 'x\ny' })));
    const checker = new SigilChecker({ secrets: [secret] });
    assert.deepEqual(checker.check(key, value), []);
    const from = value.indexOf('"data":') + 7;
    const to = value.indexOf(',"checksum"');
    fc.assert(
      fc.property(fc.nat(value.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const damaged = Buffer.from(value);
        damaged.writeUInt8(value.readUInt8(at) ^ mask, at);
        const failures = checker.check(key, damaged);
        assert.deepEqual(failures, verdict(key, damaged));
        if (at >= from && at < to) assert.ok(failures.length > 0, `byte ${at} xor ${mask}`);
      }),
      { numRuns: 2_000 },
    );
  });

  it('never throws for any bytes under any key', () => {
    const keys = fc.oneof(
      fc.constant(key),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
    );
    fc.assert(
      fc.property(keys, fc.uint8Array({ maxLength: 200 }), (at, value) => {
        checkRecord(at, Buffer.from(value), { secrets: [secret] });
      }),
    );
  });
});

describe('event secrets', () => {
  it('sign as createHmac does, for any key and message length', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 200 }), fc.uint8Array({ maxLength: 3000 }), (text, message) => {
        const expected = createHmac('sha256', text).update(message).digest('hex');
        assert.equal(new EventSecret(text).hexOf(message), expected);
      }),
    );
  });

  it('are refused when empty or more than two', () => {
    for (const secrets of [[''], ['a', 'b', 'c']]) {
      assert.throws(() => checkRecord(key, Buffer.from('{}'), { secrets }), { code: 'validation.config' });
    }
  });
});
