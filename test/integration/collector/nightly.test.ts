import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { hash } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createNightly } from '../../../collector/integrity/nightly.ts';
import { listAlerts } from '../../../collector/postgres/alert-query-store.ts';
import { aloneInDatabase, postgresIntegrityStore } from '../../../collector/postgres/integrity-store.ts';
import { connectClient } from '../../../collector/postgres/pool.ts';
import { collectedReport } from '../../../common/collected-report.ts';
import { parseCron } from '../../../common/cron.ts';
import { parseLogged } from '../../../common/entry.ts';
import { AppError, errnoOf } from '../../../common/errors.ts';
import type { KeyPair } from '../../../common/keys.ts';
import type { Body } from '../../../common/kinds.ts';
import { fromSource } from '../../from-source.ts';
import { changeOneByOne } from '../../one-by-one.ts';
import { startPostgres, type TestPostgres } from '../../postgres.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { hearingOfChecks, missed, nightlyOn } from './checked.ts';
import { driftOpened, enrolDirectly, say, startTestCollector, type TestCollector } from './collectors.ts';

const killedProgram = fileURLToPath(new URL('./nightly-until.ts', import.meta.url));
const going = new AbortController().signal;

let postgres: TestPostgres;
let under: TestCollector;
let lyra: KeyPair;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());
beforeEach(async () => {
  under = await startTestCollector(await postgres.emptyDatabase());
  lyra = await enrolDirectly(under.ledger, 'lyra');
  await say(under.ledger, 'lyra', lyra, [driftOpened('web', 'UNAUTHORIZED_CONTAINER')]);
});
afterEach(() => under.stop());

/** What stands in the ledger about checks, oldest first. */
async function checks(): Promise<Body<'ledger.checked'>[]> {
  const { rows } = await under.db.query<{ bytes: Buffer }>(
    `select bytes from entries join entry_bodies using (index) where kind = 'ledger.checked' order by index`,
  );
  return rows.flatMap(({ bytes }) => {
    const entry = parseLogged(bytes);
    return entry.kind === 'ledger.checked' ? [entry.body] : [];
  });
}

async function standing() {
  const page = { after: undefined, limit: 100 };
  return (await listAlerts(under.db, 'standing', page)).filter(({ key }) => key === 'ledger.integrity/ledger');
}

const alertsAre = (what: string, severities: readonly string[]) =>
  until(what, async () => (await standing()).map(({ severity }) => severity).join() === severities.join());

