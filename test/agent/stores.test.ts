import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { Level } from 'level';
import { StoreWatch } from '../../agent/stores.ts';
import { Account } from '../../agent/told/account.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import { type FakeJournal, fakeJournal } from '../fakes/journal.ts';
import { makeSigilRecord } from '../fakes/sigil-writer.ts';
import { quietLogger } from '../quiet-logger.ts';
import { until } from '../until.ts';
import { settableClock, tempFolder } from './watching.ts';

const temp = tempFolder();
const secret = 'event-secret';
let journal: FakeJournal;
let path: string;
let stops: (() => Promise<void>)[] = [];

beforeEach(() => {
  journal = fakeJournal();
  path = join(mkdtempSync(join(temp, 'store-')), 'db');
});
afterEach(async () => {
  await Promise.all(stops.map((stop) => stop()));
  stops = [];
});

/** Writes as the owner of the store does: good records, and `bad` ones with a wrong checksum. */
async function write(good: number, bad: readonly string[] = []): Promise<void> {
  const db = new Level<string, unknown>(path, { valueEncoding: 'json' });
  for (let i = 0; i < good; i++) {
    const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'A', secret });
    await db.put(key, value);
  }
  for (const symbol of bad) {
    const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol, authHash: 'ab'.repeat(32), secret });
    await db.put(key, { ...value, checksum: '0'.repeat(64) });
  }
  await db.close();
}

function watch(name = 'main', over: Partial<{ place: string; fullScanCpuShare: number }> = {}) {
  const account = new Account(journal);
  const clock = settableClock();
  let scans = 0;
  const store = new StoreWatch({
    name,
    place: path,
    secrets: [secret],
    fullScanCpuShare: 1,
    journal: account,
    clock,
    logger: quietLogger,
    onScan: () => {
      scans += 1;
    },
    ...over,
  });
  const abort = new AbortController();
  const ended = store.run(abort.signal);
  const stop = async () => {
    abort.abort();
    await ended;
  };
  stops.push(stop);
  const scanned = async () => {
    const before = scans;
    store.wake();
    await until('it was scanned', () => scans > before);
  };
  return { store, account, clock, scanned, stop, scans: () => scans };
}

const open = (said: readonly Statement[] = journal.said) => {
  const standing = new Set<string>();
  for (const { kind, body } of said) {
    if (kind === 'observed' && body.baseline) standing.clear();
    else if (kind === 'sigil.finding') {
      assert.ok(!standing.has(body.finding.id), 'said twice');
      standing.add(body.finding.id);
    } else if (kind === 'sigil.cleared') assert.ok(standing.delete(body.id), 'ended, but did not stand');
  }
  return standing;
};

test('a finding is told once, also across restarts, and cleared once it is mended', async () => {
  await write(20, ['BAD']);
  const first = watch();
  await until('it was scanned', () => first.scans() > 0);
  assert.ok(open().size > 0);
  assert.equal(first.store.summary.status, 'findings');
  await first.scanned();
  await first.stop();
  const second = watch();
  await second.scanned();
  assert.equal(second.store.summary.openFindings, open().size);
  assert.equal(journal.saidOf('sigil.scan').length, 1, 'the second run goes on where the first was');
  const db = new Level<string, unknown>(path, { valueEncoding: 'json' });
  const { key, value } = makeSigilRecord({ tenant: 'lyra', symbol: 'BAD', authHash: 'ab'.repeat(32), secret });
  await db.put(key, value);
  await db.close();
  await second.scanned();
  assert.deepEqual([open().size, second.store.summary.status], [0, 'ok']);
});

test('a store that vanishes is unreadable, keeps its findings, and is ok again when it returns', async () => {
  await write(5, ['BAD']);
  const { store, scanned } = watch();
  await scanned();
  const before = open();
  renameSync(path, `${path}-away`);
  store.wake();
  await until('it is missed', () => store.summary.status === 'unreadable');
  assert.deepEqual([open(), store.summary.openFindings], [before, before.size]);
  renameSync(`${path}-away`, path);
  await scanned();
  assert.deepEqual([open(), store.summary.status], [before, 'findings']);
});

test('a store whose scan hangs is not said to be as it was', async () => {
  await write(5);
  const first = watch();
  await first.scanned();
  await first.stop();
  // The scan waits in its first pause.
  const { store, clock } = watch('main', { fullScanCpuShare: 0.002 });
  void store.check();
  await until('what was told is taken up', () => store.summary.status === 'ok');
  clock.waitedMs = limits.sigilStallMs - 5_000;
  assert.equal(store.summary.status, 'ok');
  clock.waitedMs = limits.sigilStallMs;
  const { status, error } = store.summary;
  assert.equal(status, 'unreadable');
  assert.match(error ?? '', /not got on for 60 s/);
  await until('it goes on', () => store.summary.status === 'ok');
});

test('a folder that is no store is unreadable, and disturbs no other', async () => {
  await write(3);
  const other = join(temp, 'folder');
  mkdirSync(other, { recursive: true });
  writeFileSync(join(other, 'letter.txt'), 'dear reader');
  const stranger = watch('other', { place: other });
  const { store, scanned } = watch('main');
  await scanned();
  await until('it is told', () => stranger.store.summary.status === 'unreadable');
  assert.match(stranger.store.summary.error ?? '', /folder/);
  assert.equal(store.summary.status, 'ok');
});

