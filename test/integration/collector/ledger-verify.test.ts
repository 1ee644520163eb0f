import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { collectorKeyPath, readCollectorKey } from '../../../collector/data/keys.ts';
import { type VerifyReport, verifyLedger } from '../../../collector/ledger/verify/verify.ts';
import { postgresStoredLedger } from '../../../collector/postgres/stored-ledger.ts';
import type { Checkpoint } from '../../../common/checkpoint.ts';
import { headAfter, sealEntry } from '../../../common/entry.ts';
import { quietMinute } from '../../authors.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { driftOpened, enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

let postgres: TestPostgres;
let under: TestCollector;

/** Enough for full tiles, a partial one, and several batches. */
const entryCount = 2_300;
/** Where the entries are that chain heads and keys come from. */
const lyraEnrolled = 3;
const lastOfLyra = lyraEnrolled + entryCount;
/** Size of the ledger after so many of the batches that lyra's entries come in. */
const afterBatches = (batches: number) => lyraEnrolled + 1 + batches * 500;

before(async () => {
  postgres = await startPostgres();
  under = await startTestCollector(await postgres.emptyDatabase());
  await changeOneByOne(under.db);
  const lyra = await enrolDirectly(under.ledger, 'lyra');
  const statements = Array.from({ length: entryCount }, (_, i) => driftOpened(`c${i}`, 'MISSING_CONTAINER'));
  await say(under.ledger, 'lyra', lyra, statements);
});
after(async () => {
  await under.stop();
  await postgres.stop();
});

async function verify(checkpoint?: Checkpoint): Promise<VerifyReport> {
  const { publicKey } = await readCollectorKey(collectorKeyPath(under.settings.dataDir));
  const expected = {
    origin: under.ledger.origin,
    collectorKey: publicKey,
    checkpoints: checkpoint ? [{ name: 'kept', ...checkpoint }] : [],
  };
  return verifyLedger(postgresStoredLedger(under.db), expected);
}

/** What a database administrator can do: switch the triggers off, change something, and switch them on again. */
async function tamper(sql: string, undo: string): Promise<VerifyReport> {
  const asAdmin = async (statement: string) => {
    const client = await under.db.connect();
    await client.query(`set session_replication_role = replica; ${statement}; set session_replication_role = origin`);
    client.release();
  };
  await asAdmin(sql);
  const report = await verify();
  await asAdmin(undo);
  return report;
}

async function checkpointNow(): Promise<Checkpoint> {
  const { size, root } = await under.ledger.checkpoint();
  return { origin: under.ledger.origin, size, root, extensions: [] };
}

test('an untouched ledger is in order, up to the root that was signed', async () => {
  const report = await verify();
  const { size, root } = await under.ledger.checkpoint();
  assert.equal(report.fault, undefined);
  assert.equal(report.size, size);
  assert.ok(size > entryCount);
  assert.deepEqual(report.root, root);
});

