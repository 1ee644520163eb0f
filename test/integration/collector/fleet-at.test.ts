import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { type Fleet, tellFleet } from '../../../collector/fleet/fleet.ts';
import type { FleetMoment } from '../../../collector/fleet/moment.ts';
import type { FleetNode, FleetPage } from '../../../collector/fleet/view.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import { rebuildTo } from '../../../collector/ledger/replay.ts';
import { fleetView, postgresFleetSources } from '../../../collector/postgres/history-store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { connectClient, type Db, withTransaction } from '../../../collector/postgres/pool.ts';
import { replaySpace } from '../../../collector/postgres/replay-store.ts';
import type { Clock } from '../../../common/clock.ts';
import { AppError, type ErrorCode } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { appendLeaves, emptyRange, rootOf, splitHashes } from '../../../common/merkle.ts';
import { firstEntryMs, testAuthor } from '../../authors.ts';
import { randomOf, seedOf } from '../../e2e/random.ts';
import { collectorKeys, startLedger, testOrigin } from '../../ledgers.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { eraseTo, erasureNeeds, layPartitions } from './erasable.ts';
import { anyHistory, asEnrolled, narrator } from './histories.ts';

const long = process.env.SIGILWATCH_TEST_LONG === '1';
const seed = seedOf('the fleet at a moment');

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

const collectorKey = collectorKeys.publicKey;
const everything: FleetPage = { after: undefined, limit: 100, node: undefined };
/** Long after everything. */
const clock: Clock = { now: () => firstEntryMs + 1e9, monotonicMs: () => 0 };

function fleetOf(db: Db, moment: FleetMoment, page = everything): Promise<Fleet> {
  return tellFleet({ ...postgresFleetSources(db), collectorKey, clock }, moment, page);
}

/** All projections rebuilt as of that size, and the fleet of the present read from them. */
async function rebuilt(url: string, size: number): Promise<readonly FleetNode[]> {
  const tx = await connectClient({ url, applicationName: 'test' });
  try {
    await tx.query('begin');
    await rebuildTo(await replaySpace(tx), size, { collectorKey });
    return await fleetView(tx).present(everything);
  } finally {
    await tx.end();
  }
}

/** Without the order of members, which is the database's for the present and the author's for the past. */
function plain(nodes: readonly FleetNode[]): unknown {
  return JSON.parse(JSON.stringify(nodes));
}

function fails(code: ErrorCode) {
  return (error: unknown) => error instanceof AppError && error.code === code;
}

/** As a superuser would: no trigger stands in the way. */
function asAdmin(db: Db, sql: string): Promise<unknown> {
  return withTransaction(db, async (tx) => {
    await tx.query('set local session_replication_role = replica');
    await tx.query(sql);
  });
}

describe('the fleet at any size', () => {
  test('is what replaying the ledger up to there gives, whatever was said before and since', async () => {
    const url = await postgres.migratedDatabase();
    const db = postgres.pool(url);
    const ledger = await startLedger(postgresLedgerStore(db));
    const narrated = narrator(ledger);
    await fc.assert(
      fc.asyncProperty(
        anyHistory({ minLength: 20, maxLength: long ? 120 : 60 }),
        fc.array(fc.noBias(fc.nat(1e6)), { minLength: 3, maxLength: 3 }),
        async (history, choices) => {
          const before = (await ledger.checkpoint()).size;
          await narrated.tell(history);
          const { size: head } = await ledger.checkpoint();
          const sizes = choices.map((choice, at) =>
            at === 0 ? 1 + (choice % head) : head - (choice % (head - before)),
          );
          for (const size of sizes) {
            const { as_of, nodes } = await fleetOf(db, { size });
            assert.deepEqual(plain(nodes), plain(await rebuilt(url, size)), `size ${size} of ${head}`);
            assert.deepEqual([as_of.size, as_of.source], [size, 'entries']);
          }
          const present = await fleetOf(db, 'present');
          assert.deepEqual([present.as_of.size, present.as_of.source], [head, 'projections']);
          assert.deepEqual(plain(present.nodes), plain((await fleetOf(db, { size: head })).nodes));
        },
      ),
      { numRuns: long ? 60 : 6, seed, endOnFailure: true },
    );
  });

  test('names the root that a checkpoint of that size has', async () => {
    const db = postgres.pool(await postgres.migratedDatabase());
    const ledger = await startLedger(postgresLedgerStore(db));
    await narrator(ledger).tell(
      fc.sample(anyHistory({ minLength: 600, maxLength: 600 }), { numRuns: 1, seed })[0] ?? [],
    );
    const { size: head } = await ledger.checkpoint();
    const hashes = splitHashes(await postgresLedgerStore(db).leafHashes(0, head));
    for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 513, head]) {
      const { as_of } = await fleetOf(db, { size });
      assert.equal(as_of.root, rootOf(appendLeaves(emptyRange, hashes.slice(0, size))).toString('base64'), `${size}`);
    }
  });
});