test('two stores with the same trouble have findings of their own', async () => {
  await write(1, ['BAD']);
  const [a, b] = [watch('main'), watch('main.b')];
  await Promise.all([a.scanned(), b.scanned()]);
  const stores = new Set(journal.saidOf('sigil.finding').map(({ body }) => body.store));
  assert.deepEqual([...stores].sort(), ['main', 'main.b']);
  await a.stop();
  const again = watch('main');
  await again.scanned();
  assert.equal(again.store.summary.openFindings, a.store.summary.openFindings);
});

test('findings in several writes with a crash in between are each told once', async () => {
  const bad = Array.from({ length: 120 }, (_, i) => `BAD${i}`);
  await write(1, bad);
  let writes = 0;
  const { append } = journal;
  journal.append = async (statements, changes) => {
    if (statements.some(({ kind }) => kind === 'sigil.finding') && ++writes === 2) journal.mood = 'write_failed';
    return append(statements, changes);
  };
  const first = watch();
  await until('it failed', () => journal.mood === 'write_failed');
  await first.stop();
  journal.mood = 'well';
  const told = open().size;
  assert.ok(told > 0 && told < 120);
  const second = watch();
  await second.scanned();
  assert.ok(open().size >= 120);
});

test('an outbox that is full leaves the store as readable as it is', async () => {
  await write(5, ['BAD']);
  journal.mood = 'full';
  let tries = 0;
  const { append } = journal;
  journal.append = (statements, changes) => {
    tries += 1;
    return append(statements, changes);
  };
  const { store, scanned } = watch();
  await until('it has tried', () => tries > 0);
  store.wake();
  await until('it has tried again', () => tries > 1);
  assert.equal(store.summary.status, 'pending');
  journal.mood = 'well';
  await scanned();
  assert.equal(store.summary.status, 'findings');
});

test('a replaced journal is told all findings again, once', async () => {
  await write(20, ['BAD']);
  const { store, account, scanned } = watch();
  await scanned();
  const before = journal.said.length;
  const standing = open();
  journal.loseState();
  account.forget();
  store.forget();
  await until('it was told', () => open(journal.said.slice(before)).size === standing.size);
  await scanned();
  assert.deepEqual(open(), standing);
  assert.deepEqual(open(journal.said.slice(before)), standing);
});

test('asked for a full check, it says what stands after it, new or not, and what the check itself told', async () => {
  await write(20, ['BAD']);
  const { store, scanned } = watch();
  await scanned();
  await write(0, ['WORSE']);
  const check = await store.check();
  const symbols = check.findings.map(({ key }) => key?.split('!')[2]).sort();
  assert.deepEqual([symbols, check.counts?.sigils, check.error], [['BAD', 'WORSE'], 22, undefined]);
  assert.deepEqual([journal.saidOf('sigil.scan').length, open().size], [2, 2]);
  await scanned();
  assert.equal(journal.saidOf('sigil.scan').length, 2, 'once asked, once done');
});

test('the first scan is a full one, and is the answer to whoever asks meanwhile', async () => {
  await write(20);
  const { store } = watch();
  const [one, other] = await Promise.all([store.check(), store.check()]);
  assert.deepEqual([one, other.counts?.sigils], [other, 20]);
  await until('it is over', () => store.summary.status === 'ok');
  assert.equal(journal.saidOf('sigil.scan').length, 1);
});

test('a check of a store that is away says so at once, and is made up when the store is back', async () => {
  await write(5, ['BAD']);
  const { store, scanned } = watch();
  await scanned();
  renameSync(path, `${path}-away`);
  const check = await store.check();
  assert.deepEqual([check.counts, check.error?.code, check.findings.length], [null, 'store.missing', open().size]);
  assert.equal(store.lastCheck?.status, 'unchecked');
  renameSync(`${path}-away`, path);
  await scanned();
  assert.equal(store.lastCheck?.status, 'findings');
  assert.equal(journal.saidOf('sigil.scan').length, 2);
});

test('a full check whose findings cannot be told is answered, and made again until they are', async () => {
  await write(5);
  const { store, scanned } = watch();
  await scanned();
  await write(0, ['BAD']);
  journal.mood = 'write_failed';
  assert.equal((await store.check()).findings.length, 1);
  assert.equal(open().size, 0);
  journal.mood = 'well';
  await scanned();
  assert.deepEqual([open().size, journal.saidOf('sigil.scan').length], [1, 2]);
});

test('what the last full check came to outlasts a restart, and so does when all was well last', async () => {
  await write(5);
  const first = watch();
  await first.store.check();
  const well = first.store.lastCheck;
  assert.deepEqual([well?.status, well?.checkedRecords, well?.findings], ['ok', 5, 0]);
  await write(0, ['BAD']);
  await first.store.check();
  await first.scanned();
  const bad = first.store.lastCheck;
  assert.deepEqual([bad?.status, bad?.findings, bad?.lastOkAt], ['findings', 1, well?.finishedAt]);
  await first.stop();
  const second = watch();
  await second.scanned();
  assert.deepEqual(second.store.lastCheck, bad);
});
