import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missingImages } from '../../../agent/airgap/missing-images.ts';
import { imageParts, type ReturnedFile } from '../../../common/bundle/manifest.ts';
import { AppError } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';

const pinnedTo = `sha256:${'a'.repeat(64)}`;
const has = (...references: readonly string[]) => ({
  findImage: async (reference: string) => (references.includes(reference) ? pinnedTo : undefined),
});

test('what is wanted and not there is asked for once, a pinned image by its id whatever its name stands for', async () => {
  const web = { image: 'web:1', imageId: null };
  const pinned = { image: 'app:1', imageId: pinnedTo };
  assert.deepEqual(await missingImages([web, web, pinned], has('app:1')), [web, pinned]);
  assert.deepEqual(await missingImages([web, pinned], has('web:1', pinnedTo)), []);
});

test('where the engine cannot be asked nothing is asked for, and of very many images the first ones', async () => {
  const findImage = () => Promise.reject(new AppError('engine.unreachable', 'away'));
  assert.deepEqual(await missingImages([{ image: 'web:1', imageId: null }], { findImage }), []);
  const many = Array.from({ length: limits.maxBundleImages + 1 }, (_, at) => ({ image: `app:${at}`, imageId: null }));
  assert.equal((await missingImages(many, has())).length, limits.maxBundleImages);
});

test('parts of an archive follow each other, and one that is missing is found', () => {
  const file = (name: string, image: string | null = 'app:1'): ReturnedFile => ({
    ...{ file: name, sizeBytes: 1, sha256: 'a'.repeat(64), image },
  });
  const names = (files: readonly ReturnedFile[]) =>
    imageParts({ files: [file('messages.jsonl', null), ...files] }).map((parts) => parts.map((part) => part.file));
  const [first, second, third] = ['image-001.tar', 'image-001.tar.000002', 'image-001.tar.000003'];
  assert.deepEqual(names([file(first), file(second), file(third), file('image-002.tar')]), [
    [first, second, third],
    ['image-002.tar'],
  ]);
  for (const wrong of [[second], [first, third], [first, second, second], ['image-002.tar', second]]) {
    assert.throws(() => names(wrong.map((name) => file(name))), { code: 'bundle.damaged' });
  }
});
