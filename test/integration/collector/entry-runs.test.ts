import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import type { StagedEntry } from '../../../collector/ledger/store.ts';
import { copyInRuns } from '../../../collector/postgres/entry-runs.ts';
import { runTogether } from '../../../collector/postgres/pipeline.ts';
import { connectClient, type Tx } from '../../../collector/postgres/pool.ts';
import { entryHash, genesis, sealEntry } from '../../../common/entry.ts';
import type { Statement } from '../../../common/kinds.ts';
import { limits } from '../../../common/limits.ts';
import { leafHash } from '../../../common/merkle.ts';
import { firstEntryMs, quietMinute, testAuthor } from '../../authors.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';

let postgres: TestPostgres;
let empty: Awaited<ReturnType<typeof connectClient>>;

before(async () => {
  postgres = await startPostgres();
  empty = await connectClient({ url: await postgres.migratedDatabase(), applicationName: 'test' });
});
after(async () => {
  await empty.end();
  await postgres.stop();
});

/** What of an entry decides about its row. */
interface Shape {
  readonly author?: string;
  readonly kind?: 'report' | 'sigil.scan' | 'sigil.cleared';
  readonly afterMs?: number;
  readonly leafBytes?: number;
}

const statementOf: Readonly<Record<NonNullable<Shape['kind']>, Statement>> = {
  report: quietMinute(0),
  'sigil.cleared': { kind: 'sigil.cleared', body: { store: 'demo', id: 'x' } },
  'sigil.scan': {
    kind: 'sigil.scan',
    body: {
      store: 'demo',
      mode: 'full',
      startedAt: '2026-01-01T00:00:00.000Z',
      durationMs: 0,
      tables: 0,
      blocks: 0,
      bytes: 0,
      records: 0,
      sigils: 0,
      findings: 0,
    },
  },
};

/** Entries of these shapes from an index on, numbered by author. Their leaves are as long as is said, whatever they stand for. */
function staged(shapes: readonly Shape[], from = 0): StagedEntry[] {
  const seqs = new Map<string, number>();
  return shapes.map(({ author = 'node1', kind = 'report', afterMs = 0, leafBytes = 100 }, at) => {
    const seq = (seqs.get(author) ?? 0) + 1;
    seqs.set(author, seq);
    const { privateKey } = testAuthor(author).keys;
    const head = { ...genesis, seq: seq - 1 };
    const signed = sealEntry(statementOf[kind], { author, head, now: firstEntryMs + afterMs, privateKey });
    const [hash, hashOfLeaf] = [entryHash(signed.bytes), leafHash(signed.bytes, signed.signature)];
    return { ...signed, index: from + at, hash, leafHash: hashOfLeaf, leaf: Buffer.alloc(leafBytes, at) };
  });
}

interface Laid {
  readonly index: number;
  readonly width: number;
  readonly author: string;
  readonly seq: number;
  readonly kind: string;
}

/** Adds the entries to a ledger without any, and takes them away again. @returns the rows that they stand in. */
async function laid(entries: readonly StagedEntry[]): Promise<readonly Laid[]> {
  await empty.query('begin');
  try {
    await empty.query('select ensure_body_partition($1)', [entries.at(-1)?.index ?? 0]);
    // The first one need not have index 0.
    await empty.query('set local session_replication_role = replica');
    await runTogether(empty, copyInRuns(entries));
    await assertSame(empty, entries);
    const { rows } = await empty.query<Laid>('select index, width, author, seq, kind from entry_runs order by index');
    return rows;
  } finally {
    await empty.query('rollback');
  }
}

/** Every entry is read back as it was laid. */
async function assertSame(tx: Tx, entries: readonly StagedEntry[]): Promise<void> {
  const { rows } = await tx.query(
    `select index, author, seq, kind, (extract(epoch from at) * 1000)::bigint as at_ms, encode(entry_hash, 'hex') as hash,
            leaf_hash, '\\x00'::bytea || bytes || signature as leaf
       from entries join entry_bodies using (index) order by index`,
  );
  const expected = entries.map(({ index, entry, hash, leafHash, leaf }) => {
    const { author, seq, kind, at } = entry;
    const first = Buffer.concat([Buffer.of(0), leaf.subarray(1)]);
    return { index, author, seq, kind, at_ms: Date.parse(at), hash, leaf_hash: leafHash, leaf: first };
  });
  assert.deepEqual(rows, expected);
}