describe('after erasures', () => {
  for (let run = 0; run < (long ? 40 : 2); run++) {
    test(`the fleet is told as before from there on, and what was erased is said to be gone: ${run}`, async () => {
      const random = randomOf(seed, `run ${run}`);
      const { url, ownerUrl } = await postgres.writerDatabase();
      await layPartitions(
        ownerUrl,
        Array.from({ length: 30 }, (_, i) => (i + 1) * 41),
      );
      const db = postgres.pool(url);
      const ledger = await startLedger(postgresLedgerStore(db));
      const narrated = narrator(ledger);
      const needs = erasureNeeds({ db, ledger, ownerUrl });
      const histories = fc.sample(anyHistory({ minLength: 300, maxLength: 300 }), { numRuns: 2, seed: seed + run });
      for (const history of histories) {
        await narrated.tell(asEnrolled(history));
        const { size: head } = await ledger.checkpoint();
        const sizes = Array.from({ length: 5 }, () => random.int(1, head));
        const { boundary: erasedBefore } = await readBoundary(db);
        const told = new Map<number, unknown>();
        for (const size of [...sizes, head]) {
          if (size >= erasedBefore) told.set(size, plain((await fleetOf(db, { size })).nodes));
        }
        const { boundary } = await eraseTo(needs, random.int(erasedBefore, head));
        told.set(boundary, plain(await rebuilt(ownerUrl, boundary)));
        for (const [size, expected] of told) {
          if (size < boundary) await assert.rejects(fleetOf(db, { size }), fails('resource.gone'));
          else if (size > 0) assert.deepEqual(plain((await fleetOf(db, { size })).nodes), expected, `size ${size}`);
        }
      }
    });
  }

  test('what was kept of the erased is believed only as far as a signed entry vouches for it', async () => {
    const { url, ownerUrl } = await postgres.writerDatabase();
    await layPartitions(ownerUrl, [256]);
    const [db, owner] = [postgres.pool(url), postgres.pool(ownerUrl)];
    const ledger = await startLedger(postgresLedgerStore(db));
    const [history = []] = fc.sample(anyHistory({ minLength: 300, maxLength: 300 }), { numRuns: 1, seed });
    await narrator(ledger).tell(asEnrolled(history));
    await eraseTo(erasureNeeds({ db, ledger, ownerUrl }), 256);
    const { size } = await ledger.checkpoint();
    await fleetOf(db, { size });
    await asAdmin(owner, `update projection_bases set content = replace(content, 'node1', 'node2')`);
    await assert.rejects(fleetOf(db, { size }), fails('ledger.tampered'));
  });
});

async function readBoundary(db: Db): Promise<{ boundary: number }> {
  const { rows } = await db.query<{ boundary: number }>(
    'select coalesce(max(boundary), 0) as boundary from projection_bases',
  );
  return rows[0] ?? { boundary: 0 };
}

