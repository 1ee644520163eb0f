import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { archivesToDrop, roomToPutTogether, tidyImages } from '../../../agent/airgap/kept-images.ts';
import { isAllThere } from '../../../agent/airgap/missing-images.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';
import { carriedCollector, carriedNode, importAt, newStick } from '../../carried.ts';
import { quietLogger } from '../../quiet-logger.ts';
import { tempFolder } from '../watching.ts';

const dir = tempFolder();
const nowMs = Date.UTC(2026, 5, 1);
const dayMs = 24 * 3_600_000;

const archiveName = (number: number) => `carried-${String(number).padStart(16, '0')}.tar`;
const cameDaysAgo = (...days: readonly number[]) =>
  days.map((day, at) => ({ name: archiveName(at), cameMs: nowMs - day * dayMs }));

test('an archive goes a week after it came, once the engine lacks nothing that is wanted', () => {
  const archives = cameDaysAgo(0, 6.9, 7.1, 400);
  assert.deepEqual(archivesToDrop(archives, { nowMs, isAllThere: true }), [archiveName(2), archiveName(3)]);
  assert.deepEqual(archivesToDrop(archives, { nowMs, isAllThere: false }), []);
});

test('however much is lacking, there are never more than so many: the oldest go', () => {
  const archives = cameDaysAgo(...Array.from({ length: limits.carriedImagesKept + 2 }, (_, day) => day));
  const oldest = [archiveName(limits.carriedImagesKept), archiveName(limits.carriedImagesKept + 1)];
  assert.deepEqual(archivesToDrop(archives.toReversed(), { nowMs, isAllThere: false }), oldest);
});

test('what people have put there stays, and what a crash has left goes', async () => {
  const imagesDir = join(dir, 'images');
  mkdirSync(imagesDir);
  const weekOld = new Date(nowMs - 8 * dayMs);
  for (const name of ['web.tar', 'carried-by-me.tar', archiveName(1), `${archiveName(2)}.unfinished`]) {
    writeFileSync(join(imagesDir, name), name);
    utimesSync(join(imagesDir, name), weekOld, weekOld);
  }
  await tidyImages(imagesDir, { nowMs, isAllThere: true, logger: quietLogger });
  assert.deepEqual(readdirSync(imagesDir).sort(), ['carried-by-me.tar', 'web.tar']);
  await tidyImages(join(dir, 'nowhere'), { nowMs, isAllThere: true, logger: quietLogger });
});

test('an engine that cannot be asked is no engine that has everything', async () => {
  const wanted = [
    { image: 'web:1', imageId: null },
    { image: 'db:1', imageId: 'sha256:d' },
  ];
  const asked: string[] = [];
  const engineWith = (...there: readonly string[]) => ({
    findImage: async (reference: string) => {
      asked.push(reference);
      return there.includes(reference) ? 'sha256:d' : undefined;
    },
  });
  assert.equal(await isAllThere(wanted, engineWith('web:1', 'sha256:d')), true);
  assert.deepEqual(asked, ['web:1', 'sha256:d']);
  assert.equal(await isAllThere(wanted, engineWith('web:1')), false);
  const away = { findImage: () => Promise.reject(new AppError('engine.unreachable', 'away')) };
  assert.equal(await isAllThere(wanted, away), false);
  assert.equal(await isAllThere([], away), true);
});

test('an image in parts takes its room twice while it is put together, and no longer', async () => {
  const collector = carriedCollector(dir);
  const node = carriedNode(dir, collector);
  const stick = newStick(dir);
  const archive = join(dir, 'app.tar');
  const bytes = Buffer.alloc(700_000, 'image');
  writeFileSync(archive, bytes);
  await node.exportTo(stick);
  await importAt(collector, stick, [{ from: 'file', path: archive }]);
  const answer = join(stick, 'return-lyra-000001');
  const sizes = readdirSync(answer).map((name) => (name === 'manifest.json' ? 0 : statSync(join(answer, name)).size));
  const room = sizes.reduce((sum, size) => sum + size, bytes.length);
  await assert.rejects(node.importFrom(stick, { keepFreeBytes: Number.MAX_SAFE_INTEGER }), {
    code: 'state.conflict',
    message: new RegExp(`^the bundle takes ${room} bytes`),
  });
  assert.equal(existsSync(join(node.dataDir, 'images')), false);
  const { images } = await node.importFrom(stick);
  assert.ok(readFileSync(images[0] ?? '').equals(bytes));
  assert.deepEqual(readdirSync(join(node.dataDir, 'carried')).sort(), ['manifest.json', 'messages.jsonl']);
});

test('of several images in parts the largest counts: they are put together one after another', () => {
  const part = (file: string, sizeBytes: number) => ({ file, sizeBytes, sha256: 'ab'.repeat(32), image: 'web' });
  const files = [
    { ...part('messages.jsonl', 900), image: null },
    ...[part('image-001.tar', 10), part('image-001.tar.000002', 5)],
    part('image-002.tar', 700),
    ...[part('image-003.tar', 10), part('image-003.tar.000002', 10)],
  ];
  assert.equal(roomToPutTogether({ files }), 20);
  assert.equal(roomToPutTogether({ files: files.slice(0, 1) }), 0);
});
