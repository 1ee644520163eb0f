import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeBase64, decodeBase64Hash, decodeDecimal } from '../../common/encoding.ts';

test('base64 has one spelling per bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const text = Buffer.from(bytes).toString('base64');
      assert.deepEqual(decodeBase64(text), Buffer.from(bytes));
    }),
  );
  for (const text of ['AA', 'AA=', 'AB==', 'AA==\n', ' AA==', 'AA-_', 'A', '!!!!']) {
    assert.equal(decodeBase64(text), undefined, text);
  }
  assert.equal(decodeBase64Hash(Buffer.alloc(31).toString('base64')), undefined);
  assert.equal(decodeBase64Hash(Buffer.alloc(32).toString('base64'))?.length, 32);
});

test('decimals have one spelling per number and stop at the largest safe integer', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      assert.equal(decodeDecimal(String(value)), value);
    }),
  );
  for (const text of ['', '-1', '+1', '01', '1.0', '1e3', ' 1', '1 ', '0x1', '9007199254740992', '99999999999999999']) {
    assert.equal(decodeDecimal(text), undefined, text);
  }
});
