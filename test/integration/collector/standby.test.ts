import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '../../../collector/clock.ts';
import { looseSettings, missingStandby } from '../../../collector/postgres/guards.ts';
import { migrate, migrationsDir, readMigrations } from '../../../collector/postgres/migrate.ts';
import { testAuthor } from '../../authors.ts';
import { embeddedPrograms, type Server, type ServerPrograms, standbyName, startPair } from '../../servers.ts';
import { makeTemporaryFolder, removeLeftovers } from '../../system.ts';
import { until } from '../../until.ts';
import { withLedgerOn } from './opened-ledger.ts';

const folder = makeTemporaryFolder('sgw-standby-');
const dataDir = join(folder.path, 'collector');
const author = testAuthor('node1');
let programs: ServerPrograms;
let primary: Server;
let standby: Server;

before(async () => {
  programs = await embeddedPrograms(folder.path);
  ({ primary, standby } = await startPair(programs, folder.path));
  await migrate({ url: primary.url, applicationName: 'test' }, await readMigrations(migrationsDir), systemClock);
  await mkdir(dataDir, { mode: 0o700 });
});
after(removeLeftovers);

/** Somebody's commit is done on the primary, and waits for the standby. */
function waitsForStandby(): Promise<void> {
  const waiting = `select 1 from pg_stat_activity where wait_event = 'SyncRep'`;
  return until('a commit waits for the standby', async () => (await primary.sql(waiting)).length > 0);
}

test('what only the primary has is not acknowledged: not now, and not when it is offered again after a crash', async () => {
  await withLedgerOn(dataDir, primary.url, async (ledger, db) => {
    await ledger.append(author.more(3));
    assert.equal(await missingStandby(db), undefined);
    await standby.stop();
    await until('it is missed', async () => (await missingStandby(db)) === standbyName);
    const entries = author.more(2);
    const lost = assert.rejects(ledger.append(entries), { code: 'database.unreachable', retryable: true });
    await waitsForStandby();
    await primary.kill9();
    await lost;
    await primary.start();
    // The entries are there to be read, but nobody else has them yet.
    const count = 'select count(*)::int as count from entries';
    const [read] = await primary.sql(count);
    const answered = ledger.append(entries).then(() => ledger.checkpoint());
    await Promise.race([waitsForStandby(), answered.then(() => assert.fail('acknowledged'))]);
    await standby.start();
    const { size } = await answered;
    assert.equal(size, read?.count);
    // It has them on its disk; that they can be read there comes later.
    await until('the standby shows them', async () => (await standby.sql(count))[0]?.count === read?.count, 60_000);
  });
});

test('a commit whose wait for the standby somebody cancels is not acknowledged either', async () => {
  await withLedgerOn(dataDir, primary.url, async (ledger) => {
    await standby.stop();
    const entries = author.more(2);
    const cancelled = assert.rejects(ledger.append(entries), { code: 'database.unreachable', retryable: true });
    await waitsForStandby();
    await primary.sql(`select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'`);
    await cancelled;
    const answered = ledger.append(entries);
    await Promise.race([waitsForStandby(), answered.then(() => assert.fail('acknowledged'))]);
    await standby.start();
    assert.equal((await answered).length, entries.length);
  });
});

test('a server that commits without its standby is told plainly', async () => {
  await withLedgerOn(dataDir, primary.url, async (_ledger, db) => {
    const hasty = async () => (await looseSettings(db)).filter((setting) => setting.startsWith('synchronous_commit'));
    assert.deepEqual(await hasty(), []);
    await primary.sql('alter system set synchronous_commit = local');
    await primary.sql('select pg_reload_conf()');
    await until('it is told', async () => (await hasty())[0] === 'synchronous_commit = local');
    await primary.sql('alter system reset synchronous_commit');
    await primary.sql('select pg_reload_conf()');
    await until('it is over', async () => (await hasty()).length === 0);
  });
});

test('of several servers the one that takes writes is used, wherever it is in the list', async () => {
  const list = `postgres://sigilwatch@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/postgres`;
  await withLedgerOn(dataDir, list, async (ledger, db) => {
    assert.deepEqual((await db.query('select pg_is_in_recovery() as standby')).rows, [{ standby: false }]);
    await ledger.append(author.more(1));
  });
});

test('when the primary is lost the standby has all that was acknowledged, and the same process goes on with it', async () => {
  const list = `postgres://sigilwatch@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/postgres`;
  await withLedgerOn(dataDir, list, async (ledger) => {
    const [acknowledged, later] = [author.more(20), author.more(5)];
    const places = await ledger.append(acknowledged);
    await primary.kill9();
    await assert.rejects(ledger.append(later), { code: 'database.unreachable', retryable: true });
    await standby.sql('select pg_promote()');
    assert.deepEqual(await ledger.append(acknowledged), places);
    const [first] = await ledger.append(later);
    assert.equal(first?.index, (places.at(-1)?.index ?? 0) + 1);
    assert.equal(ledger.contradiction, undefined);
    // The old one comes back, and knows nothing of this: it is not written to any more.
    await primary.start();
    await ledger.append(author.more(1));
  });
  await withLedgerOn(dataDir, list, async (_ledger, db) => {
    assert.deepEqual((await db.query(`select current_setting('port')::int as port`)).rows, [{ port: standby.port }]);
  });
});