const widths = (rows: readonly Laid[]) => rows.map(({ width }) => width);
const times = (count: number, shape: Shape = {}) => Array.from({ length: count }, () => shape);

describe('consecutive entries stand in one row', () => {
  test('of one author and one kind, and no others', async () => {
    const shapes: Shape[] = [
      ...times(3),
      ...times(2, { author: 'node2' }),
      ...times(2),
      ...times(2, { kind: 'sigil.scan' }),
      ...times(1),
    ];
    assert.deepEqual(await laid(staged(shapes)), [
      { index: 0, width: 3, author: 'node1', seq: 1, kind: 'report' },
      { index: 3, width: 2, author: 'node2', seq: 1, kind: 'report' },
      { index: 5, width: 2, author: 'node1', seq: 4, kind: 'report' },
      { index: 7, width: 2, author: 'node1', seq: 6, kind: 'sigil.scan' },
      { index: 9, width: 1, author: 'node1', seq: 8, kind: 'report' },
    ]);
  });

  test('unless they are of a kind that is looked for', async () => {
    assert.deepEqual(widths(await laid(staged(times(3, { kind: 'sigil.cleared' })))), [1, 1, 1]);
  });

  test('until their time goes back, even by a millisecond', async () => {
    const shapes = [5, 5, 6, 5, 7].map((afterMs) => ({ afterMs }));
    assert.deepEqual(widths(await laid(staged(shapes))), [3, 2]);
  });

  test('within an hour from the first to the last', async () => {
    const hour = limits.runMaxMs;
    const shapes = [0, hour / 2, hour, hour + 1, 2 * hour + 1].map((afterMs) => ({ afterMs }));
    assert.deepEqual(widths(await laid(staged(shapes))), [3, 2]);
  });

  test(`up to ${limits.runMaxEntries}`, async () => {
    const most = limits.runMaxEntries;
    assert.deepEqual(widths(await laid(staged(times(2 * most + 1)))), [most, most, 1]);
  });

  test(`of up to ${limits.runMaxBytes} bytes, and one that is larger by itself`, async () => {
    const shapes = [limits.runMaxBytes - 200, 100, 100, 66, 9_000, 100].map((leafBytes) => ({ leafBytes }));
    assert.deepEqual(widths(await laid(staged(shapes))), [3, 1, 1, 1]);
  });

  test('up to where partitions of bodies may end', async () => {
    for (const end of [65_536, 15 * 65_536, 32 * 65_536]) {
      assert.deepEqual(widths(await laid(staged(times(9), end - 5))), [5, 4], String(end));
    }
  });

  test('and are read back as they were, whatever they are', async () => {
    const shape = fc.record({
      author: fc.constantFrom('node1', 'node1', 'node1', 'node2'),
      kind: fc.constantFrom('report', 'report', 'report', 'sigil.scan', 'sigil.cleared'),
      afterMs: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat(2 * limits.runMaxMs)),
      leafBytes: fc.oneof(
        { weight: 9, arbitrary: fc.integer({ min: 66, max: 300 }) },
        fc.nat(20_000).map((n) => n + 66),
      ),
    });
    const anyEntries = fc.array(shape, { minLength: 1, maxLength: 400, size: 'max' });
    await fc.assert(
      fc.asyncProperty(anyEntries, fc.constantFrom(0, 65_536 - 100), async (shapes, from) => {
        const rows = await laid(staged(shapes, from));
        assert.equal(
          rows.reduce((sum, { width }) => sum + width, 0),
          shapes.length,
        );
      }),
      { numRuns: 6 },
    );
  });
});

/** A row of as many entries. */
function insertOf({ index, width, author, seq }: Omit<Laid, 'kind'>): string {
  return `insert into entry_runs values (${index}, ${width}, '${author}', ${seq}, 'report', array_fill(now(), array[${width}]),
    decode(repeat('00', 32 * ${width}), 'hex'), decode(repeat('00', 32 * ${width}), 'hex'))`;
}

const follows = { code: '23000', constraint: 'entry_runs_follow' };

