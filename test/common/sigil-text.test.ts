import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../common/limits.ts';
import { cutText, foreignBytes, foreignText } from '../../common/sigil-text.ts';

it('foreign text is printable and gives its bytes back', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.string({ unit: 'binary', maxLength: 60 }).map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(bytes, (raw) => {
      const text = foreignText(raw);
      assert.ok(text.isWellFormed());
      assert.doesNotMatch(text, /\p{Cc}|[\u2028-\u202e\u2066-\u2069]/u);
      assert.deepEqual(foreignBytes(text), Buffer.from(raw));
    }),
  );
});

it('cut text fits, stays well-formed and is known to be cut', () => {
  const cut = cutText('\u{1f525}'.repeat(limits.maxForeignTextChars));
  assert.ok(cut.length <= limits.maxForeignTextChars && cut.isWellFormed());
  assert.equal(foreignBytes(cutText('k'.repeat(limits.maxForeignTextChars + 1))), null);
  assert.deepEqual(
    foreignBytes(cutText('k'.repeat(limits.maxForeignTextChars))),
    Buffer.alloc(limits.maxForeignTextChars, 'k'),
  );
});
