import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import { type EntryFilter, type EntryRow, listEntries } from '../../../collector/postgres/entry-list-store.ts';
import { postgresEventStore } from '../../../collector/postgres/event-store.ts';
import { connectClient, type Db } from '../../../collector/postgres/pool.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';

/*
 * Entries stand in runs, of which a list takes apart as few as it can. What it shows is what all entries, one by one, filtered and in
 * order, would be.
 */

let postgres: TestPostgres;
let db: Db;
let fill: (ledger: readonly Run[]) => Promise<void>;
let close: () => Promise<void>;

before(async () => {
  postgres = await startPostgres();
  const url = await postgres.migratedDatabase();
  db = postgres.pool(url);
  const client = await connectClient({ url, applicationName: 'test' });
  close = () => client.end();
  await client.query(`
    select ensure_body_partition(0);
    set session_replication_role = replica;
    insert into batches (size, root, received_ms, signature)
    select i * 7, decode(repeat('00', 32), 'hex'), i * 1000, decode(repeat('00', 64), 'hex') from generate_series(1, 20) i`);
  fill = async (ledger) => {
    await client.query('truncate entry_runs, run_bodies');
    await client.query(filling, [JSON.stringify(rowsOf(ledger))]);
  };
});
after(async () => {
  await close();
  await postgres.stop();
});

interface Run {
  readonly author: string;
  readonly kind: string;
  /** When each entry is of, in ten minutes from some day on. */
  readonly times: readonly number[];
  readonly hasBodies: boolean;
}

const authors = ['collector', 'node1', 'node2'];
const kinds = ['report', 'observed', 'order.issued', 'drift.opened'];
const alone: ReadonlySet<string> = new Set(['order.issued', 'drift.opened']);
/** Few, so that entries are of the same time often. */
const ticks = 30;

const runs: fc.Arbitrary<Run> = fc
  .record({
    author: fc.constantFrom(...authors),
    kind: fc.constantFrom('report', 'report', ...kinds),
    first: fc.nat(ticks),
    more: fc.oneof(
      fc.constant<number[]>([]),
      ...[3, 3, 31].map((most) => fc.array(fc.nat(6), { maxLength: most, size: 'max' })),
    ),
    hasBodies: fc.boolean(),
  })
  .map(({ author, kind, first, more, hasBodies }) => {
    const after = alone.has(kind) ? [] : more.map((ticksLater) => first + ticksLater).sort((a, b) => a - b);
    return { author, kind, times: [first, ...after], hasBodies };
  });

const timeOf = (tick: number): string => new Date(Date.UTC(2026, 0, 1) + tick * 600_000).toISOString();
const hashOf = (text: string): string => createHash('sha256').update(text).digest('hex');

function rowsOf(ledger: readonly Run[]): unknown[] {
  let index = 0;
  const seqs = new Map<string, number>();
  return ledger.map(({ author, kind, times, hasBodies }) => {
    const [first, seq, width] = [index, (seqs.get(author) ?? 0) + 1, times.length];
    index += width;
    seqs.set(author, seq + width - 1);
    const bodies = times.map((_, i) => Buffer.from(`body of ${'x'.repeat(i)}${first + i}`));
    const leaves = bodies.map((body, i) => Buffer.concat([Buffer.of(0), body, Buffer.alloc(64, first + i)]));
    return {
      ...{ index: first, width, author, seq, kind, times: times.map(timeOf) },
      entry_hashes: times.map((_, i) => hashOf(`entry ${first + i}`)).join(''),
      leaf_hashes: times.map((_, i) => hashOf(`leaf ${first + i}`)).join(''),
      ends: hasBodies ? leaves.map((_, i) => Buffer.concat(leaves.slice(0, i + 1)).length) : null,
      leaves: Buffer.concat(leaves).toString('hex'),
    };
  });
}

const filling = `
  with given as (
    select * from jsonb_to_recordset($1::jsonb) as r (index bigint, width smallint, author text, seq bigint, kind text,
      times timestamptz[], entry_hashes text, leaf_hashes text, ends int[], leaves text)),
  bodies as (
    insert into run_bodies (index, ends, leaves)
    select index, ends, decode(leaves, 'hex') from given where ends is not null)
  insert into entry_runs (index, width, author, seq, kind, times, entry_hashes, leaf_hashes)
  select index, width, author, seq, kind, times, decode(entry_hashes, 'hex'), decode(leaf_hashes, 'hex') from given`;