describe('a time', () => {
  let db: Db;
  /** Of each batch, in order. */
  const batches: { size: number; at: number }[] = [];

  before(async () => {
    db = postgres.pool(await postgres.migratedDatabase());
    let now = firstEntryMs;
    const ledger = new Ledger({
      store: postgresLedgerStore(db),
      origin: testOrigin,
      keys: collectorKeys,
      clock: { now: () => now, monotonicMs: () => 0 },
    });
    await ledger.start();
    const random = randomOf(seed, 'times');
    const author = testAuthor('node1');
    batches.push({ size: 1, at: now });
    for (let i = 0; i < 30; i++) {
      // Set back now and then.
      now += random.chance(0.2) ? -random.int(1, 5_000) : random.int(0, 3_000);
      await ledger.append(author.more(random.int(1, 3)));
      batches.push({ size: (await ledger.checkpoint()).size, at: now });
    }
  });

  test('means the furthest that the ledger had come by then, also when clocks were set back', async () => {
    const first = Math.min(...batches.map(({ at }) => at));
    for (const { at } of batches) {
      for (const ms of [at - 1, at, at + 1]) {
        const reached = batches.filter((batch) => batch.at <= ms).at(-1);
        if (reached === undefined) continue;
        const { as_of } = await fleetOf(db, { at: ms });
        assert.equal(as_of.size, reached.size);
        assert.equal(as_of.received_at, new Date(reached.at).toISOString());
      }
    }
    await assert.rejects(fleetOf(db, { at: first - 1 }), fails('resource.not_found'));
  });

  test('before the ledger, beyond its end or in the future is refused', async () => {
    const { size } = batches.at(-1) ?? assert.fail();
    await assert.rejects(fleetOf(db, { size: 0 }), fails('resource.not_found'));
    await assert.rejects(fleetOf(db, { size: size + 1 }), fails('resource.not_found'));
    await assert.rejects(fleetOf(db, { at: clock.now() + limits.clockSuspectMs + 1 }), fails('validation.request'));
    const ahead = await fleetOf(db, { at: clock.now() + limits.clockSuspectMs });
    assert.equal(ahead.as_of.size, size);
  });

  test('is not believed when somebody changed or took away when entries were received', async () => {
    // Received when the clock was further than ever before: no earlier batch answers for that moment in its stead.
    const furthest = batches.map(({ at }, nth) => nth > 1 && batches.slice(0, nth).every((earlier) => earlier.at < at));
    const nth = furthest.lastIndexOf(true, batches.length - 3);
    const [before, chosen] = [batches[nth - 1], batches[nth]];
    assert.ok(before && chosen, `no such batch, seed ${seed}`);
    const { size: head } = batches.at(-1) ?? assert.fail();
    const { received_at } = (await fleetOf(db, { size: chosen.size })).as_of;
    const tampers: readonly (readonly [sql: string, asked: FleetMoment])[] = [
      [
        `update batches set received_ms = received_ms - 1000000 where size = ${chosen.size}`,
        { at: firstEntryMs - 900_000 },
      ],
      [`update batches set received_ms = received_ms + 1 where size = ${chosen.size}`, { size: chosen.size }],
      [
        `update batches set received_ms = received_ms + 1000000 where size > ${before.size}`,
        { at: Date.parse(received_at) },
      ],
      [`delete from batches where size = ${before.size}`, { size: chosen.size }],
      [`delete from batches where size = ${chosen.size}`, { size: before.size }],
      [`delete from batches where size > ${chosen.size}`, { at: clock.now() }],
      [`delete from batches where size = ${head}`, 'present'],
    ];
    await asAdmin(db, 'create table kept_batches as select * from batches');
    for (const [sql, asked] of tampers) {
      await asAdmin(db, sql);
      await assert.rejects(fleetOf(db, asked), fails('ledger.tampered'), sql);
      await asAdmin(db, 'delete from batches; insert into batches select * from kept_batches');
      await fleetOf(db, asked).catch(orNothingThen);
    }
  });
});

