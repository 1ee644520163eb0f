import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { hasOutline, readOutline, TimeReader } from '../../../../collector/ledger/verify/outline.ts';
import { rfc3339 } from '../../../../common/clock.ts';
import { sealEntry } from '../../../../common/entry.ts';
import { statements } from '../../../arbitrary/statements.ts';
import { testAuthor } from '../../../authors.ts';

const { privateKey } = testAuthor('node1').keys;
/** From 1970 to 9999, which is what entries can say. */
const times = fc.integer({ min: 0, max: 253_402_300_799_999 });
const heads = fc.record({
  seq: fc.nat(Number.MAX_SAFE_INTEGER - 1),
  hash: fc.stringMatching(/^[0-9a-f]{64}$/),
});

const entries = fc.record({ statement: statements(), head: heads, now: times }).map(({ statement, head, now }) => {
  const { bytes, entry } = sealEntry(statement, { author: 'node1', head, now, privateKey });
  return { bytes, entry, now };
});

test('both ways of reading agree on every entry that can be made', () => {
  fc.assert(
    fc.property(entries, ({ bytes, entry, now }) => {
      const { author, seq, prev, at, kind } = entry;
      assert.deepEqual(readOutline(bytes), { author, seq, prev, at, kind });
      assert.ok(hasOutline(bytes, { author, seq, prev, kind }, now, new TimeReader()));
    }),
  );
});

test('no other author, number, predecessor, kind or time passes for it', () => {
  const reader = new TimeReader();
  fc.assert(
    fc.property(entries, times, ({ bytes, entry, now }, other) => {
      const { author, seq, prev, kind } = entry;
      const said = { author, seq, prev, kind };
      assert.ok(!hasOutline(bytes, { ...said, author: 'node' }, now, reader));
      assert.ok(!hasOutline(bytes, { ...said, seq: seq + 1 }, now, reader));
      assert.ok(!hasOutline(bytes, { ...said, seq: Number(String(seq).slice(1)) }, now, reader));
      assert.ok(!hasOutline(bytes, { ...said, prev: `${prev.slice(1)}0`.replace(prev, 'x') }, now, reader));
      assert.ok(!hasOutline(bytes, { ...said, kind: `${kind}.` }, now, reader));
      assert.ok(!hasOutline(bytes, said, now + 1, reader));
      assert.equal(hasOutline(bytes, said, other, reader), other === now);
    }),
  );
});

test('what a body says cannot pass for what stands around it', () => {
  const inside = '","kind":"report","prev":"00","seq":9,"v":1}';
  const statement = { kind: 'auth.event', body: { event: inside, actor: '', subject: '', detail: inside } } as const;
  const { bytes } = sealEntry(statement, {
    author: 'collector',
    head: { seq: 4, hash: 'a'.repeat(64) },
    now: 0,
    privateKey,
  });
  assert.equal(readOutline(bytes)?.kind, 'auth.event');
  const said = { author: 'collector', kind: 'report', prev: '00', seq: 9 };
  assert.ok(!hasOutline(bytes, said, 0, new TimeReader()));
});

test('what is no entry has no outline', () => {
  for (const text of ['', '{', '[]', 'null', '{"at":1}', '{"at":"x","author":"y","kind":"z","prev":"p","seq":1.5}']) {
    assert.equal(readOutline(Buffer.from(text)), undefined);
  }
});

test('times are read as the platform reads them', () => {
  const reader = new TimeReader();
  fc.assert(fc.property(times, (ms) => assert.equal(reader.read(Buffer.from(rfc3339(ms)), 0), ms)));
  for (const none of [
    '',
    '2026-01-01T00:00:0:.000Z',
    '2026-01-01T00:00:61.000Z',
    '2026-01-01T00:00:01.0/0Z',
    '2026-01-01T00:00:01,000Z',
  ]) {
    assert.ok(Number.isNaN(reader.read(Buffer.from(none), 0)), none);
  }
  assert.ok(Number.isNaN(reader.read(Buffer.from('yesterday at noon, more or less'), 0)));
});