const attacks = {
  'a changed body': {
    sql: `update entry_bodies set bytes = convert_to(replace(convert_from(bytes, 'UTF8'), 'MISSING', 'missing'), 'UTF8') where index = 1500`,
    undo: `update entry_bodies set bytes = convert_to(replace(convert_from(bytes, 'UTF8'), 'missing', 'MISSING'), 'UTF8') where index = 1500`,
    fault: 'leaf_hash',
    index: 1500,
  },
  'a changed column': {
    sql: `update entries set kind = 'drift.resolved' where index = 7`,
    undo: `update entries set kind = 'drift.opened' where index = 7`,
    fault: 'columns',
    index: 7,
  },
  'a changed time': {
    sql: `update entries set at = at + interval '1 hour' where index = 2100`,
    undo: `update entries set at = at - interval '1 hour' where index = 2100`,
    fault: 'columns',
    index: 2100,
  },
  'a body that was removed': {
    sql: `create table kept as select * from entry_bodies where index = 900; delete from entry_bodies where index = 900`,
    undo: `insert into entry_bodies select * from kept; drop table kept`,
    fault: 'body',
    index: 900,
  },
  'an entry that was removed': {
    sql: `create table kept as select * from entries where index = 42; delete from entries where index = 42`,
    undo: `insert into entries select * from kept; drop table kept`,
    fault: 'missing',
    index: 42,
  },
  'a changed tile': {
    sql: `update tiles set hashes = set_byte(hashes, 0, 255 - get_byte(hashes, 0)) where level = 0 and n = 2`,
    undo: `update tiles set hashes = set_byte(hashes, 0, 255 - get_byte(hashes, 0)) where level = 0 and n = 2`,
    fault: 'tile',
    index: 512,
  },
  'a tile too many': {
    sql: `insert into tiles select 5, 0, hashes from tiles where level = 0 and n = 0`,
    undo: `delete from tiles where level = 5`,
    fault: 'tile',
    index: null,
  },
  'a changed root': {
    sql: `update ledger_head set root = set_byte(root, 0, 255 - get_byte(root, 0))`,
    undo: `update ledger_head set root = set_byte(root, 0, 255 - get_byte(root, 0))`,
    fault: 'root',
    index: null,
  },
  'a changed right edge': {
    sql: `update ledger_head set edge = set_byte(edge, 0, 255 - get_byte(edge, 0))`,
    undo: `update ledger_head set edge = set_byte(edge, 0, 255 - get_byte(edge, 0))`,
    fault: 'root',
    index: null,
  },
  'a chain head that was turned back': {
    sql: `update author_heads set seq = seq - 1 where author = 'lyra'`,
    undo: `update author_heads set seq = seq + 1 where author = 'lyra'`,
    fault: 'author_heads',
    index: lastOfLyra,
  },
  'a chain head with another hash': {
    sql: `update author_heads set entry_hash = set_byte(entry_hash, 0, 255 - get_byte(entry_hash, 0)) where author = 'lyra'`,
    undo: `update author_heads set entry_hash = set_byte(entry_hash, 0, 255 - get_byte(entry_hash, 0)) where author = 'lyra'`,
    fault: 'author_heads',
    index: lastOfLyra,
  },
  'a chain head too many': {
    sql: `insert into author_heads select 'node9', seq, entry_hash, index from author_heads where author = 'lyra'`,
    undo: `delete from author_heads where author = 'node9'`,
    fault: 'author_heads',
    index: null,
  },
  'a key that nobody enrolled': {
    sql: `update nodes set public_key = set_byte(public_key, 0, 255 - get_byte(public_key, 0)) where node = 'lyra'`,
    undo: `update nodes set public_key = set_byte(public_key, 0, 255 - get_byte(public_key, 0)) where node = 'lyra'`,
    fault: 'nodes',
    index: lyraEnrolled,
  },
  'a node that was revoked by hand': {
    sql: `update nodes set revoked_at = now() where node = 'lyra'`,
    undo: `update nodes set revoked_at = null where node = 'lyra'`,
    fault: 'nodes',
    index: lyraEnrolled,
  },
  'a tree head that was turned back': {
    sql: `update ledger_head set size = size - 1`,
    undo: `update ledger_head set size = size + 1`,
    fault: 'head',
    index: lyraEnrolled + entryCount,
  },
  'a time of receipt that was changed': {
    sql: `update batches set received_ms = received_ms - 60000 where size = (select min(size) from batches where size > 600)`,
    undo: `update batches set received_ms = received_ms + 60000 where size = (select min(size) from batches where size > 600)`,
    fault: 'batch',
    index: afterBatches(1),
  },
  'a batch that was taken away': {
    sql: `create table kept as select * from batches where size = ${afterBatches(2)}; delete from batches where size = ${afterBatches(2)}`,
    undo: `insert into batches select * from kept; drop table kept`,
    fault: 'batch',
    index: afterBatches(1),
  },
  'the last batch, taken away': {
    sql: `create table kept as select * from batches order by size desc limit 1; delete from batches where size > ${afterBatches(4)}`,
    undo: `insert into batches select * from kept; drop table kept`,
    fault: 'batch',
    index: afterBatches(4),
  },
  'a time that is off by a microsecond': {
    sql: `update entries set at = at + interval '1 microsecond' where index = 1`,
    undo: `update entries set at = at - interval '1 microsecond' where index = 1`,
    fault: 'columns',
    index: 1,
  },
};

for (const [name, { sql, undo, fault, index }] of Object.entries(attacks)) {
  test(`${name} is found and named`, async () => {
    const report = await tamper(sql, undo);
    assert.equal(report.fault?.fault, fault);
    assert.equal(report.fault?.index, index);
    assert.equal((await verify()).fault, undefined, 'undone');
  });
}

test('a signature made with another key is found even when every stored hash agrees with it', async () => {
  const zeros = `decode(repeat('00', 64), 'hex')`;
  const leaf = (index: number) =>
    `(select sha256('\\x00'::bytea || bytes || signature) from entry_bodies where index = ${index})`;
  const report = await tamper(
    `create table kept as select * from entry_bodies where index = 1999;
     update entry_bodies set signature = ${zeros} where index = 1999;
     update entries set leaf_hash = ${leaf(1999)} where index = 1999`,
    `update entry_bodies b set signature = kept.signature from kept where b.index = 1999; drop table kept;
     update entries set leaf_hash = ${leaf(1999)} where index = 1999`,
  );
  assert.deepEqual([report.fault?.fault, report.fault?.index], ['signature', 1999]);
  assert.equal((await verify()).fault, undefined);
});

