import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nothingTold, readTold, sayObserved } from '../../agent/told.ts';
import { limits } from '../../common/limits.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { fold } from './watching.ts';

const container = (n: number, name: string): ObservedContainer => ({
  id: n.toString(16).padStart(64, '0'),
  name,
  image: 'i'.repeat(500),
  imageId: 'sha256:0',
  state: 'running',
  health: 'none',
  exitCode: 0,
  restartCount: 0,
  createdAt: '2026-01-01T00:00:00Z',
  startedAt: null,
  finishedAt: null,
});
const byId = (...containers: ObservedContainer[]) => new Map(containers.map((one) => [one.id, one]));

test('many containers are split over entries that fit, and amount to all of them', () => {
  const many = byId(...Array.from({ length: 1_000 }, (_, n) => container(n, `c${n}`)));
  const { statements } = sayObserved(nothingTold, many, new Set());
  assert.ok(statements.length > 1);
  for (const { body } of statements) assert.ok(JSON.stringify(body).length < limits.maxEntryBytes - 5_000);
  assert.deepEqual(fold(statements).containers, many);
});

test('a thousand removed containers fit as well', () => {
  const many = byId(...Array.from({ length: 1_000 }, (_, n) => container(n, `c${n}`)));
  const told = sayObserved(nothingTold, many, new Set());
  const gone = sayObserved(told.after, new Map(), new Set());
  for (const { body } of gone.statements) assert.ok(JSON.stringify(body).length < limits.maxEntryBytes);
  assert.equal(fold([...told.statements, ...gone.statements]).containers.size, 0);
});

test('a name that moved to another container is free before it is taken', () => {
  const before = sayObserved(nothingTold, byId(container(1, 'api')), new Set());
  const { statements } = sayObserved(before.after, byId(container(2, 'api')), new Set());
  const [first] = statements;
  assert.ok(first?.kind === 'observed');
  assert.deepEqual(
    [first.body.removed, first.body.upserted.map(({ id }) => id)],
    [[container(1, '').id], [container(2, '').id]],
  );
});

test('what is kept beside the entries reads back as what was told', () => {
  const anyContainers = fc.uniqueArray(fc.nat(20)).map((ids) => byId(...ids.map((n) => container(n, `c${n}`))));
  fc.assert(
    fc.property(fc.array(anyContainers, { maxLength: 5 }), (scans) => {
      const state = new Map<string, unknown>();
      let told = nothingTold;
      for (const observed of scans) {
        const { changes, after } = sayObserved(told, observed, new Set());
        for (const { key, value } of changes) value === undefined ? state.delete(key) : state.set(key, value);
        told = after;
        assert.deepEqual(readTold(state), told);
      }
    }),
  );
});

test('what cannot be read back is told again', () => {
  const state = new Map<string, unknown>([
    ['container/a', 7],
    ['drift/b', { kind: 'nonsense' }],
    ['else', 'x'],
  ]);
  assert.deepEqual(readTold(state), nothingTold);
});
