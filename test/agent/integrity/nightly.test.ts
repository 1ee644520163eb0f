import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, test } from 'node:test';
import { Level } from 'level';
import { takeRunLock } from '../../../agent/data/run-lock.ts';
import { reportArchive } from '../../../agent/integrity/archive.ts';
import { type CheckedStore, Nightly } from '../../../agent/integrity/nightly.ts';
import type { StoreCheck } from '../../../agent/integrity/store-check.ts';
import { StoreWatch } from '../../../agent/stores.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { parseCron } from '../../../common/cron.ts';
import { AppError } from '../../../common/errors.ts';
import type { LastGood } from '../../../common/integrity-report.ts';
import { statementSchema } from '../../../common/kinds.ts';
import type { SigilFinding } from '../../../common/sigil.ts';
import { type FakeJournal, fakeJournal } from '../../fakes/journal.ts';
import { makeSigilRecord } from '../../fakes/sigil-writer.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { until } from '../../until.ts';
import { settableClock, tempFolder } from '../watching.ts';
import { finding } from './reports.ts';

const temp = tempFolder();
const dayMs = 86_400_000;
let journal: FakeJournal;
let dataDir: string;
/** One clock over restarts. */
let clock: ReturnType<typeof settableClock>;
let checked: string[];

beforeEach(() => {
  journal = fakeJournal();
  dataDir = mkdtempSync(join(temp, 'data-'));
  clock = settableClock();
  // Noon: no test runs into the hour of the night by itself.
  clock.stepMs = Date.UTC(2026, 0, 1, 12) - Date.now();
  checked = [];
});

function store(name: string, found: readonly SigilFinding[] = [], error?: AppError): CheckedStore {
  const counts = { tables: 1, blocks: 2, bytes: 3, records: 4, sigils: 4 };
  return {
    name,
    stalled: undefined,
    check: async (): Promise<StoreCheck> => {
      checked.push(name);
      const startedAt = rfc3339(clock.now());
      return {
        store: name,
        startedAt,
        durationMs: 5,
        counts: error ? null : counts,
        findings: found,
        moreFindings: 0,
        error,
        resumed: null,
      };
    },
  };
}

/** One run of the agent: what is made over the same folder and journal as the one before. */
function nightlyOf(stores: readonly CheckedStore[], lastGood: ReadonlyMap<string, LastGood> = new Map()) {
  const archive = reportArchive(dataDir, { keepDays: 90, keepReports: 100 });
  const timetable = { schedule: parseCron('0 2 * * *'), jitterMs: 1_000 };
  const findGoodCopies = async () => ({ lastGood, records: new Map() });
  const known = { node: 'lyra', stores, eventSecrets: 1, archive, findGoodCopies };
  return { nightly: new Nightly({ ...known, timetable, journal, clock, logger: quietLogger }), archive };
}

const reports = () => journal.saidOf('integrity.report').map(({ body }) => body);
/** A day later, or so many. */
const sleep = (days = 1) => {
  clock.stepMs += days * dayMs;
};
const bare = ({ firstSeen: _, ...rest }: ReturnType<typeof finding>): SigilFinding => rest;