describe('what is found', () => {
  test('a projection that was edited in the database is found, goes on record and alerts, until it is right again', async () => {
    const nightly = await nightlyOn(under);
    await missed(under.db, 1);
    await under.db.query(`update drifts set container = '<b>nothing to see</b>'`);
    assert.equal(await nightly.look(going), true);
    const [entry] = await checks();
    assert.deepEqual(
      [entry?.status, entry?.check.fault, entry?.check.error, entry?.check.verified?.root?.length],
      ['findings', null, null, 44],
    );
    const differing = entry?.check.projections?.tables.filter((table) => table.differing > 0);
    assert.deepEqual(
      differing?.map(({ table, rows }) => [table, rows.length]),
      [['drifts', 0]],
    );
    await alertsAre('the alert is raised', ['critical']);
    assert.match((await standing())[0]?.summary ?? '', /1 row of drifts/);

    const { json } = await under.get('/api/v1/integrity-reports?node=collector');
    assert.deepEqual(Array.isArray(json.items) && json.items.map(({ status, findings }) => [status, findings]), [
      ['findings', 1],
    ]);
    const index = Array.isArray(json.items) ? json.items[0].index : undefined;
    const answer = await ask(`/api/v1/integrity-reports/${index}`);
    const document = await answer.text();
    assert.equal(hash('sha256', document, 'hex'), entry?.sha256);
    const [row] =
      collectedReport.parse(JSON.parse(document)).ledger?.projections?.tables.flatMap((it) => it.rows) ?? [];
    assert.deepEqual(row?.columns, [{ column: 'container', stored: '<b>nothing to see</b>', rebuilt: 'web' }]);
    assert.match(await (await ask(`/api/v1/integrity-reports/${index}.html`)).text(), /stored &#60;b&#62;nothing/);

    await under.db.query(`update drifts set container = 'web'`);
    await missed(under.db, 1);
    assert.equal(await nightly.look(going), true);
    assert.deepEqual(
      (await checks()).map(({ status }) => status),
      ['findings', 'ok'],
    );
    await alertsAre('the alert is resolved', []);
    const metrics = await (await ask('/metrics')).text();
    assert.match(metrics, /^sigil_integrity_last_status\{store="ledger"\} 1$/m);
    assert.match(metrics, /^sigil_integrity_failed_records\{store="ledger"\} 0$/m);
  });

  test('an entry whose body was changed is found, and where', async () => {
    await changeOneByOne(under.db);
    await under.db.query(
      'set session_replication_role = replica; update entry_bodies set bytes = bytes || $$ $$::bytea where index = 3',
    );
    await under.db.query('set session_replication_role = default');
    await missed(under.db, 1);
    assert.equal(await (await nightlyOn(under)).look(going), true);
    const [entry] = await checks();
    assert.deepEqual([entry?.status, entry?.check.fault?.index], ['findings', 3]);
    await alertsAre('the alert is raised', ['critical']);
  });

  test('an archived report that was edited is not handed out as what the entry vouches for', async () => {
    await missed(under.db, 1);
    await (await nightlyOn(under)).look(going);
    const { json } = await under.get('/api/v1/integrity-reports');
    const { index, sha256 } = Array.isArray(json.items) ? json.items[0] : {};
    await under.db.query(`update integrity_reports set document = replace(document, '"ok"', '"findings"')`);
    const report = collectedReport.parse(JSON.parse(await (await ask(`/api/v1/integrity-reports/${index}`)).text()));
    assert.deepEqual([report.status, report.composed], ['ok', { index, sha256 }]);
  });

  test('a check whose process breaks is on record as not made, and alerts as such', async () => {
    const logger = hearingOfChecks((pid) => process.kill(pid, 'SIGKILL'));
    await missed(under.db, 1);
    assert.equal(await (await nightlyOn({ ...under, logger })).look(going), true);
    const [entry] = await checks();
    assert.deepEqual([entry?.status, entry?.check.error?.code], ['unchecked', 'internal.error']);
    await alertsAre('the alert is raised', ['error']);
  });

  test('where nothing can be put on record, the report is archived, and the run is not made again and again', async () => {
    const contradicted = new AppError('ledger.tampered', 'the database contradicts what was published');
    const check = { ...(await clean()), status: 'findings' as const };
    const nightly = createNightly({
      ...{ store: postgresIntegrityStore(under.db), alone: aloneInDatabase(databaseOf(under)), logger: quietLogger },
      timetable: { schedule: parseCron('30 3 * * *'), jitterMs: 0 },
      ledger: { record: () => Promise.reject(contradicted) },
      check: async () => check,
      ...{ kept: under.settings.integrity, clock: { now: () => Date.now(), monotonicMs: () => 0 } },
      newId: () => '20260101T033000000Z-0123abcd',
    });
    await missed(under.db, 1);
    assert.deepEqual([await nightly.look(going), await nightly.look(going)], [true, false]);
    const answer = await ask('/api/v1/integrity-reports/20260101T033000000Z-0123abcd');
    assert.equal(collectedReport.parse(JSON.parse(await answer.text())).status, 'findings');
  });
});

describe('when', () => {
  test('a collector that was never there before makes no run, and one that missed some makes one', async () => {
    const nightly = await nightlyOn(under);
    assert.equal(await nightly.look(going), false);
    await missed(under.db, 9);
    assert.deepEqual([await nightly.look(going), await nightly.look(going)], [true, false]);
    assert.equal((await checks()).length, 1);
  });

  test('of two collectors on one database, one makes the run', async () => {
    await missed(under.db, 1);
    const both = [await nightlyOn(under), await nightlyOn(under)];
    const made = await Promise.all(both.map((nightly) => nightly.look(going)));
    assert.deepEqual(made.sort(), [false, true]);
    assert.deepEqual(await Promise.all(both.map((nightly) => nightly.look(going))), [false, false]);
    assert.equal((await checks()).length, 1);
  });

  test('a server that ends idle sessions does not end the one that the run is made in', async () => {
    const url = under.settings.database.url ?? '';
    // In this database: the same user may be at work in others.
    const role = `role current_user in database ${new URL(url).pathname.slice(1)}`;
    await under.db.query(`alter ${role} set idle_session_timeout = '1s'`);
    try {
      const client = await connectClient({ url, applicationName: 'test' });
      const { rows } = await client.query('show idle_session_timeout');
      await client.end();
      assert.deepEqual(rows, [{ idle_session_timeout: '0' }]);
    } finally {
      await under.db.query(`alter ${role} reset idle_session_timeout`);
    }
  });

  test('entries are acknowledged while it runs', async () => {
    const done: string[] = [];
    let said: Promise<void> | undefined;
    const logger = hearingOfChecks(() => {
      said = say(under.ledger, 'lyra', lyra, [driftOpened('api', 'MISSING_CONTAINER')]).then(() => {
        done.push('said');
      });
    });
    await missed(under.db, 1);
    assert.equal(await (await nightlyOn({ ...under, logger })).look(going), true);
    done.push('checked');
    await said;
    assert.deepEqual(done, ['said', 'checked']);
    assert.equal((await checks())[0]?.status, 'ok');
  });

  test('a collector that stops gives the run up, and leaves it to the next one', async () => {
    const stopping = new AbortController();
    const logger = hearingOfChecks(() => stopping.abort());
    await missed(under.db, 1);
    await assert.rejects((await nightlyOn({ ...under, logger })).look(stopping.signal), { code: 'state.conflict' });
    assert.deepEqual(await checks(), []);
    assert.equal(await (await nightlyOn(under)).look(going), true);
  });

  test('SIGKILL in the middle leaves no lock and no process, and the run is made again', async () => {
    await missed(under.db, 1);
    const { dataDir, database } = under.settings;
    const args = [...fromSource(killedProgram), dataDir, database.url ?? ''];
    const killed = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = Number(await text(killed.stdout));
    assert.ok(pid > 0);
    await until('what checked for it is gone', () => !isThere(pid));
    const nightly = await nightlyOn(under);
    // The server takes the lock back once it has noticed.
    await until('the run is made again', () => nightly.look(going));
    assert.deepEqual(
      (await checks()).map(({ status }) => status),
      ['ok'],
    );
  });
});

function ask(path: string): Promise<Response> {
  return fetch(`${under.collector.url}${path}`, { headers: { Authorization: `Bearer ${under.token}` } });
}

function databaseOf({ settings }: TestCollector) {
  return { url: settings.database.url ?? '', applicationName: 'test' };
}

/** What a real run says of a ledger that is in order. */
async function clean(): Promise<Body<'ledger.checked'>['check']> {
  await missed(under.db, 1);
  await (await nightlyOn(under)).look(going);
  const [entry] = await checks();
  assert.equal(entry?.status, 'ok');
  return entry.check;
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) === 'ESRCH') return false;
    throw thrown;
  }
}
