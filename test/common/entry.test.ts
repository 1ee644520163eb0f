import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { canonicalText } from '../../common/canonical.ts';
import {
  assertFollows,
  type Entry,
  entryHash,
  genesis,
  genesisHash,
  headAfter,
  leafData,
  parseEntry,
  type SignedEntry,
  sealEntry,
  setDigest,
  splitLeaf,
} from '../../common/entry.ts';
import { verifyBytes } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import { statements } from '../arbitrary/statements.ts';
import { cleared, firstEntryMs, testAuthor } from '../authors.ts';

const refused = { name: 'AppError', code: 'validation.entry' };
const outOfSequence = { name: 'AppError', code: 'ledger.sequence' };
const { keys } = testAuthor('node1');

/** The text of a good entry with `change` made to its object. */
function changed(change: Record<string, unknown>): Buffer {
  const good = JSON.parse(testAuthor('node1').next(cleared('x')).bytes.toString());
  return Buffer.from(canonicalText({ ...good, ...change }));
}

function text(signed: SignedEntry): string {
  return signed.bytes.toString('utf8');
}

describe('an entry', () => {
  test('of any kind is read back as it was sealed', () => {
    fc.assert(
      fc.property(statements(), fc.nat(1_000_000), (statement, seq) => {
        const head = { seq, hash: entryHash(Buffer.from(String(seq))) };
        const by = { author: 'node1', head, now: firstEntryMs, privateKey: keys.privateKey };
        const signed = sealEntry(statement, by);
        assert.deepEqual(parseEntry(signed.bytes), signed.entry);
        assert.ok(verifyBytes(keys.publicKey, signed.bytes, signed.signature));
        assert.deepEqual(splitLeaf(leafData(signed)), { bytes: signed.bytes, signature: signed.signature });
        assert.equal(signed.entry.at, '2026-01-01T00:00:00.000Z');
      }),
      { numRuns: 400 },
    );
  });

  test('with any byte changed, added or missing is refused, or is another entry under a signature that is not its own', () => {
    const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    const flip = fc.integer({ min: 1, max: 255 });
    fc.assert(
      fc.property(statements(), place, flip, fc.constantFrom('change', 'add', 'drop'), (statement, at, flip, how) => {
        const signed = testAuthor('node1').next(statement);
        const { bytes, signature } = signed;
        const i = Math.floor(at * bytes.length);
        const byte = Buffer.of((bytes[i] ?? 0) ^ flip);
        const rest = bytes.subarray(how === 'add' ? i : i + 1);
        const forged = Buffer.concat([bytes.subarray(0, i), how === 'drop' ? Buffer.alloc(0) : byte, rest]);
        if (forged.equals(bytes)) return;
        assert.notEqual(entryHash(forged), entryHash(bytes));
        assert.ok(!verifyBytes(keys.publicKey, forged, signature));
        let entry: Entry;
        try {
          entry = parseEntry(forged);
        } catch (thrown) {
          assert.ok(thrown instanceof Error && 'code' in thrown && thrown.code === 'validation.entry', String(thrown));
          return;
        }
        assert.notDeepEqual(entry, signed.entry);
        assert.deepEqual(Buffer.from(canonicalText(entry)), forged);
      }),
      { numRuns: 2_000 },
    );
  });

  test('in any other spelling of the same JSON is refused', () => {
    const good = text(testAuthor('node1').next({ kind: 'sigil.cleared', body: { store: 'é/', id: 'a\n' } }));
    for (const spelling of [
      ` ${good}`,
      `${good}\n`,
      `\ufeff${good}`,
      good.replace('"v":1', '"v":1.0'),
      good.replace('"v":1', '"v":1e0'),
      good.replace('"seq":1', '"seq":1,"seq":1'),
      good.replace('é', '\\u00e9'),
      good.replace('/', '\\/'),
      good.replace('\\n', '\\u000a'),
      JSON.stringify(Object.fromEntries(Object.entries(JSON.parse(good)).reverse())),
      JSON.stringify(JSON.parse(good), undefined, 1),
    ]) {
      assert.notEqual(spelling, good);
      assert.throws(() => parseEntry(Buffer.from(spelling)), refused, spelling);
    }
    parseEntry(Buffer.from(good));
  });

  test('with unknown, missing or ill-typed members is refused', () => {
    for (const change of [
      { v: 2 },
      { author: '' },
      { author: 'Node1' },
      { author: 'node.1' },
      { author: '../etc' },
      { author: 'x'.repeat(64) },
      { seq: 0 },
      { seq: -1 },
      { seq: 1.5 },
      { seq: 2 ** 53 },
      { seq: '1' },
      { prev: 'f'.repeat(63) },
      { prev: 'F'.repeat(64) },
      { at: '2026-01-01T00:00:00Z' },
      { at: '2026-02-30T00:00:00.000Z' },
      { at: '2026-01-01T00:00:00.000+00:00' },
      { at: '0000-01-01T00:00:00.000Z' },
      { at: '+010000-01-01T00:00:00.000Z' },
      { kind: 'sigil.unheard_of' },
      { kind: null },
      { kind: 'sigil.cleared', body: null },
      { body: { store: 'x' } },
      { body: { store: 'x', id: 'y', more: 1 } },
      { body: { store: 'x'.repeat(513), id: 'y' } },
      { extra: 1 },
    ]) {
      assert.throws(() => parseEntry(changed(change)), refused, JSON.stringify(change));
    }
    parseEntry(changed({}));
  });

  test('that is not JSON, not UTF-8 or not an object is refused', () => {
    const good = testAuthor('node1').next(cleared('ü')).bytes;
    const broken = Buffer.from(good);
    broken.writeUInt8(0x28, good.indexOf(0xbc));
    for (const bytes of [
      Buffer.alloc(0),
      Buffer.from('null'),
      Buffer.from('[]'),
      Buffer.from('"entry"'),
      Buffer.from('{'),
      Buffer.from(`${'['.repeat(20_000)}${']'.repeat(20_000)}`),
      broken,
    ]) {
      assert.throws(() => parseEntry(bytes), refused);
    }
    // A lone surrogate has no UTF-8, so its escape would be a second spelling of U+FFFD.
    assert.throws(() => parseEntry(Buffer.from(good.toString().replace('ü', '\\ud800'))), refused);
  });

  test('of a statement that could not be read back is not sealed', () => {
    const long = 'x'.repeat(limits.maxOwnTextChars + 1);
    const seal = testAuthor('collector');
    assert.throws(
      () => seal.next({ kind: 'node.revoked', body: { node: 'lyra', fingerprint: '', reason: long } }),
      refused,
    );
    assert.throws(() => seal.next({ kind: 'drift.resolved', body: { id: long, commit: null } }), refused);
    assert.equal(seal.head, genesis);
  });

  test('over the size limit is neither sealed nor read', () => {
    const commit = (chars: number) =>
      ({ kind: 'drift.resolved', body: { id: 'x', commit: 'y'.repeat(chars) } }) as const;
    const room = limits.maxEntryBytes - testAuthor('node1').next(commit(0)).bytes.length;
    const largest = testAuthor('node1').next(commit(room));
    assert.equal(largest.bytes.length, limits.maxEntryBytes);
    parseEntry(largest.bytes);
    assert.throws(() => testAuthor('node1').next(commit(room + 1)), refused);
    assert.throws(() => parseEntry(Buffer.from(text(largest).replace('yy', 'yyy'))), refused);
    assert.ok(leafData(largest).length <= limits.maxLeafBytes);
  });
});