describe('the nightly run', () => {
  test('names the last good copy of what it found', async () => {
    const good = { snapshot: '20260101T020000000Z', at: '2026-01-01T02:00:00.000Z' };
    const found = bare(finding('a', ''));
    const { nightly, archive } = nightlyOf(
      [store('main', [found, bare(finding('b', ''))])],
      new Map([[found.id, good]]),
    );
    await nightly.look();
    sleep();
    await nightly.look();
    const [id = ''] = await archive.ids();
    const findings = (await archive.read(id))?.report.stores[0]?.findings.map(({ lastGood }) => lastGood);
    assert.deepEqual(findings, [good, null]);
  });

  test('is made once a night, store after store, and its entry vouches for the archived report', async () => {
    const { nightly, archive } = nightlyOf([store('main', [bare(finding('a', ''))]), store('side')]);
    await nightly.look();
    assert.deepEqual(reports(), [], 'the first start is where it begins');
    sleep();
    await nightly.look();
    await nightly.look();
    const [said, ...more] = reports();
    assert.deepEqual([more, checked], [[], ['main', 'side']]);
    assert.deepEqual(
      [said?.status, said?.stores.map(({ status, findings }) => [status, findings])],
      [
        'findings',
        [
          ['findings', 1],
          ['ok', 0],
        ],
      ],
    );
    const text = readFileSync(join(archive.folder, `${said?.report}.json`));
    assert.equal(said?.sha256, createHash('sha256').update(text).digest('hex'));
    statementSchema.parse({ kind: 'integrity.report', body: said });
  });

  test('that was missed is made up after a restart, once, however many were missed', async () => {
    await nightlyOf([store('main')]).nightly.look();
    sleep(9);
    const { nightly } = nightlyOf([store('main')]);
    await nightly.look();
    await nightly.look();
    assert.equal(reports().length, 1);
    sleep();
    await nightlyOf([store('main')]).nightly.look();
    assert.equal(reports().length, 2);
  });

  test('keeps the time at which a finding was seen first', async () => {
    const { nightly, archive } = nightlyOf([store('main', [bare(finding('a', ''))])]);
    await nightly.look();
    sleep();
    await nightly.look();
    sleep();
    await nightly.look();
    const [first, second] = reports();
    const archived = await archive.read(second?.report ?? '');
    assert.equal(archived?.report.stores[0]?.findings[0]?.firstSeen, first?.startedAt);
  });

  test('that was stopped in the middle gives way, and is made again', async () => {
    let atWork = () => {};
    const begun = new Promise<void>((resolve) => {
      atWork = resolve;
    });
    const hanging: CheckedStore = {
      name: 'hanging',
      stalled: undefined,
      check: () => {
        atWork();
        return new Promise(() => {});
      },
    };
    const { nightly, archive } = nightlyOf([store('main'), hanging]);
    await nightly.look();
    sleep();
    const looking = nightly.look();
    await begun;
    await nightly.stop();
    await looking;
    assert.deepEqual([reports(), readdirSync(archive.folder)], [[], ['run.lock.1']]);
    await nightlyOf([store('main')]).nightly.look();
    assert.equal(reports().length, 1);
  });

  test('waits for a run that a person makes', async () => {
    const { nightly, archive } = nightlyOf([store('main')]);
    await nightly.look();
    sleep();
    await archive.prepare();
    const giveBack = await takeRunLock(archive.folder, 'integrity run');
    await nightly.look();
    assert.deepEqual(checked, []);
    await giveBack();
    await nightly.look();
    assert.equal(reports().length, 1);
  });

  test('is not made again because the journal refused it, but told as soon as it can be', async () => {
    const { nightly } = nightlyOf([store('main')]);
    await nightly.look();
    sleep();
    journal.mood = 'full';
    await nightly.look();
    await nightly.look();
    assert.deepEqual([reports(), checked], [[], ['main']]);
    journal.mood = 'well';
    await nightly.look();
    await nightly.look();
    assert.deepEqual([reports().length, checked], [1, ['main']]);
  });

  test('goes on record without a digest when the disk does not take the report', async () => {
    const { nightly, archive } = nightlyOf([store('main')]);
    await nightly.look();
    writeFileSync(archive.folder, 'no folder');
    sleep();
    await nightly.look();
    assert.deepEqual(
      reports().map(({ status, sha256 }) => [status, sha256]),
      [['ok', null]],
    );
  });

  test('says of a store that it could not be checked, and checks the others', async () => {
    const gone = new AppError('store.missing', 'sigil store /srv/x does not exist');
    const { nightly } = nightlyOf([store('main', [], gone), store('side')]);
    await nightly.look();
    sleep();
    await nightly.look();
    assert.deepEqual(
      reports()[0]?.stores.map(({ status, counts }) => [status, counts?.records]),
      [
        ['unchecked', undefined],
        ['ok', 4],
      ],
    );
  });

  test('goes on without a store whose disk hangs, and says so', async () => {
    let stalled: string | undefined;
    const hanging: CheckedStore = {
      name: 'hanging',
      get stalled() {
        return stalled;
      },
      check: () => new Promise(() => {}),
    };
    const { nightly } = nightlyOf([hanging, store('main')]);
    await nightly.look();
    sleep();
    const looking = nightly.look();
    await until('it has begun', () => existsSync(join(dataDir, 'reports', 'run.lock.1')));
    await nightly.look();
    assert.deepEqual(checked, [], 'a scan that gets on has all the time it needs');
    stalled = 'its scan has not got on';
    await until('it is given up', async () => {
      await nightly.look();
      return checked.length > 0;
    });
    await looking;
    assert.deepEqual(
      reports()[0]?.stores.map((said) => [said.store, said.status]),
      [
        ['hanging', 'unchecked'],
        ['main', 'ok'],
      ],
    );
  });

  test('tells the findings of the stores before it tells of itself', async () => {
    const path = join(dataDir, 'db');
    const db = new Level<string, unknown>(path, { valueEncoding: 'json' });
    const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'BAD', secret: 'hush' });
    await db.put(key, { ...value, checksum: '0'.repeat(64) });
    const options = {
      name: 'main',
      place: path,
      secrets: ['hush'],
      fullScanCpuShare: 1,
      journal,
      clock,
      logger: quietLogger,
    };
    const watch = new StoreWatch(options);
    const { nightly } = nightlyOf([watch]);
    await nightly.look();
    sleep();
    const stopping = new AbortController();
    const ended = watch.run(stopping.signal);
    await nightly.look();
    stopping.abort();
    await ended;
    await db.close();
    // The watch makes a full scan of its own when it begins; the run joins it, or has another one made.
    const kinds = new Set(journal.said.map(({ kind }) => kind));
    assert.deepEqual([...kinds], ['sigil.finding', 'sigil.scan', 'integrity.report']);
    assert.equal(journal.said.at(-1)?.kind, 'integrity.report');
    assert.deepEqual([reports()[0]?.status, watch.lastCheck?.findings], ['findings', 1]);
  });

  test('of a clock that was set back by ten years is not put off by as much', async () => {
    const { nightly } = nightlyOf([store('main')]);
    await nightly.look();
    sleep(-3_650);
    await nightly.look();
    assert.equal(reports().length, 1);
    await nightly.look();
    assert.equal(reports().length, 1);
  });
});
