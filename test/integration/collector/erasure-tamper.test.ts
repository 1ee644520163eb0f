import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { eraseEntries, unfinishedErasure } from '../../../collector/ledger/erasure/erasure.ts';
import { type LedgerFault, verifyLedger } from '../../../collector/ledger/verify/verify.ts';
import { postgresLedgerStore } from '../../../collector/postgres/ledger-store.ts';
import { type Db, withTransaction } from '../../../collector/postgres/pool.ts';
import { postgresStoredLedger } from '../../../collector/postgres/stored-ledger.ts';
import { collectorKeys, startLedger, testOrigin } from '../../ledgers.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { startPostgres, type TestPostgres, testPool } from '../../postgres.ts';
import { assertInOrder, breakingAt, eraseTo, erasureNeeds, layPartitions, replayed, request } from './erasable.ts';
import { anyHistory, asEnrolled, narrator } from './histories.ts';

/** Where the two partitions end; the first one is erased. */
const [boundary, next] = [90, 180] as const;

let postgres: TestPostgres;
let erasedUrl: string;
/** Index of the entry that says so. */
let said: number;

before(async () => {
  postgres = await startPostgres();
  erasedUrl = await postgres.migratedDatabase();
  await layPartitions(erasedUrl, [boundary, next]);
  await withDb(erasedUrl, async (db) => {
    const ledger = await startLedger(postgresLedgerStore(db));
    const [history = []] = fc.sample(anyHistory({ minLength: 270, maxLength: 270 }), { numRuns: 1, seed: 29 });
    const narrated = narrator(ledger);
    await narrated.tell(asEnrolled(history));
    const { erased } = await eraseTo(erasureNeeds({ db, ledger, ownerUrl: erasedUrl }), boundary);
    said = erased?.index ?? assert.fail('nothing was erased');
    await assertInOrder(db, erasedUrl);
    await changeOneByOne(db);
  });
});
after(() => postgres.stop());

async function withDb<T>(url: string, work: (db: Db) => Promise<T>): Promise<T> {
  const db = testPool(url);
  try {
    return await work(db);
  } finally {
    await db.end();
  }
}

/** As whoever owns the database: no trigger stands in the way. */
async function tampered<T>(statements: readonly string[], work: (db: Db, url: string) => Promise<T>): Promise<T> {
  const url = await postgres.copyOf(erasedUrl);
  return withDb(url, async (db) => {
    await withTransaction(db, async (tx) => {
      await tx.query('set local session_replication_role = replica');
      for (const sql of statements) assert.ok((await tx.query(sql)).rowCount !== 0, sql);
    });
    return work(db, url);
  });
}

async function verifyFault(db: Db): Promise<LedgerFault | undefined> {
  const expected = { origin: testOrigin, collectorKey: collectorKeys.publicKey };
  return (await verifyLedger(postgresStoredLedger(db), expected)).fault;
}

const forged = (from: string, to: string) =>
  `update entry_bodies set bytes = convert_to(replace(convert_from(bytes, 'UTF8'), '${from}', '${to}'), 'UTF8') where index = `;

describe('of a ledger some of which was erased, replay finds', () => {
  const attacks: Readonly<Record<string, readonly string[]>> = {
    'a row of the base that was changed': [
      `update projection_bases set content = replace(content, '"node": "node1"', '"node": "nodeX"')
        where relation = 'nodes' and content like '%"node": "node1"%'`,
    ],
    'a row of the base that was taken away': [
      'delete from projection_bases where n = (select max(n) from projection_bases)',
    ],
    'a row that was added to the base': [
      `insert into projection_bases select boundary, n + 1, relation, content from projection_bases order by n desc limit 1`,
    ],
    'rows of the base that changed places': [
      'update projection_bases set n = n + 1000000',
      'update projection_bases set n = 3000000 - n',
    ],
    'a base of another boundary, ahead': [`update projection_bases set boundary = ${next}`],
    'a base of another boundary, behind': [`update projection_bases set boundary = ${boundary - 1}`],
    'a second base nobody signed': [
      `insert into projection_bases select ${next}, n, relation, content from projection_bases`,
    ],
    'a base that is gone': ['delete from projection_bases'],
    'more bodies dropped than the entry says': [`delete from entry_bodies where index = ${boundary}`],
    'the entry gone that vouches for the base': [`update entries set kind = 'auth.event' where kind = 'ledger.erased'`],
  };
  for (const [what, statements] of Object.entries(attacks)) {
    test(what, async () => {
      await tampered(statements, async (_, url) => {
        await assert.rejects(replayed(url), { code: 'ledger.tampered' });
      });
    });
  }
});

