import assert from 'node:assert/strict';
import { test } from 'node:test';
import { project } from '../../../collector/ledger/projections.ts';
import { parseEntry } from '../../../common/entry.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { testAuthor } from '../../authors.ts';

const finding: SigilFinding = {
  id: '0f'.repeat(16),
  check: 'vanished',
  key: 'lyra!sigil!S!a',
  keyRange: null,
  file: null,
  offset: null,
  expected: '2026-01-01T00:00:00.000Z',
  actual: null,
  detail: 'the sigil is gone',
};

test('a finding that somebody accepted is resolved by the entry that says why, in its own store only', () => {
  const author = testAuthor('node1');
  const found = (store: string) => author.next({ kind: 'sigil.finding', body: { store, finding } });
  const body = {
    store: 'main',
    key: 'lyra!sigil!S!a',
    check: 'vanished',
    finding: finding.id,
    reason: 'meant',
  } as const;
  const said = [found('main'), found('side'), author.next({ kind: 'sigil.accepted', body })];
  const entries = said.map(({ bytes, signature }, index) => ({ entry: parseEntry(bytes), bytes, signature, index }));
  const { opened } = project(entries).findings;
  assert.deepEqual(
    opened.map(({ value, endedIndex }) => [value.store, endedIndex]),
    [
      ['main', 2],
      ['side', null],
    ],
  );
});
