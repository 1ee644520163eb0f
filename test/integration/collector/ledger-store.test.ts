import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { systemClock } from '../../../collector/clock.ts';
import { Ledger } from '../../../collector/ledger/ledger.ts';
import type { LedgerStore } from '../../../collector/ledger/store.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import type { Db } from '../../../collector/postgres/pool.ts';
import type { Statement } from '../../../common/kinds.ts';
import { emptyRange } from '../../../common/merkle.ts';
import { testAuthor } from '../../authors.ts';
import { ledgerStoreContract } from '../../contract/ledger-store.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';

let postgres: TestPostgres;

before(async () => {
  postgres = await startPostgres();
});
after(async () => {
  await postgres.stop();
});

ledgerStoreContract('PostgreSQL', async () => {
  const url = await postgres.migratedDatabase();
  return { store: postgresLedgerStore(postgres.pool(url)), other: postgresLedgerStore(postgres.pool(url)) };
});

const origin = 'sigilwatch.test/ledger';
const { keys } = testAuthor('collector');

async function startedLedger(store: LedgerStore): Promise<Ledger> {
  const ledger = new Ledger({ store, origin, keys, clock: systemClock });
  await ledger.start();
  return ledger;
}

describe('the ledger in PostgreSQL', () => {
  test('what is written cannot be changed, deleted or rewound through SQL', async () => {
    const pool = postgres.pool(await postgres.migratedDatabase());
    const ledger = await startedLedger(postgresLedgerStore(pool));
    await ledger.append(testAuthor('node1').more(300));
    for (const sql of [
      'update entry_runs set seq = seq + 1000',
      'delete from entry_runs where index = 5',
      'truncate entry_runs',
      `update run_bodies set leaves = '\\x00' where index = 1`,
      'delete from run_bodies',
      'truncate run_bodies',
      'truncate run_bodies_000000',
      'update entries set seq = seq + 1000',
      'delete from entries where index = 5',
      'delete from entry_bodies where index = 5',
      `update tiles set hashes = hashes`,
      'delete from tiles',
      'truncate tiles',
      'update ledger_head set size = size - 1',
      'update ledger_head set root = root',
      `update ledger_head set origin = 'another', size = size + 1`,
      'delete from ledger_head',
      'truncate ledger_head',
      'insert into ledger_head select * from ledger_head',
    ]) {
      await assert.rejects(pool.query(sql), { severity: 'ERROR' }, sql);
    }
    assert.equal((await ledger.checkpoint()).size, 301);
  });

  test('two collectors that start on an empty database at once share one ledger', async () => {
    const url = await postgres.migratedDatabase();
    const ledgers = await Promise.all(
      Array.from({ length: 4 }, () => startedLedger(postgresLedgerStore(postgres.pool(url)))),
    );
    const authors = ledgers.map((_, i) => testAuthor(`node${i + 1}`));
    const placed = await Promise.all(ledgers.map((ledger, i) => appendAll(ledger, authors[i]?.more(60) ?? [])));
    const indexes = placed.flat().sort((a, b) => a - b);
    assert.deepEqual(
      indexes,
      Array.from({ length: 240 }, (_, i) => i + 1),
    );
    const checkpoints = await Promise.all(ledgers.map((ledger) => ledger.checkpoint()));
    assert.equal(new Set(checkpoints.map(({ note }) => note)).size, 1);
  });

  test('bodies go on in the next partition when one is full', async () => {
    const pool = postgres.pool(await postgres.migratedDatabase());
    await pool.query('select ensure_body_partition(65535), ensure_body_partition(65536), ensure_body_partition(5)');
    const partitions = `select name, from_index::int as from, to_index::int as to from body_partitions order by from_index`;
    assert.deepEqual((await pool.query(partitions)).rows, [
      { name: 'run_bodies_000000', from: 0, to: 65_536 },
      { name: 'run_bodies_000001', from: 65_536, to: 131_072 },
    ]);
    await pool.query('select ensure_body_partition(40000000)');
    const { rows } = await pool.query<{ from: number; to: number }>(partitions);
    for (const [at, { from }] of rows.slice(1).entries()) assert.equal(from, rows[at]?.to);
    assert.ok(rows.length < 90, 'few, however large the ledger is');
    assert.ok(rows.every(({ from, to }) => to - from <= Math.max(65_536, from / 8)));
  });
});