describe('of a ledger some of which was erased, verification finds', () => {
  test('more bodies dropped than the entry says, and names the first', async () => {
    await tampered([`delete from entry_bodies where index between ${boundary} and ${next - 1}`], async (db) => {
      const fault = await verifyFault(db);
      assert.deepEqual([fault?.fault, fault?.index], ['body', boundary]);
    });
  });

  test('a kept body that was changed or taken away', async () => {
    await tampered([`${forged('0.1.0', '0.1.1')} 1`], async (db) => assert.equal((await verifyFault(db))?.index, 1));
    await tampered(['delete from entry_bodies where index = 2'], async (db) => {
      assert.equal((await verifyFault(db))?.index, 2);
    });
  });

  test('columns of an erased entry that were changed', async () => {
    await tampered(
      [
        `update entries set kind = case kind when 'report' then 'observed' else 'report' end
         where index = (select min(e.index) from entries e left join entry_bodies b using (index) where b.index is null)`,
      ],
      async (db) => assert.deepEqual([(await verifyFault(db))?.fault, (await verifyFault(db))?.index], ['columns', 0]),
    );
  });

  test('an erasure that nobody with the key has put on record', async () => {
    // The boundary in the entry is moved, and what comes before it dropped; hashes are put right where that can be done.
    const moved = [`${forged(`"to":${boundary}`, `"to":${next}`)} ${said}`];
    const dropped = `delete from entry_bodies b using entries e
      where e.index = b.index and b.index between ${boundary} and ${next - 1} and e.author <> 'collector'`;
    const rehashed = `update entries e set entry_hash = sha256(b.bytes), leaf_hash = sha256('\\x00' || b.bytes || b.signature)
      from entry_bodies b where b.index = e.index and e.index = ${said}`;
    await tampered([...moved, dropped, rehashed], async (db, url) => {
      assert.notEqual(await verifyFault(db), undefined);
      await assert.rejects(replayed(url), { code: 'ledger.tampered' });
    });
  });
});

describe('nothing is erased', () => {
  test('when what is to go is not in order, and nothing is put on record', async () => {
    const damage: Readonly<Record<string, string>> = {
      'a body': `${forged('"v":1', '"v":2')} ${boundary + 3}`,
      'a signature': `update entry_bodies set signature = set_byte(signature, 3, 1) where index = ${boundary + 5}`,
      'a column': `update entries set at = at + interval '1 second' where index = ${boundary + 7}`,
      'an erased column': 'update entries set seq = seq + 1000000 where index = 5',
    };
    for (const [what, sql] of Object.entries(damage)) {
      await tampered([sql], async (db, url) => {
        const ledger = await startLedger(postgresLedgerStore(db));
        const { size } = await ledger.checkpoint();
        await assert.rejects(
          eraseTo(erasureNeeds({ db, ledger, ownerUrl: url }), next),
          { code: 'ledger.tampered' },
          what,
        );
        assert.equal((await ledger.checkpoint()).size, size, what);
      });
    }
  });

  test('because a statement says so that the key did not sign', async () => {
    await tampered([`${forged(`"to":${boundary}`, `"to":${next}`)} ${said}`], async (db, url) => {
      const needs = erasureNeeds({ db, ledger: await startLedger(postgresLedgerStore(db)), ownerUrl: url });
      assert.equal(await unfinishedErasure(needs.store, collectorKeys.publicKey), undefined);
    });
  });

  test('by finishing what was on record, once it was tampered with', async () => {
    // As if it had been broken off: on record, everything still there, and then somebody comes by.
    const url = await postgres.copyOf(erasedUrl);
    await withDb(url, async (db) => {
      const ledger = await startLedger(postgresLedgerStore(db));
      const needs = erasureNeeds({ db, ledger, ownerUrl: url });
      const fail = () => {
        throw new Error('broken off');
      };
      const broken = breakingAt('after the entry', fail, { needs, exporting: () => assert.fail('not asked for') });
      await assert.rejects(eraseEntries(broken.needs, request(next)), /broken off/);
      await withTransaction(db, async (tx) => {
        await tx.query('set local session_replication_role = replica');
        await tx.query(`update entries set seq = seq + 1000000 where index = ${boundary + 5}`);
      });
      await assert.rejects(eraseEntries(needs, request(next)), { code: 'ledger.tampered' });
    });
  });
});