describe('an author chain', () => {
  test('starts at number 1 after the genesis hash, and each entry names the one before', () => {
    let head = genesis;
    for (const signed of testAuthor('node1').more(5)) {
      assert.equal(signed.entry.seq, head.seq + 1);
      assert.equal(signed.entry.prev, head.seq === 0 ? genesisHash : head.hash);
      assertFollows(head, signed.entry);
      head = headAfter(signed);
      assert.deepEqual(head, { seq: signed.entry.seq, hash: entryHash(signed.bytes) });
    }
  });

  test('has exactly one next entry', () => {
    const author = testAuthor('node1');
    const entries = author.more(4);
    const heads = [genesis, ...entries.map(headAfter)];
    for (const [at, head] of heads.entries()) {
      for (const [i, { entry }] of entries.entries()) {
        if (i === at) assertFollows(head, entry);
        else assert.throws(() => assertFollows(head, entry), outOfSequence);
      }
    }
    const { entry } = author.next(cleared('next'));
    assert.throws(() => assertFollows({ ...author.head, seq: 4 }, { ...entry, seq: 5 }), outOfSequence);
    assert.throws(() => assertFollows({ seq: 4, hash: genesisHash }, entry), outOfSequence);
  });
});

describe('a leaf', () => {
  test('too short to hold an entry and a signature is refused', () => {
    for (const length of [0, 63, 64]) assert.throws(() => splitLeaf(Buffer.alloc(length)), refused);
    assert.equal(splitLeaf(Buffer.alloc(65)).bytes.length, 1);
  });
});

describe('the digest of a set', () => {
  test('depends on the members and not on their order, and keeps them apart', () => {
    const members = fc.uniqueArray(fc.string());
    fc.assert(
      fc.property(members, members, (a, b) => {
        assert.equal(setDigest(a), setDigest([...a].reverse()));
        const same = a.length === b.length && a.every((member) => b.includes(member));
        assert.equal(setDigest(a) === setDigest(b), same);
      }),
    );
    assert.notEqual(setDigest(['a,b']), setDigest(['a', 'b']));
    assert.notEqual(setDigest([]), setDigest(['']));
  });
});
