import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../common/limits.ts';
import { printable, printableJson, printableLines } from '../../common/printable.ts';
import { cutText, foreignBytes, foreignText, shownValue } from '../../common/sigil-text.ts';

/** What moves a cursor, ends a line, or reorders what stands around it. */
const moving = /\p{Cc}|[\u2028\u2029]|\p{Bidi_Control}/u;

it('no mark of direction is left in foreign text', () => {
  const all = Array.from({ length: 0xffff }, (_, code) => String.fromCharCode(code));
  const marks = all.filter((character) => moving.test(character) && !/\p{Cc}/u.test(character));
  assert.equal(marks.length, 14);
  for (const mark of marks) {
    const bytes = Buffer.from(`a${mark}b`);
    const shown = [foreignText(bytes), shownValue(`a${mark}b`, (text) => text), printable(`a${mark}b`)];
    for (const text of [...shown, printableLines(`a${mark}b`), printableJson(mark).trim()]) {
      assert.doesNotMatch(text, moving, mark.codePointAt(0)?.toString(16));
    }
    assert.deepEqual(foreignBytes(foreignText(bytes)), bytes);
  }
});

it('what nobody can see in a key is written out, so that a command with it is that command when it was copied', () => {
  const hidden = Array.from({ length: 0xffff }, (_, code) => String.fromCharCode(code)).filter((character) =>
    /[\u2000-\u206f]|\p{Zs}|\u00ad|\u180e|\ufeff/u.test(character),
  );
  const isSeen = (character: string) => character === ' ' || /[\u2010-\u2027\u2030-\u205e]/u.test(character);
  for (const character of hidden) {
    const bytes = Buffer.from(`a${character}b`);
    const text = foreignText(bytes);
    assert.equal(text.includes(character), isSeen(character), character.codePointAt(0)?.toString(16));
    assert.deepEqual(foreignBytes(text), bytes);
  }
});

it('foreign text is printable and gives its bytes back', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.string({ unit: 'binary', maxLength: 60 }).map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(bytes, (raw) => {
      const text = foreignText(raw);
      assert.ok(text.isWellFormed());
      assert.doesNotMatch(text, moving);
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