test('a checkpoint from earlier is contained in the ledger that grew from it', async () => {
  const earlier = await checkpointNow();
  await enrolDirectly(under.ledger, 'node1');
  assert.ok((await checkpointNow()).size > earlier.size);
  assert.equal((await verify(earlier)).fault, undefined);
});

test('a checkpoint of another history, or of entries that are gone, is not', async () => {
  const now = await checkpointNow();
  const otherHistory = await verify({ ...now, size: now.size - 1 });
  assert.equal(otherHistory.fault?.fault, 'checkpoint');
  const gone = await verify({ ...now, size: now.size + 10 });
  assert.equal(gone.fault?.fault, 'checkpoint');
  assert.match(gone.fault?.message ?? '', /removed/);
});

test('entries laid into one row are as good a ledger, and are not where their times are too far from one another', async () => {
  const { privateKey } = await enrolDirectly(under.ledger, 'far');
  const { size } = await under.ledger.checkpoint();
  let head = await under.ledger.authorHead('far');
  const startedMs = Date.now();
  for (const now of [0, 3_600_000, 3_600_001].map((afterMs) => startedMs + afterMs)) {
    const signed = sealEntry(quietMinute(now - startedMs), { author: 'far', head, now, privateKey });
    head = headAfter(signed);
    await under.ledger.append([signed]);
  }
  const lay = (into: number, count: number) => `
    update entry_runs r set width = ${count}, times = l.times, entry_hashes = l.entry_hashes, leaf_hashes = l.leaf_hashes
      from (select array_agg(times[1] order by index) as times, string_agg(entry_hashes, '' order by index) as entry_hashes,
                   string_agg(leaf_hashes, '' order by index) as leaf_hashes
              from entry_runs where index between ${into} and ${into + count - 1}) l where r.index = ${into};
    update run_bodies b set ends = l.ends, leaves = l.leaves
      from (select array_agg(bytes order by index) as ends, string_agg(leaves, '' order by index) as leaves
              from (select index, leaves, (sum(octet_length(leaves)) over (order by index))::int as bytes
                      from run_bodies where index between ${into} and ${into + count - 1}) s) l where b.index = ${into};
    delete from entry_runs where index > ${into} and index < ${into + count};
    delete from run_bodies where index > ${into} and index < ${into + count}`;
  const keep = `create table runs_kept as select * from entry_runs where index >= ${size};
    create table bodies_kept as select * from run_bodies where index >= ${size}`;
  const undo = `delete from entry_runs where index >= ${size}; delete from run_bodies where index >= ${size};
    insert into entry_runs select * from runs_kept; insert into run_bodies select * from bodies_kept;
    drop table runs_kept, bodies_kept`;
  const ofTwo = await tamper(`${keep}; ${lay(size, 2)}`, undo);
  assert.equal(ofTwo.fault, undefined);
  const second = `insert into run_bodies select ${size + 2}, ends, leaves from run_bodies where index = ${size}`;
  const ofOneTwice = await tamper(`${keep}; ${lay(size + 1, 2)}; ${second}`, undo);
  assert.deepEqual([ofOneTwice.fault?.fault, ofOneTwice.fault?.index], ['duplicate', size + 2]);
  await under.db.query('alter table entry_runs drop constraint entry_runs_check2');
  const ofThree = await tamper(`${keep}; ${lay(size, 3)}`, undo);
  assert.deepEqual([ofThree.fault?.fault, ofThree.fault?.index], ['columns', size + 2]);
  assert.match(ofThree.fault?.message ?? '', /times of entries/);
  assert.equal((await verify()).fault, undefined);
});

test('entries of a node after its revocation are found', async () => {
  const keys = await enrolDirectly(under.ledger, 'late');
  const { rows } = await under.db.query(`select fingerprint from nodes where node = 'late'`);
  const body = { node: 'late', fingerprint: String(rows[0]?.fingerprint), reason: 'test' };
  await under.ledger.record({ kind: 'node.revoked', body });
  const { size } = await under.ledger.checkpoint();
  await say(under.ledger, 'late', keys, [driftOpened('x', 'MISSING_CONTAINER')]);
  const { fault } = await verify();
  assert.deepEqual([fault?.fault, fault?.index], ['author', size]);
});
