import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { alertPattern, isAlertPattern, matchesPattern } from '../../common/alert-pattern.ts';
import { statementSchema } from '../../common/kinds.ts';

test('no pattern means all alerts, nor all areas of them', () => {
  for (const pattern of ['', '*', '**', 'n*', 'node*', '/*', '.*', 'x*y', 'node.silent/*/x', 'node.silent/**', ' *']) {
    assert.ok(!isAlertPattern(pattern), pattern);
    assert.ok(!alertPattern.safeParse(pattern).success, pattern);
  }
  const body = { id: 'a'.repeat(64), pattern: '*', until: '2026-03-01T10:00:00.000Z', actor: 'a', reason: 'r' };
  assert.ok(!statementSchema.safeParse({ kind: 'alert.silenced', body }).success);
});

test('a key means itself, and a * at the end everything that begins so', () => {
  for (const pattern of ['node.silent/node2', 'sigils.findings/node2/*', 'drift.*', 'any text at all']) {
    assert.ok(isAlertPattern(pattern), pattern);
  }
  assert.ok(matchesPattern('node.silent/node2', 'node.silent/node2'));
  assert.ok(!matchesPattern('node.silent/node2', 'node.silent/node21'));
  assert.ok(matchesPattern('node.silent/node2*', 'node.silent/node21'));
  assert.ok(matchesPattern('sigils.findings/node2/*', 'sigils.findings/node2/main'));
  assert.ok(!matchesPattern('sigils.findings/node2/*', 'sigils.findings/node20/main'));
});

test('whatever a pattern is, it leaves out keys of some other area', () => {
  fc.assert(
    fc.property(fc.string(), (pattern) => {
      if (!isAlertPattern(pattern)) return;
      assert.ok(!(matchesPattern(pattern, 'a.x') && matchesPattern(pattern, 'b.x')));
    }),
  );
});