/** Every entry, one by one, in the order of their indexes. */
async function allEntries(): Promise<readonly EntryRow[]> {
  const { rows } = await db.query<EntryRow>(
    `select index, author, seq, kind, at,
            (select to_timestamp(received_ms / 1000) from batches where size > index order by size limit 1) as received_at,
            entry_hash, leaf_hash, bytes, signature
       from entries left join entry_bodies using (index) order by index`,
  );
  return rows;
}

/** What the list is made of, in its order. */
function wanted(entries: readonly EntryRow[], { author, kind, from, to }: EntryFilter): EntryRow[] {
  const found = entries.filter(
    (entry) =>
      (author === undefined || entry.author === author) &&
      (kind === undefined || entry.kind === kind) &&
      (from === undefined || entry.at.getTime() >= Date.parse(from)) &&
      (to === undefined || entry.at.getTime() < Date.parse(to)),
  );
  const byTime = (a: EntryRow, b: EntryRow) => b.at.getTime() - a.at.getTime();
  const isOfTime = from !== undefined || to !== undefined;
  return found.sort((a, b) => (isOfTime ? byTime(a, b) : 0) || b.index - a.index);
}

const ledgers = fc.array(runs, { minLength: 1, maxLength: 25, size: 'max' });
const filters = fc.record({
  author: fc.option(fc.constantFrom(...authors), { nil: undefined }),
  kind: fc.option(fc.constantFrom(...kinds), { nil: undefined }),
  from: fc.option(fc.nat(ticks).map(timeOf), { nil: undefined }),
  to: fc.option(fc.nat(ticks + 6).map(timeOf), { nil: undefined }),
});
const questions = fc.array(fc.record({ filter: filters, limit: fc.constantFrom(1, 2, 3, 7, 40), start: fc.nat(400) }), {
  minLength: 12,
  maxLength: 12,
});

test('a list, page by page and from any entry on, is what all entries filtered and in order would be', async () => {
  await fc.assert(
    fc.asyncProperty(ledgers, questions, async (ledger, asked) => {
      await fill(ledger);
      const entries = await allEntries();
      for (const { filter, limit, start } of asked) {
        const whole = wanted(entries, filter);
        const seen: EntryRow[] = [];
        for (let more = 20; more > 0; more--) {
          const page = await listEntries(db, filter, { after: seen.at(-1)?.index, limit });
          seen.push(...page);
          if (page.length < limit) break;
        }
        assert.deepEqual(seen, whole.slice(0, 20 * limit));
        const at = start % (whole.length + 1);
        const after = whole[at]?.index;
        const expected = after === undefined ? whole : whole.slice(at + 1);
        assert.deepEqual(await listEntries(db, filter, { after, limit }), expected.slice(0, limit));
      }
    }),
    { numRuns: 80 },
  );
});

test('a list from an entry on that there is none of is empty where its order is not that of the indexes', async () => {
  await fill([{ author: 'node1', kind: 'report', times: [0, 1, 2], hasBodies: true }]);
  const none = { author: undefined, kind: undefined, from: undefined, to: undefined };
  const page = { after: 99, limit: 5 };
  assert.deepEqual(await listEntries(db, { ...none, from: timeOf(0) }, page), []);
  assert.deepEqual(await listEntries(db, { ...none, author: 'node1' }, page), []);
  assert.deepEqual(await listEntries(db, { ...none, author: 'node2' }, { after: 1, limit: 5 }), []);
});

test('a stretch of the ledger, whatever of it is asked for, is what all entries filtered would be', async () => {
  const stretches = fc.record({
    ...{ from: fc.nat(300), length: fc.option(fc.nat(200), { nil: undefined }) },
    kinds: fc.option(fc.subarray(kinds), { nil: undefined }),
    authors: fc.option(fc.subarray(authors), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(ledgers, fc.array(stretches, { minLength: 5 }), async (ledger, asked) => {
      await fill(ledger);
      const entries = await allEntries();
      for (const { from, length, kinds: ofKinds, authors: ofAuthors } of asked) {
        const to = length === undefined ? undefined : from + length;
        const page = await postgresEventStore(db).page({ from, to, kinds: ofKinds, authors: ofAuthors });
        const expected = entries.filter(
          ({ index, kind, author }) =>
            index >= from &&
            (to === undefined || index < to) &&
            (ofKinds?.includes(kind) ?? true) &&
            (ofAuthors?.includes(author) ?? true),
        );
        assert.deepEqual(page.events, expected);
        assert.equal(page.next, to ?? (expected.at(-1)?.index ?? from - 1) + 1);
      }
    }),
    { numRuns: 30 },
  );
});