/** The first of those moments is before the ledger once that is put right. */
function orNothingThen(error: unknown): void {
  assert.ok(fails('resource.not_found')(error), String(error));
}

describe('whoever edits the database', () => {
  let db: Db;
  let head: number;
  let truth: unknown;

  before(async () => {
    db = postgres.pool(await postgres.migratedDatabase());
    await changeOneByOne(db);
    const ledger = await startLedger(postgresLedgerStore(db));
    const [history = []] = fc.sample(anyHistory({ minLength: 200, maxLength: 200 }), { numRuns: 1, seed: 11 });
    await narrator(ledger).tell(history);
    head = (await ledger.checkpoint()).size;
    truth = plain((await fleetOf(db, 'present')).nodes);
  });

  test('can make the present lie, but no moment that is asked for', async () => {
    await asAdmin(
      db,
      `update containers set image = 'harmless'; delete from drifts; delete from findings;
       update nodes set revoked_at = null, fingerprint = '', last_entry_at = now(), coverage = 'observed';
       delete from nodes where node = 'node2'; delete from author_heads; delete from coverage`,
    );
    assert.notDeepEqual(plain((await fleetOf(db, 'present')).nodes), truth);
    assert.deepEqual(plain((await fleetOf(db, { size: head })).nodes), truth);
    assert.deepEqual(plain((await fleetOf(db, { at: clock.now() })).nodes), truth);
  });

  test('is told which entry is not the one that was logged', async () => {
    const { rows } = await db.query<{ index: number }>(
      `select index from entries where kind in ('observed', 'drift.opened', 'node.enrolled') order by md5(index::text || $1) limit 6`,
      [String(seed)],
    );
    for (const { index } of rows) {
      await asAdmin(db, `create table kept_body as select * from entry_bodies where index = ${index}`);
      for (const sql of [
        `update entry_bodies set bytes = set_byte(bytes, 40, get_byte(bytes, 40) # 1) where index = ${index}`,
        `delete from entry_bodies where index = ${index}`,
      ]) {
        await asAdmin(db, sql);
        await assert.rejects(fleetOf(db, { size: head }), (error) => {
          assert.ok(error instanceof AppError);
          assert.deepEqual([error.code, error.details.index], ['ledger.tampered', index]);
          return true;
        });
      }
      await asAdmin(db, `insert into entry_bodies select * from kept_body; drop table kept_body`);
    }
    assert.deepEqual(plain((await fleetOf(db, { size: head })).nodes), truth);
  });

  test('cannot put the words of one node into the mouth of another', async () => {
    const swap = `update entries e set author = o.author, seq = o.seq from entries o
                   where (e.author, o.author) in (('node1', 'node3'), ('node3', 'node1')) and e.seq = 5 and o.seq = 5`;
    // Both at once, past the constraint that a number is taken once.
    const free = 'alter table entry_runs drop constraint entry_runs_author_seq_key';
    const put = 'alter table entry_runs add constraint entry_runs_author_seq_key unique (author, seq)';
    await asAdmin(
      db,
      `${free}; ${swap}; ${put}; update entries set kind = 'observed' where seq = 5 and author like 'node_'`,
    );
    await assert.rejects(fleetOf(db, { size: head }), fails('ledger.tampered'));
    await asAdmin(db, `${free}; ${swap}; ${put}`);
    await fleetOf(db, { size: head });
  });

  test('does not hide the end of a chain by taking away an entry within it', async () => {
    await asAdmin(
      db,
      `delete from entries where (author, seq) in (select author, (max(seq) + 1) / 2 from entries where author = 'node1' group by author)`,
    );
    await assert.rejects(fleetOf(db, { size: head }), fails('ledger.tampered'));
  });
});
