import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { parseEntry } from '../../common/entry.ts';
import { limits } from '../../common/limits.ts';
import type { Lineage } from '../../common/lineage.ts';
import { lineageProblem, lineageSchema, lineageText, understood } from '../../common/lineage.ts';
import { testAuthor } from '../authors.ts';

const id = 'ab'.repeat(32);
const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

describe('a hostile lineage', () => {
  const refused: Readonly<Record<string, string>> = {
    'that is no object': '[]',
    'that is null': 'null',
    'that is a text': '"image"',
    'too deep': nested(limits.maxLineageDepth + 1),
    'far too deep': nested(100_000),
    'with lists in lists': `{"a":${'['.repeat(5_000)}${']'.repeat(5_000)}}`,
    'with too many values': JSON.stringify({ all: Array.from({ length: limits.maxLineageValues }, () => 0) }),
    'too large': JSON.stringify({ text: 'x'.repeat(limits.maxLineageBytes) }),
    'too large in bytes, not in characters': JSON.stringify({ text: '€'.repeat(limits.maxLineageBytes / 2) }),
    'with __proto__': '{"__proto__":{"verified":true}}',
    'with __proto__ further down': '{"a":[{"__proto__":null}]}',
    'with a constructor': '{"constructor":1}',
    'with NUL in a text': '{"image":"a\\u0000b"}',
    'with an escape sequence in a text': '{"image":"\\u001b[2J"}',
    'with a control character in a name': '{"im\\u0007age":1}',
    'with half of a character': '{"image":"\\ud800"}',
    'with a number beyond all': '{"n":1e400}',
  };

  for (const [what, json] of Object.entries(refused)) {
    test(`${what} is refused, with a reason that does not repeat it`, () => {
      const value: unknown = JSON.parse(json);
      const { error } = lineageSchema.safeParse(value);
      assert.equal(error?.issues[0]?.message, lineageProblem(value));
      assert.ok((lineageProblem(value) ?? '').length <= 100);
    });
  }

  test('cannot change what objects are', () => {
    lineageSchema.safeParse(JSON.parse('{"__proto__":{"polluted":true}}'));
    assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
  });
});

describe('any other lineage', () => {
  const any = fc
    .dictionary(fc.string({ unit: 'grapheme', maxLength: 8 }), fc.jsonValue({ maxDepth: 4 }), { maxKeys: 6 })
    .map((value) => lineageSchema.safeParse(value).data)
    .filter((value): value is Lineage => value !== undefined);

  test('goes into an entry and comes out of it as it was', () => {
    fc.assert(
      fc.property(any, (lineage) => {
        const said = { id, name: null, kind: null, lineage, driftScore: null, scorecardScore: null, actor: 'test' };
        const { bytes } = testAuthor('collector').next({ kind: 'artifact.registered', body: said });
        const entry = parseEntry(bytes);
        assert.ok(entry.kind === 'artifact.registered');
        assert.equal(lineageText(entry.body.lineage), lineageText(lineage));
        understood(lineage);
      }),
    );
  });
});

test('of a lineage what has the known form is understood, and the rest says nothing', () => {
  assert.deepEqual(
    understood({
      name: 'app',
      image: 'registry.local/app:1',
      image_id: `SHA256:${id.toUpperCase()}`,
      commit: 'c',
      builder: { id: 'https://ci.example/1' },
      parents: [id, `sha256:${id}`, 'no hash', 4],
      signature: { verified: true, by: 'ci' },
      other: [1, 2],
    }),
    {
      ...{ name: 'app', image: 'registry.local/app:1', imageId: `sha256:${id}`, commit: 'c' },
      ...{ builder: 'https://ci.example/1', parents: [id], signature: 'verified' },
    },
  );
  const nothing = { name: null, image: null, imageId: null, commit: null, builder: null, parents: null };
  assert.deepEqual(understood({}), { ...nothing, signature: 'none' });
  const wrong = { name: 1, image: {}, image_id: 'latest', commit: ['c'], builder: [], parents: 'x', signature: true };
  assert.deepEqual(understood(wrong), { ...nothing, signature: 'none' });
  for (const signature of ['-----BEGIN', { by: 'ci' }, { by: 'ci', verified: false }, ['x']]) {
    assert.equal(understood({ signature }).signature, 'present');
  }
  for (const signature of ['', {}, { verified: false }, [], null, 1]) {
    assert.equal(understood({ signature }).signature, 'none');
  }
});
