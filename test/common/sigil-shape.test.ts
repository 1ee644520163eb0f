import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { classifyKey, SigilChecker } from '../../common/sigil.ts';
import { recordFailures } from '../../common/sigil-checks.ts';

const signature = 'ab'.repeat(32);

interface Written {
  readonly tenant?: string;
  readonly symbol?: string;
  readonly authHash?: string;
  /** JSON text, as it stands. */
  readonly data: string;
  /** JSON text of more members, with a comma before each. */
  readonly others?: string;
}

function keyOf({ tenant = 'lyra', symbol = 'OMEN', authHash = 'a1b2' }: Omit<Written, 'data'> = {}): Buffer {
  return Buffer.from(`${tenant}!sigil!${symbol}!${authHash}`);
}

/** With the checksum of its data as it is written, whoever would write it so: nobody needs a secret for that. */
function textOf({ tenant = 'lyra', symbol = 'OMEN', authHash = 'a1b2', data, others = '' }: Written): string {
  const checksum = createHash('sha256').update(data).digest('hex');
  const fields = { id: 'omen-1', tenantId: tenant, symbol, authHash, updatedAt: '2026-01-02T03:04:05.000Z' };
  return `${JSON.stringify(fields).slice(0, -1)},"data":${data},"checksum":"${checksum}","signature":"${signature}"${others}}`;
}

function bytesOf(written: Written): Buffer {
  return Buffer.from(textOf(written));
}

/** By the letter. */
function isGood(key: Buffer, value: Buffer): boolean {
  const payloadOf = (record: Readonly<Record<string, unknown>>) => record.data;
  return recordFailures(key, classifyKey(key), value, { secrets: [], payloadOf, redact: (text) => text }).length === 0;
}

/** A checker that has seen these, and says of a record whether the fast way accepts it. */
function shownAll(...records: readonly Buffer[]) {
  const checker = new SigilChecker({ secrets: [] });
  for (const record of records) checker.check(keyOf(), record);
  return (value: Buffer, key = keyOf()): boolean =>
    checker.isSound({
      ...{ key: Buffer.concat([key, Buffer.alloc(20, 0x61)]), keyLength: key.length },
      // In the midst of other bytes, as in a block.
      ...{
        bytes: Buffer.concat([Buffer.from('}"'), value, Buffer.from('"}')]),
        text: `}"${value.toString('latin1')}"}`,
      },
      ...{ valueStart: 2, valueEnd: 2 + value.length },
    });
}

describe('a number is taken for what JavaScript writes only when it is', () => {
  const isSound = shownAll(bytesOf({ data: '{"n":1}' }));
  const found = (text: string) => isSound(bytesOf({ data: `{"n":${text}}` }));
  const isCanonical = (text: string) => JSON.stringify(JSON.parse(text)) === text;

  it('and the usual ones are', () => {
    const usual = [
      '0',
      '7',
      '-7',
      '10',
      '0.5',
      '-0.5',
      '12.25',
      '10.01',
      '0.000001',
      '123456789012345',
      '0.30000000000001',
    ];
    for (const text of [...usual, '1234567.7654321', '-1', 'true', 'null', '"7"'])
      assert.deepEqual([text, found(text), isCanonical(text)], [text, true, true]);
  });

  it('and others are not', () => {
    const odd = [
      '-0',
      '0.50',
      '1.0',
      '0.0',
      '100.0000010',
      '0.0000001',
      '0.0000010',
      '1e3',
      '1E3',
      '-1e-7',
      '0.1e1',
      '1e400',
    ];
    const wrong = [
      '.5',
      '1.',
      '-',
      '-.5',
      '01',
      '00.5',
      '-01.5',
      '1..5',
      '1.5.5',
      '1.e5',
      '0x1',
      '1.5e',
      '+1',
      '1.-5',
      '',
    ];
    for (const text of [...odd, ...wrong]) assert.equal(found(text), false, text);
  });

  it('for any digits', () => {
    const digits = (maxLength: number) =>
      fc.string({ unit: fc.constantFrom(...'0001234567899'), minLength: 1, maxLength });
    const whole = fc.oneof(
      fc.constant('0'),
      digits(17).map((text) => `1${text}`),
    );
    const text = fc
      .tuple(fc.constantFrom('', '-'), whole, fc.option(digits(20)), fc.constantFrom('', '', 'e5', 'e-9'))
      .map(([sign, before, after, exponent]) => `${sign}${before}${after === null ? '' : `.${after}`}${exponent}`);
    fc.assert(
      fc.property(text, (text) => assert.ok(!found(text) || isCanonical(text), text)),
      { numRuns: 20_000 },
    );
  });
});

