import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { field, type RecordField, RecordLayout, recordFields } from '../../common/sigil-layout.ts';

const layout = new RecordLayout();

/** Whether the layout takes a number for what `JSON.stringify` would write; undefined when it takes it for no number. */
function canonical(text: string): boolean | undefined {
  return layout.scan(Buffer.from(`{"data":${text}}`)) ? layout.canonical : undefined;
}

describe('a number counts as canonical exactly when JavaScript writes it so', () => {
  const numbers = [
    ...[
      '0',
      '-0',
      '7',
      '-7',
      '0.5',
      '-0.5',
      '0.50',
      '12.25',
      '1.0',
      '0.0',
      '10.01',
      '100.000001',
      '0.000001',
      '0.0000001',
    ],
    ...[
      '0.0000010',
      '0.1000001',
      '0.123456789012345',
      '0.12345678901234',
      '123456789012345',
      '1234567890123456',
      '9007199254740993',
    ],
    ...[
      '123456789012.345',
      '1234567890123.456',
      '12345678901234.5',
      '99999999999999.9',
      '999999999999999.9',
      '0.30000000000000004',
    ],
    ...[
      '1e3',
      '1E3',
      '1e21',
      '1e+21',
      '1e-7',
      '1.5e300',
      '-1e-7',
      '1e400',
      '0.1e1',
      '5e-324',
      '1.7976931348623157e308',
    ],
  ];
  const judge = (text: string) => assert.equal(canonical(text), JSON.stringify(JSON.parse(text)) === text, text);

  it('by name', () => numbers.forEach(judge));

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
    fc.assert(fc.property(text, judge), { numRuns: 20_000 });
    fc.assert(fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (n) => judge(JSON.stringify(n))));
  });

  it('and what is no number is none', () => {
    for (const text of [
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
    ]) {
      assert.throws(() => JSON.parse(text), text);
      assert.equal(canonical(text), undefined, text);
    }
  });
});

it('the members of a record are found whatever the record before looked like', () => {
  const foreign = fc.string({ minLength: 1, maxLength: 6, unit: fc.constantFrom(...'idsymbolat') });
  const name: fc.Arbitrary<string> = fc.oneof(fc.constantFrom(...recordFields), foreign);
  const names = fc.uniqueArray(name, { maxLength: 40 });
  const isField = (text: string): text is RecordField => Object.hasOwn(field, text);
  fc.assert(
    fc.property(fc.array(names, { minLength: 1, maxLength: 6 }), (records) => {
      for (const members of records) {
        const bytes = Buffer.from(`{${members.map((member, at) => `"${member}":${at}`).join(',')}}`);
        assert.ok(layout.scan(bytes));
        const found = recordFields.map((one) => {
          const [start, end] = [layout.start(field[one]), layout.end(field[one])];
          return start < 0 ? '' : bytes.toString('latin1', start, end);
        });
        const expected = recordFields.map((one) => (members.includes(one) ? String(members.indexOf(one)) : ''));
        assert.deepEqual([found, layout.repeated], [expected, false]);
        for (const member of members.filter(isField)) {
          assert.ok(layout.scan(Buffer.from(`{"${member}":1,${bytes.toString('latin1', 1)}`)));
          assert.equal(layout.repeated, true);
        }
      }
    }),
  );
});
