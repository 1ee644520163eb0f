import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { nothingTold, readTold, sayDrifts, sayObserved, type Told } from '../../../agent/told/told.ts';
import type { Drift } from '../../../common/drift.ts';
import { limits } from '../../../common/limits.ts';
import type { ObservedContainer } from '../../../common/observed.ts';
import { fold } from '../watching.ts';

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

test('the clock of an unauthorized container goes on when it is made anew, also after a restart', () => {
  const grace = { graceMs: 60_000, wantedImages: [] };
  const rogue = (n: number, name = 'rogue'): Drift => {
    const { id, image } = container(n, name);
    const differences = [{ field: 'image', desired: null, observed: image }];
    return {
      id: `UNAUTHORIZED_CONTAINER/${id}`,
      kind: 'UNAUTHORIZED_CONTAINER',
      container: name,
      containerId: id,
      differences,
    };
  };
  const state = new Map<string, unknown>();
  const look = (told: Told, standing: readonly Drift[], nowMs: number): Told => {
    const { changes, after } = sayDrifts(told, { standing, held: new Set(), commit: null, nowMs, grace });
    for (const { key, value } of changes) value === undefined ? state.delete(key) : state.set(key, value);
    return after;
  };
  const sinceOf = (told: Told, drift: Drift) => told.since.get(drift.id);
  let told = look(nothingTold, [rogue(1)], 1_000);
  told = look(told, [rogue(2)], 31_000);
  assert.equal(sinceOf(told, rogue(2)), 1_000, 'gone and there again in one look');
  told = look(told, [], 41_000);
  told = look(readTold(state), [rogue(3, 'other')], 100_999);
  assert.equal(sinceOf(told, rogue(3, 'other')), 1_000, 'of the same image, which nobody wants');
  told = look(told, [], 110_000);
  told = look(told, [rogue(4)], 170_000);
  assert.equal(sinceOf(told, rogue(4)), 170_000, 'after a whole grace period without it');
  assert.equal(told.ended.size, 0);
  assert.deepEqual(readTold(state), told);
});

test('of drifts that are over, those that stood longest are remembered, and no more than fit', () => {
  const grace = { graceMs: 60_000, wantedImages: [] };
  const many = Array.from({ length: limits.maxEndedDrifts + 50 }, (_, n): Drift => {
    const name = `c${n}`;
    return {
      id: `UNAUTHORIZED_CONTAINER/${name}`,
      kind: 'UNAUTHORIZED_CONTAINER',
      container: name,
      containerId: null,
      differences: [],
    };
  });
  const [first, ...others] = many;
  assert.ok(first);
  const at = { held: new Set<string>(), commit: null, grace };
  const stood = sayDrifts(nothingTold, { ...at, standing: [first], nowMs: 0 }).after;
  const flood = sayDrifts(stood, { ...at, standing: many, nowMs: 1_000 }).after;
  const over = sayDrifts(flood, { ...at, standing: [], nowMs: 2_000 }).after;
  assert.equal(over.ended.size, limits.maxEndedDrifts);
  assert.ok(
    [...over.ended.values()].some(({ drift }) => drift.id === first.id) && others.length > limits.maxEndedDrifts,
  );
});