describe('the fast way', () => {
  it('accepts what is made like a record that was seen', () => {
    const text = fc.string({ unit: fc.constantFrom(...'ab"\\\n\t/ {}[]:,') });
    const leaf = fc.oneof(text, fc.integer(), fc.boolean(), fc.constant(null));
    const data = fc.record({
      note: leaf,
      nested: fc.record({ 'a.b': leaf, list: fc.array(leaf), items: fc.constant([{ of: 'two' }, { kinds: [] }, [7]]) }),
    });
    const likeness = JSON.stringify({
      note: 'x',
      nested: { 'a.b': 1, list: [], items: [{ of: 1 }, { kinds: [1] }, []] },
    });
    const isSound = shownAll(bytesOf({ data: likeness }));
    fc.assert(fc.property(data, (data) => assert.ok(isSound(bytesOf({ data: JSON.stringify(data) })))));
  });

  it('accepts nothing that fails a check, whatever it was shown before and however the record is written', () => {
    const name = fc.constantFrom('"a"', '"b"', '"7"', '"\\u0061"', '"__proto__"');
    const odd = [
      '1.0',
      '-0',
      '1e3',
      '"\\u0041"',
      '"\\/"',
      '"\u00e9"',
      '"\\n"',
      ' 1',
      '"\n"',
      '{"a":1,"a":2}',
      '"',
      ',',
    ];
    const scalar = fc.constantFrom('1', '2.5', 'true', 'null', '"text"', '""', ...odd);
    const { value } = fc.letrec<{ value: string }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 3, withCrossShrink: true },
        scalar,
        fc.array(tie('value'), { maxLength: 3 }).map((items) => `[${items.join(',')}]`),
        fc.array(fc.tuple(name, tie('value')), { maxLength: 3 }).map((members) => {
          return `{${members.map(([name, value]) => `${name}:${value}`).join(',')}}`;
        }),
      ),
    }));
    const others = fc.constantFrom(
      '',
      '',
      ',"more":1',
      ',"more":"\u00e9"',
      ',"id":"omen-2"',
      ',"more":1,"more":2',
      ' ',
    );
    const written = fc.record({ data: value, others });
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(written, { minLength: 2, maxLength: 8 }), (records) => {
        const values = records.map((record) => bytesOf(record));
        const isSound = shownAll(...values);
        for (const value of values) {
          if (!isSound(value)) continue;
          accepted++;
          assert.ok(isGood(keyOf(), value), value.toString());
        }
      }),
      { numRuns: 2_000 },
    );
    assert.ok(accepted > 500, `only ${accepted} accepted`);
  });

  it('accepts a record under its own key only', () => {
    const part = fc.string({ unit: fc.constantFrom(...'ab!:\\"', 'sigil:', 'sigil!'), minLength: 1, maxLength: 3 });
    const names = fc.record({ tenant: part, symbol: part, authHash: part });
    const isSound = shownAll(bytesOf({ data: '{}' }));
    const close = fc.tuple(names, names, fc.boolean()).map(([a, b, same]) => [a, same ? a : b] as const);
    let accepted = 0;
    fc.assert(
      fc.property(close, ([inKey, inValue]) => {
        const [key, value] = [keyOf(inKey), bytesOf({ ...inValue, data: '{}' })];
        if (!isSound(value, key)) return;
        accepted++;
        assert.ok(isGood(key, value));
      }),
      { numRuns: 5_000 },
    );
    assert.ok(accepted > 20, `only ${accepted} accepted`);
    assert.ok(isSound(bytesOf({ data: '{}' })));
  });

  it('accepts the older forms under their keys, and a member of a tenant never', () => {
    const checksum = createHash('sha256').update('{}').digest('hex');
    const plain = (id: string, more = '') =>
      Buffer.from(`{"id":"${id}","data":{},"checksum":"${checksum}","signature":"${signature}"${more}}`);
    const checker = new SigilChecker({ secrets: [] });
    assert.deepEqual(checker.check(Buffer.from('sigil:7'), plain('7')), []);
    const isSound = (key: Buffer, value: Buffer) =>
      checker.isSound({
        ...{ key, keyLength: key.length, bytes: value, text: value.toString('latin1') },
        ...{ valueStart: 0, valueEnd: value.length },
      });
    for (const [key, id, sound] of [
      ['sigil:7', '7', true],
      ['sigil:ns:7', '7', true],
      ['sigil:ns:7:8', '7:8', true],
      ['sigil:ns:', 'ns:', true],
      ['sigil:ns:7', '8', false],
      ['sigil:7', '17', false],
      ['lyra!sigil!OMEN!a1', 'a1', false],
    ] as const)
      assert.equal(isSound(Buffer.from(key), plain(id)), sound, key);
    assert.equal(isSound(Buffer.from('sigil:\xff:7', 'latin1'), plain('7')), false);
    assert.equal(isSound(Buffer.from('sigil:7'), plain('7', ',"tenantId":"lyra"')), false);
  });

  it('accepts no bytes that are not UTF-8', () => {
    const good = bytesOf({ data: '{"name":"\u00e9"}', others: ',"more":"\u00e9"' });
    const isSound = shownAll(good);
    assert.ok(isSound(good));
    for (let at = 0; at < good.length; at++) {
      if ((good[at] ?? 0) < 0x80) continue;
      const bad = Buffer.from(good);
      bad[at] = 0xff;
      const checksum = createHash('sha256')
        .update(bad.subarray(bad.indexOf('{"name'), bad.indexOf(',"checksum')))
        .digest('hex');
      bad.write(checksum, bad.indexOf('"checksum":"') + 12);
      assert.equal(isSound(bad), false, `byte ${at}`);
    }
  });

  it('goes on when a store mixes more shapes than it remembers', () => {
    const checker = new SigilChecker({ secrets: [] });
    for (let nth = 0; nth < 5_000; nth++) {
      const data = `{"${'x'.repeat(nth % 50)}":${nth}}`;
      assert.deepEqual(checker.check(keyOf(), bytesOf({ data })), []);
      const wrong = textOf({ data })
        .replace('"checksum":"', '"checksum":"0')
        .replace(/.(?=","signature)/, '');
      assert.deepEqual(
        checker.check(keyOf(), Buffer.from(wrong)).map(({ check }) => check),
        ['checksum'],
      );
    }
  });

  it('survives records of any length', () => {
    const isSound = shownAll(bytesOf({ data: '{"list":[[1],{"a":1}],"text":""}' }));
    const tooMuch = 3_000_000;
    for (const data of [
      `{"list":[${'[1],'.repeat(tooMuch)}`,
      `{"list":[${'{"a":1},'.repeat(tooMuch)}x],"text":""}`,
      `{"list":[],"text":"${'\\n'.repeat(tooMuch)}`,
      `{"list":[${'"",'.repeat(tooMuch)}],"text":""}`,
    ])
      assert.equal(isSound(Buffer.from(textOf({ data: '{}' }).replace('"data":{}', `"data":${data}`))), false);
  });

  it('is no slower for lists whose items could be taken for one another', () => {
    for (const [seen, item] of [
      ['[[],[{"a":1}]]', '[]'],
      ['[[1],[[1]],[[[1]]]]', '[1]'],
      ['[{"a":[]},{"a":[{"a":[]}]}]', '{"a":[]}'],
      ['{"x":[[],[[],[{}]]],"y":[{"z":[]},{"z":[[]]}]}', '[],[]'],
    ] as const) {
      const isSound = shownAll(bytesOf({ data: seen }));
      assert.ok(isSound(bytesOf({ data: seen })), seen);
      // Each item that could be two things would double the ways to be tried before this is known to be none of them.
      assert.equal(isSound(bytesOf({ data: seen.replace('[', `[${`${item},`.repeat(200)}"\\u0041",`) })), false, seen);
    }
  });

  it('is learnt from no record nested so deeply that only a parser can tell', () => {
    for (const [open, close] of [
      ['[', ']'],
      ['{"a":', '}'],
    ] as const) {
      for (let depth = 1; depth < 4_600; depth += depth < 40 ? 1 : 40) {
        const checker = new SigilChecker({ secrets: [] });
        const record = bytesOf({ data: `${open.repeat(depth)}1${close.repeat(depth)}` });
        const failed = checker.check(keyOf(), record).map(({ check }) => check);
        assert.ok(failed.length === 0 || (depth > 1_000 && failed[0] === 'json'), `${depth}: ${failed}`);
      }
    }
  });
});