describe('a lost connection to PostgreSQL', () => {
  const unreachable = { name: 'AppError', code: 'database.unreachable', retryable: true };

  test('fails every read and write with an error that says to try again', async () => {
    const pool = postgres.pool('postgres://nobody@127.0.0.1:1/nothing');
    const store = postgresLedgerStore(pool);
    const head = { origin, range: emptyRange };
    for (const call of [
      () => store.head(),
      () => store.create(head),
      () => store.authorHead('node1'),
      () => store.refs('node1', 1, 2),
      () => store.leafHashes(0, 1),
      () => store.leaves(0, 1),
      () => store.tiles([{ level: 0, index: 0 }]),
    ]) {
      await assert.rejects(call(), unreachable);
    }
    const ledger = new Ledger({ store, origin, keys, clock: systemClock });
    await assert.rejects(ledger.append(testAuthor('node1').more(1)), unreachable);
    await assert.rejects(ledger.checkpoint(), unreachable);
  });

  test('that the server cuts again and again loses no entry and places none twice', async () => {
    const url = await postgres.migratedDatabase();
    const executioner = postgres.pool(url);
    const ledger = await startedLedger(postgresLedgerStore(postgres.pool(url)));
    const entries = testAuthor('node1').more(200);
    let failures = 0;
    for (const [at, entry] of entries.entries()) {
      const offers = offerUntilTaken(ledger, entry, () => {
        failures += 1;
      });
      if (at % 4 === 0) await cutOthers(executioner, at % 8 === 0 ? 'active' : 'idle');
      assert.equal((await offers).index, at + 1);
    }
    const { rows } = await executioner.query('select count(*) as entries, count(distinct seq) as numbers from entries');
    assert.deepEqual(rows, [{ entries: 201, numbers: 200 }]);
    assert.ok(failures < entries.length, `${failures} failures`);
  });

  test('that breaks in whatever way after the commit leaves every statement of the collector there once', async () => {
    const pool = postgres.pool(await postgres.migratedDatabase());
    const wire = losingAnswers(pool);
    const ledger = await startedLedger(postgresLedgerStore(pool));
    const other = await startedLedger(postgresLedgerStore(pool));
    for (const code of ['EHOSTUNREACH', 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', undefined]) {
      for (const way of ['at once', 'after somebody else appended']) {
        const subjects = ['one', 'two'].map((which) => `${code} ${way} ${which}`);
        if (way !== 'at once') await other.record(authEvent('something else'));
        wire.loseNext(code);
        const told = await Promise.allSettled(subjects.map((subject) => ledger.record(authEvent(subject))));
        assert.equal(wire.waits, false, `the answer was lost: ${code} ${way}`);
        for (const outcome of told) {
          assert.ok(outcome.status === 'rejected');
          assert.deepEqual([outcome.reason.code, outcome.reason.retryable], [unreachable.code, true]);
        }
        const { rows } = await pool.query<{ subject: string }>(
          `select convert_from(bytes, 'UTF8')::jsonb #>> '{body,subject}' as subject from entry_bodies order by index desc limit 3`,
        );
        assert.deepEqual(
          rows.slice(0, 2).reverse(),
          subjects.map((subject) => ({ subject })),
        );
        assert.ok(!subjects.includes(rows[2]?.subject ?? ''));
      }
    }
  });
});

function authEvent(subject: string): Statement {
  return { kind: 'auth.event', body: { event: 'test', actor: 'test', subject, detail: '' } };
}

/** Lets connections made from now on break when the server says that something was committed. */
function losingAnswers(pool: Db) {
  const lost = { waits: false, error: new Error() };
  class LosingSocket extends Socket {
    override emit(event: string | symbol, ...args: unknown[]): boolean {
      const [chunk] = args;
      if (event !== 'data' || !lost.waits || !Buffer.isBuffer(chunk) || !isCommitted(chunk))
        return super.emit(event, ...args);
      lost.waits = false;
      this.destroy(lost.error);
      return true;
    }
  }
  pool.options.stream = () => new LosingSocket();
  return {
    get waits() {
      return lost.waits;
    },
    loseNext: (code: string | undefined) => {
      lost.error = Object.assign(new Error(`read ${code}`), code === undefined ? {} : { code });
      lost.waits = true;
    },
  };
}

/** ReadyForQuery outside of a transaction, after what only commits bring. */
function isCommitted(chunk: Buffer): boolean {
  return chunk.subarray(-6).toString('latin1') === 'Z\0\0\0\x05I' && /COPY |COMMIT/.test(chunk.toString('latin1'));
}

async function appendAll(
  ledger: Ledger,
  entries: ReturnType<ReturnType<typeof testAuthor>['more']>,
): Promise<number[]> {
  const places = [];
  for (const entry of entries) places.push(...(await ledger.append([entry])));
  return places.map(({ index }) => index);
}

async function cutOthers(pool: Db, state: string): Promise<void> {
  await pool.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and state like $1 || '%'`,
    [state],
  );
}

async function offerUntilTaken(ledger: Ledger, entry: Parameters<Ledger['append']>[0][number], onFailure: () => void) {
  for (let attempt = 0; attempt < 20; attempt++) {
    try {
      const [place] = await ledger.append([entry]);
      assert.ok(place);
      return place;
    } catch (thrown) {
      assert.ok(thrown instanceof Error && 'retryable' in thrown && thrown.retryable === true, String(thrown));
      onFailure();
    }
  }
  throw new Error('the ledger never took the entry');
}
