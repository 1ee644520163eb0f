import assert from 'node:assert/strict';
import { test } from 'node:test';
import { amount } from '../../common/amount.ts';

test('one of something is told in the singular, and nothing else is', () => {
  const counts = [0, 1, 2, 1000];
  assert.deepEqual(
    counts.map((count) => amount(count, 'entry', 'entries')),
    ['0 entries', '1 entry', '2 entries', '1000 entries'],
  );
  assert.deepEqual(
    counts.map((count) => amount(count, 'sigil store')),
    ['0 sigil stores', '1 sigil store', '2 sigil stores', '1000 sigil stores'],
  );
});
