import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { StoredEntry } from '../../../collector/ledger/verify/source.ts';
import { EntryUnpacker } from '../../../collector/postgres/packed-entries.ts';
import { Names, types } from '../../../collector/postgres/packed-values.ts';

const hourMicros = 3_600_000_000n;

/** A column of a record: type, and the value in binary form. */
type Value = readonly [type: number, bytes: Buffer | null];

interface Run {
  readonly index: number;
  readonly width: number;
  readonly kind?: string;
  /** Microseconds since 2000-01-01. */
  readonly times?: readonly bigint[];
  readonly ends?: readonly number[];
  readonly leaves?: Buffer;
}

const leafBytes = 80;

/** The two rows of a run, in which nothing is wrong unless said otherwise. */
function rowsOf({ index, width, kind = 'report', ...said }: Run): Value[] {
  const { times = Array.from({ length: width }, (_, n) => BigInt(n)) } = said;
  const { ends = Array.from({ length: width }, (_, n) => (n + 1) * leafBytes) } = said;
  const { leaves = Buffer.alloc(width * leafBytes, 0x61) } = said;
  return [
    [types.int8, int8(index)],
    [types.int2, Buffer.of(width >> 8, width & 255)],
    [types.text, Buffer.from('node1')],
    [types.int8, int8(100 + index)],
    [types.text, Buffer.from(kind)],
    [types.timestamptzs, array(types.timestamptz, times.map(int8))],
    [types.bytea, Buffer.alloc(width * 32, 1)],
    [types.bytea, Buffer.alloc(width * 32, 2)],
    [types.int8, int8(index)],
    [types.int4s, array(types.int4, ends.map(int4))],
    [types.bytea, leaves],
  ];
}

function record(values: readonly Value[]): Buffer {
  return Buffer.concat([
    int4(values.length),
    ...values.flatMap(([type, bytes]) => [int4(type), int4(bytes?.length ?? -1), bytes ?? Buffer.alloc(0)]),
  ]);
}

function array(type: number, values: readonly Buffer[]): Buffer {
  const header = [1, 0, type, values.length, 1].map(int4);
  return Buffer.concat([...header, ...values.flatMap((value) => [int4(value.length), value])]);
}

