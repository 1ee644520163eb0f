import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type HeldSnapshot, heldBytes, outdatedSnapshots } from '../../../../agent/sigils/kept/retention.ts';

const dayMs = 86_400_000;
const nowMs = 100 * dayMs;
const file = (inode: number, bytes: number, links: number) => ({ inode, bytes, links });
const night = (age: number, ...files: HeldSnapshot['files']): HeldSnapshot => {
  return { id: `s${age}`, atMs: nowMs - age * dayMs, files };
};

test('bytes count once, and only of files that nothing but snapshots holds', () => {
  const live = file(1, 1_000, 3);
  const shared = file(2, 200, 2);
  const all = [night(0, live, shared), night(1, live, shared, file(3, 30, 1))];
  assert.equal(heldBytes(all, all), 230);
  assert.equal(heldBytes(all.slice(0, 1), all), 200);
});

test('what is too many, too old or too large goes, the oldest first', () => {
  const all = [0, 1, 2, 3, 4].map((age) => night(age, file(age, 100, 1)));
  const drop = (over: object) => outdatedSnapshots(all, { keepDays: 90, keep: 9, maxBytes: 1_000, ...over }, nowMs);
  assert.deepEqual(drop({}), []);
  assert.deepEqual(drop({ keep: 3 }), ['s3', 's4']);
  assert.deepEqual(drop({ keepDays: 2 }), ['s3', 's4']);
  assert.deepEqual(drop({ maxBytes: 250 }), ['s2', 's3', 's4']);
  assert.deepEqual(drop({ maxBytes: 99 }), ['s0', 's1', 's2', 's3', 's4']);
});

const files = fc.array(
  fc.record({ inode: fc.nat(20), bytes: fc.constant(100), links: fc.integer({ min: 1, max: 4 }) }),
  { maxLength: 6 },
);

test('the newest stays unless it alone is too large, and what stays is within the bound and has no gaps', () => {
  const retention = fc.record({
    keepDays: fc.integer({ min: 1, max: 9 }),
    keep: fc.integer({ min: 1, max: 9 }),
    maxBytes: fc.nat(1_500),
  });
  fc.assert(
    fc.property(fc.array(files, { minLength: 1, maxLength: 12 }), retention, (made, policy) => {
      const all = made.map((some, age) => night(age * 2, ...some));
      const gone = outdatedSnapshots(all, policy, nowMs);
      const stay = all.slice(0, all.length - gone.length);
      assert.deepEqual(
        gone,
        all.slice(stay.length).map(({ id }) => id),
      );
      assert.ok(heldBytes(stay, all) <= policy.maxBytes || stay.length === 0);
      assert.ok(stay.length <= policy.keep);
      assert.equal(stay.length === 0, heldBytes(all.slice(0, 1), all) > policy.maxBytes);
    }),
  );
});
