import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { reportArchive } from '../../../agent/integrity/archive.ts';
import { rfc3339 } from '../../../common/clock.ts';
import { limits } from '../../../common/limits.ts';
import { tempFolder } from '../watching.ts';
import { finding, reportAt } from './reports.ts';

const temp = tempFolder();
const dayMs = 86_400_000;
const begin = Date.parse('2026-01-01T02:00:00.000Z');
const night = (n: number) => begin + n * dayMs;
const freshArchive = (keepDays = 90, keepReports = 100) =>
  reportArchive(mkdtempSync(join(temp, 'data-')), { keepDays, keepReports });

test('what is read back is what was archived, and its digest is that of the file', async () => {
  const archive = freshArchive();
  assert.deepEqual(await archive.ids(), []);
  const report = reportAt(night(0), [finding('a', rfc3339(night(0)))]);
  const sha256 = await archive.add(report);
  const path = join(archive.folder, `${report.id}.json`);
  assert.equal(sha256, createHash('sha256').update(readFileSync(path)).digest('hex'));
  assert.deepEqual(await archive.read(report.id), { report, text: readFileSync(path, 'utf8') });
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(archive.folder).mode & 0o777, 0o700);
});

test('a finding keeps the time of the run that saw it first, also over nights in which it was gone', async () => {
  const archive = freshArchive();
  const [a, b] = [finding('a', rfc3339(night(0))), finding('b', rfc3339(night(1)))];
  await archive.add(reportAt(night(0), [a]));
  await archive.add(reportAt(night(1), [a, b]));
  await archive.add(reportAt(night(2), []));
  const seen = await archive.firstSeen([a.id, b.id, 'c'.repeat(32)]);
  assert.deepEqual(
    [...seen].sort(),
    [
      [a.id, a.firstSeen],
      [b.id, b.firstSeen],
    ].sort(),
  );
});

test('the newest report that lists a finding says since when, and not an older one', async () => {
  const archive = freshArchive();
  await archive.add(reportAt(night(0), [finding('a', rfc3339(night(0)))]));
  await archive.add(reportAt(night(5), [finding('a', rfc3339(night(5)))]));
  assert.equal((await archive.firstSeen([finding('a', '').id])).get(finding('a', '').id), rfc3339(night(5)));
});

test('reports are kept for so many days and no more than so many', async () => {
  const byAge = freshArchive(10, 1_000);
  for (let n = 0; n < 30; n++) await byAge.add(reportAt(night(n)));
  assert.equal((await byAge.ids()).length, 11);
  const byNumber = freshArchive(1_000, 12);
  for (let n = 0; n < 30; n++) await byNumber.add(reportAt(night(n)));
  const left = await byNumber.ids();
  assert.deepEqual([left.length, left.every((id) => id >= '20260119')], [12, true]);
});

test('all reports together take no more than their share of the disk', async () => {
  const archive = freshArchive();
  for (let n = 0; n < 9; n++) await archive.add(reportAt(night(n)));
  const [, , , , , , , eighth = ''] = await archive.ids();
  truncateSync(join(archive.folder, `${eighth}.json`), limits.maxReportArchiveBytes);
  await archive.add(reportAt(night(9)));
  assert.deepEqual([(await archive.ids()).length, (await archive.ids()).includes(eighth)], [8, false]);
});

test('a clock that jumps ahead by ten years does not empty the archive', async () => {
  const archive = freshArchive(10);
  for (let n = 0; n < 9; n++) await archive.add(reportAt(night(n)));
  await archive.add(reportAt(night(3_650)));
  assert.equal((await archive.ids()).length, limits.reportsKeptAnyway);
});

test('torn, foreign and odd files are passed over, and what a crash left is cleared away', async () => {
  const archive = freshArchive();
  const report = reportAt(night(1), [finding('a', rfc3339(night(1)))]);
  await archive.add(report);
  const inFolder = (name: string) => join(archive.folder, name);
  const odd = (n: number) => `${reportAt(night(2)).id.slice(0, -1)}${n}`;
  writeFileSync(inFolder(`${odd(0)}.json`), '{"version":1,"id":');
  writeFileSync(inFolder(`${odd(1)}.json`), JSON.stringify(report));
  writeFileSync(inFolder(`${odd(2)}.json`), '');
  mkdirSync(inFolder(`${odd(3)}.json`));
  execFileSync('mkfifo', [inFolder(`${odd(4)}.json`)]);
  symlinkSync('/dev/zero', inFolder(`${odd(5)}.json`));
  writeFileSync(inFolder('letter.json'), 'dear reader');
  const torn = inFolder(`${report.id}.json.01234567-89ab-cdef-0123-456789abcdef.tmp`);
  writeFileSync(torn, '{"ver');
  for (let n = 0; n < 6; n++) assert.equal(await archive.read(odd(n)), undefined);
  assert.equal(await archive.read('../identity'), undefined);
  assert.equal((await archive.firstSeen([finding('a', '').id])).size, 1);
  await archive.add(reportAt(night(3)));
  assert.ok(!existsSync(torn));
  assert.ok(readdirSync(archive.folder).includes('letter.json'));
  assert.equal((await archive.ids()).length, 8);
});

test('of a run by hand that was never gone on with, nothing stays', async () => {
  const archive = freshArchive();
  await archive.prepare();
  const atMs = night(3);
  const endings = ['progress', 'taking', 'taking.new'];
  for (const [store, agoMs] of [
    ['old', limits.fullScanResumeMs + 1_000],
    ['new', limits.fullScanResumeMs - 1_000],
  ] as const) {
    for (const ending of endings) {
      const path = join(archive.folder, `${store}.run.${ending}`);
      writeFileSync(path, '');
      utimesSync(path, (atMs - agoMs) / 1_000, (atMs - agoMs) / 1_000);
    }
  }
  const report = reportAt(atMs);
  await archive.add(report);
  assert.deepEqual(
    readdirSync(archive.folder).sort(),
    [`${report.id}.json`, ...endings.map((ending) => `new.run.${ending}`)].sort(),
  );
});