function int4(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function int8(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(BigInt(value));
  return bytes;
}

function unpack(rows: readonly (readonly Value[])[], from = 0, to = 1_000_000): readonly StoredEntry[] {
  return new EntryUnpacker(new Names(), from, to).unpack(Buffer.concat(rows.map(record)));
}

const bodyLengths = (entries: readonly StoredEntry[]) => entries.map(({ body }) => body?.leaf.length);
const misfits = (entries: readonly StoredEntry[]) => entries.map(({ misfit }) => misfit !== undefined);

test('a run is taken apart into its entries, each with its number, time, hashes and leaf', () => {
  const leaves = Buffer.concat([Buffer.alloc(70, 1), Buffer.alloc(90, 2), Buffer.alloc(66, 3)]);
  const times = [0n, 1_000n, 1_001n];
  const entries = unpack([rowsOf({ index: 7, width: 3, times, ends: [70, 160, 226], leaves })]);
  assert.deepEqual(
    entries.map(({ index, seq, atMs, atMicros, body }) => [index, seq, atMs, atMicros, body?.length, body?.leaf[0]]),
    [
      [7, 107, Date.UTC(2000, 0, 1), 0, 5, 1],
      [8, 108, Date.UTC(2000, 0, 1) + 1, 0, 25, 2],
      [9, 109, Date.UTC(2000, 0, 1) + 1, 1, 1, 3],
    ],
  );
  for (const { author, kind, entryHash, leafHash, misfit } of entries) {
    assert.deepEqual([author, kind, misfit], ['node1', 'report', undefined]);
    assert.deepEqual([entryHash, leafHash], ['01'.repeat(32), '\x02'.repeat(32)]);
  }
});

test('of runs that begin before a stretch or go beyond it, only the entries in it are handed over', () => {
  const runs = [rowsOf({ index: 0, width: 5 }), rowsOf({ index: 5, width: 9 }), rowsOf({ index: 14, width: 1 })];
  for (let from = 0; from < 15; from++) {
    for (let to = from + 1; to <= 15; to++) {
      const indexes = unpack(runs, from, to).map(({ index }) => index);
      assert.deepEqual(
        indexes,
        Array.from({ length: to - from }, (_, n) => from + n),
      );
    }
  }
});

test('bodies that no run has are handed over where there is an entry at their index, and only there', () => {
  const alone = (index: number): Value[] =>
    rowsOf({ index, width: 1 }).map(([type, bytes], column) => [type, column < 8 ? null : bytes]);
  const run = rowsOf({ index: 0, width: 5 });
  assert.deepEqual(
    unpack([run, alone(3)]).map(({ index }) => index),
    [0, 1, 2, 3, 4, 3],
  );
  assert.equal(unpack([run, alone(5)]).length, 5);
});

test('a row that is none of ours comes as its first entry, with what is wrong', () => {
  const run = { index: 7, width: 3 };
  const changed = (column: number, value: Value) => rowsOf(run).map((was, at) => (at === column ? value : was));
  const times = array(types.timestamptz, [int8(0), int8(0), int8(0)]);
  const rows = {
    'no entries': rowsOf({ index: 7, width: 0 }),
    'fewer than none': changed(1, [types.int2, Buffer.of(255, 255)]),
    'too many': rowsOf({ index: 7, width: 33 }),
    'a kind that stands alone': rowsOf({ ...run, kind: 'drift.opened' }),
    'two partitions': rowsOf({ index: 65_535, width: 2 }),
    'more times': rowsOf({ ...run, times: [0n, 0n, 0n, 0n] }),
    'times counted from another number': changed(5, [types.timestamptzs, Buffer.from(times).fill(2, 19, 20)]),
    'times of another type': changed(5, [types.timestamptzs, Buffer.from(times).fill(2, 11, 12)]),
    'no times': changed(5, [types.timestamptzs, null]),
    'fewer hashes': changed(6, [types.bytea, Buffer.alloc(64)]),
    'more leaf hashes': changed(7, [types.bytea, Buffer.alloc(97)]),
    ...Object.fromEntries([1, 2, 3, 4, 5, 6, 7].map((column) => [`NULL at ${column}`, changed(column, [0, null])])),
    'a number of another type': changed(3, [types.int4, int4(1)]),
  };
  for (const [what, values] of Object.entries(rows)) {
    const entries = unpack([values]);
    assert.equal(entries.length, 1, what);
    assert.equal(entries[0]?.index, what === 'two partitions' ? 65_535 : 7, what);
    assert.deepEqual(misfits(entries), [true], what);
  }
});

test('times that go back, or span more than an hour, are told of the entry where they do', () => {
  const told = (times: readonly bigint[]) =>
    unpack([rowsOf({ index: 7, width: times.length, times })]).map(({ outOfTime }) => outOfTime);
  assert.deepEqual(told([5_000n, 5_000n, hourMicros + 5_000n]), [false, false, false]);
  assert.deepEqual(told([5_000n, 4_000n, 6_000n]), [false, true, false]);
  assert.deepEqual(told([5_000n, 5_000n, hourMicros + 6_000n]), [false, false, true]);
});

test('a body is there only where the ends say that it is, and the last one to the last byte', () => {
  const lengths = (ends: readonly number[], leaves = Buffer.alloc(240)) =>
    bodyLengths(unpack([rowsOf({ index: 7, width: 3, ends, leaves })]));
  assert.deepEqual(lengths([80, 160, 240]), [80, 80, 80]);
  assert.deepEqual(lengths([80, 160, 241]), [80, 80, 0]);
  assert.deepEqual(lengths([80, 160, 239]), [80, 80, 0]);
  assert.deepEqual(lengths([80, 300, 240]), [80, 0, 0]);
  assert.deepEqual(lengths([160, 80, 240]), [160, 0, 160]);
  assert.deepEqual(lengths([-80, 160, 240]), [0, 0, 80]);
  assert.deepEqual(lengths([64, 160, 240]), [0, 96, 80]);
  assert.deepEqual(lengths([80, 160]), [0, 0, 0]);
  assert.deepEqual(lengths([80, 160, 240, 240]), [0, 0, 0]);
});

test('whatever the columns hold, it is taken apart, and into no more entries than a row of ours has', () => {
  const anyType = fc.constantFrom(...Object.values(types), 705);
  const anyValue = fc.tuple(anyType, fc.option(fc.uint8Array({ maxLength: 120 }).map((bytes) => Buffer.from(bytes))));
  const changes = fc.array(fc.tuple(fc.nat({ max: 10 }), anyValue), { maxLength: 4 });
  const bytes = fc.array(fc.tuple(fc.nat({ max: 10 }), fc.nat(), fc.nat({ max: 255 })), { maxLength: 6 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 32 }), changes, bytes, (width, changed, flipped) => {
      const values = rowsOf({ index: 7, width });
      const typed = (at: number) => values[at]?.[0] ?? 0;
      for (const [at, [type, value]] of changed) values[at] = [type % 2 === 0 ? typed(at) : type, value];
      for (const [at, place, byte] of flipped) {
        const [, value] = values[at] ?? [];
        if (value && value.length > 0) value[place % value.length] = byte;
      }
      if (hasPlaces(values)) assert.ok(unpack([values, values]).length <= 64);
    }),
    { numRuns: 3_000 },
  );
});

/** An integer column always has the length of its type: PostgreSQL itself sees to that, whoever owns the database. */
function hasPlaces(values: readonly Value[]): boolean {
  const lengths = new Map([
    [types.int8, 8],
    [types.int2, 2],
  ]);
  return values.every(([type, bytes]) => bytes === null || (lengths.get(type) ?? bytes.length) === bytes.length);
}
