import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dockerEngine } from '../../../collector/airgap/engine.ts';
import { askable } from '../../../collector/airgap/images.ts';

const id = (digit: string) => `sha256:${digit.repeat(64)}`;

test('a node gets no image by asking that the manifest does not want there, as it wants it', async () => {
  const wanted = [{ image: 'app:1', imageId: id('a') }];
  const asked = [
    { image: 'secret:1', imageId: null },
    { image: 'app:1', imageId: null },
    { image: 'app:1', imageId: id('b') },
  ];
  const { images, lacking } = await askable(asked, wanted, dockerEngine);
  assert.deepEqual(images, []);
  assert.deepEqual(
    lacking.map(({ reason }) => reason),
    asked.map(() => 'the manifest in force here does not want it on that node'),
  );
});

test('what cannot be a reference is given to no program', async () => {
  const odd = { image: '--help', imageId: null };
  const { images, lacking } = await askable([odd], [odd], dockerEngine);
  assert.deepEqual(images, []);
  assert.match(lacking[0]?.reason ?? '', /cannot be a reference/);
});