describe('a row that does not follow the last one', () => {
  const [first, second] = [
    { index: 0, width: 3, author: 'node1', seq: 1 },
    { index: 3, width: 2, author: 'node2', seq: 1 },
  ];

  test('is refused to everybody: a gap, an overlap, a number that is skipped or given twice', async () => {
    const pool = postgres.pool(await postgres.migratedDatabase());
    const next = { index: 5, width: 2, author: 'node1', seq: 4 };
    await assert.rejects(pool.query(insertOf(second)), follows, 'the first index is 0');
    await assert.rejects(pool.query(insertOf({ ...first, seq: 2 })), follows, 'the first number is 1');
    await pool.query(insertOf(first));
    await pool.query(insertOf(second));
    for (const wrong of [
      { ...next, index: 6 },
      { ...next, index: 4 },
      { ...next, index: 1 },
      { ...next, seq: 5 },
      { ...next, seq: 3 },
      { ...next, seq: 2 },
      { ...next, author: 'node3' },
      { ...next, author: 'node2' },
    ]) {
      await assert.rejects(pool.query(insertOf(wrong)), follows, JSON.stringify(wrong));
    }
    await pool.query(insertOf(next));
  });

  test('is refused where somebody has put a row behind it, however far', async () => {
    for (const stray of [4, 5, 100]) {
      const pool = postgres.pool(await postgres.migratedDatabase());
      await pool.query(insertOf(first));
      await pool.query(
        `set session_replication_role = replica; ${insertOf({ index: stray, width: 1, author: 'node9', seq: 7 })};
         set session_replication_role = origin`,
      );
      await assert.rejects(pool.query(insertOf({ ...second, width: 9 })), follows, String(stray));
    }
    const pool = postgres.pool(await postgres.migratedDatabase());
    await pool.query(insertOf(first));
    await pool.query(`insert into run_bodies values (7, '{66}', decode(repeat('00', 66), 'hex'))`);
    await assert.rejects(pool.query(insertOf({ ...second, width: 9 })), follows, 'a body');
  });

  test('is refused whatever temporary tables bear the names of those that are looked at', async () => {
    const { url } = await postgres.writerDatabase();
    const writer = await connectClient({ url, applicationName: 'test' });
    await writer.query(insertOf(first));
    await writer.query(`create temp table entry_runs (like public.entry_runs);
      insert into pg_temp.entry_runs select 0, 1, author, 1, kind, times, entry_hashes, leaf_hashes from public.entry_runs`);
    const within = insertOf({ index: 1, width: 1, author: 'node1', seq: 2 }).replace(
      'into entry_runs',
      'into public.entry_runs',
    );
    await assert.rejects(writer.query(within), follows);
    await writer.end();
  });

  test('is refused among others that are added with it', async () => {
    const pool = postgres.pool(await postgres.migratedDatabase());
    const insertAll = (rows: readonly Omit<Laid, 'kind'>[]) =>
      pool.query(
        rows
          .map((row) => insertOf(row).replace('insert into entry_runs values', 'values'))
          .join(' union all ')
          .replace(/^/, 'insert into entry_runs '),
      );
    const third = { index: 5, width: 4, author: 'node1', seq: 4 };
    for (const wrong of [{ index: 6 }, { index: 4 }, { seq: 5 }, { seq: 3 }, { width: 5 }, { width: 3 }]) {
      const rows = [first, second, { ...third, ...wrong }, { index: 9, width: 1, author: 'node1', seq: 8 }];
      await assert.rejects(insertAll(rows), follows, JSON.stringify(wrong));
    }
    await insertAll([{ index: 9, width: 1, author: 'node1', seq: 8 }, third, second, first]);
  });

  test('is refused to all but one of those who add it at once', async () => {
    const url = await postgres.migratedDatabase();
    const clients = await Promise.all([1, 2, 3].map(() => connectClient({ url, applicationName: 'test' })));
    const [one, two, three] = clients;
    assert.ok(one && two && three);
    await one.query('begin');
    await one.query(insertOf(first));
    const sameIndex = two.query(insertOf({ ...first, author: 'node2' })).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    // What is not committed yet is not there to be followed, and not to be overlapped either.
    await assert.rejects(three.query(insertOf(second)), follows);
    await assert.rejects(three.query(insertOf({ index: 1, width: 1, author: 'node1', seq: 2 })), follows);
    await one.query('commit');
    const lost = await sameIndex;
    assert.ok(lost instanceof Error && 'constraint' in lost);
    assert.equal(lost.constraint, 'entry_runs_pkey');
    await three.query(insertOf(second));
    for (const client of clients) await client.end();
  });
});
