import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { hashSavedImage, NotAnImage } from '../../../collector/artifacts/saved-image.ts';
import { limits } from '../../../common/limits.ts';
import { type Members, ociImage, oldImage, tarOf } from './saved-images.ts';

const hash = (bytes: Buffer) => hashSavedImage(Readable.from(piecesOf(bytes)), 'app.tar', () => {});

/** As a disk or a socket might give it. */
function* piecesOf(bytes: Buffer) {
  for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
}

const refused = (what: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof Error && 'code' in thrown);
  assert.equal(thrown.code, 'validation.request');
  assert.match(thrown.message, what);
  return true;
};

function changed(members: Members, name: RegExp, change: (content: Buffer) => Buffer): Members {
  const at = members.findIndex(([path]) => name.test(path));
  assert.notEqual(at, -1);
  return members.map(([path, content], index) => {
    if (index !== at) return [path, content];
    assert.ok(typeof content === 'string' || Buffer.isBuffer(content));
    return [path, change(Buffer.from(content))];
  });
}

function flipped(content: Buffer): Buffer {
  content.writeUInt8(content.readUInt8(content.length >> 1) ^ 1, content.length >> 1);
  return content;
}

describe('a saved image is known by its id, which stands for all of its content', () => {
  for (const [layout, image] of [
    ['old', oldImage()],
    ['OCI, compressed', ociImage()],
    ['OCI', ociImage((layer) => layer)],
  ] as const) {
    test(`in the layout: ${layout}`, async () => {
      const bytes = await tarOf(image.members);
      const artifact = await hash(bytes);
      assert.deepEqual([artifact.kind, artifact.sha256, artifact.parts], ['image', image.id, 2]);
      assert.ok(artifact.bytes <= bytes.length && artifact.bytes >= bytes.length - 1_024);
    });

    test(`and a changed byte in any layer is found (${layout})`, async () => {
      for (const [path] of image.members.filter(([path]) => /layer\.tar|blobs/.test(path))) {
        const members = changed(image.members, new RegExp(`^${path}$`), flipped);
        await assert.rejects(hash(await tarOf(members)), refused(/app\.tar is damaged: .*/));
      }
    });
  }

  test('whatever the order of its members, and with layers that are links to others', async () => {
    const { id, members } = oldImage([Buffer.from('same'), Buffer.from('same')]);
    const linked: Members = members.map(([path, content]) =>
      path === 'folder1/layer.tar' ? [path, { link: '../folder0/layer.tar' }] : [path, content],
    );
    assert.equal((await hash(await tarOf([...linked].reverse()))).sha256, id);
  });
});

describe('what is not what an id stands for is refused', () => {
  const { members } = oldImage();

  test('a configuration that names other layers, under the name of the old one', async () => {
    const other = oldImage([Buffer.from('mine'), Buffer.from('too')]);
    const [, config] = other.members[0] ?? assert.fail();
    const swapped: Members = members.map(([path, content], at) => [path, at === 0 ? config : content]);
    await assert.rejects(hash(await tarOf(swapped)), refused(/is not what its name says/));
  });

  test('a layer too few, and one that is missing', async () => {
    const fewer = changed(members, /^manifest/, (json) => {
      return Buffer.from(json.toString().replace(',"folder1/layer.tar"', ''));
    });
    await assert.rejects(hash(await tarOf(fewer)), refused(/1 layers, and 2 in its configuration/));
    const gone = members.filter(([path]) => path !== 'folder1/layer.tar');
    await assert.rejects(hash(await tarOf(gone)), refused(/it has no folder1\/layer\.tar/));
  });

  test('a member that is there twice, since the last one would count elsewhere', async () => {
    const twice: Members = [...members, ['./manifest.json', '[]']];
    await assert.rejects(hash(await tarOf(twice)), refused(/holds manifest\.json twice/));
  });

  test('links that go round in a circle', async () => {
    const round: Members = [
      ...members.filter(([path]) => !path.startsWith('folder')),
      ['folder0/layer.tar', { link: '../folder1/layer.tar' }],
      ['folder1/layer.tar', { link: '../folder0/layer.tar' }],
    ];
    await assert.rejects(hash(await tarOf(round)), refused(/it has no folder0\/layer\.tar/));
  });

  test('several images at once, by their tags', async () => {
    const two = changed(members, /^manifest/, (json) => {
      const [image] = JSON.parse(json.toString());
      return Buffer.from(JSON.stringify([image, { ...image, RepoTags: ['b:2'] }]));
    });
    await assert.rejects(hash(await tarOf(two)), refused(/holds 2 images \(app:1, b:2\): save one image at a time/));
  });

  test('a layer whose compression cannot be undone here', async () => {
    const { members: oci } = ociImage((layer) => Buffer.concat([Buffer.of(0x28, 0xb5, 0x2f, 0xfd), layer]));
    await assert.rejects(hash(await tarOf(oci)), refused(/compressed by zstd/));
  });

  test('a layer that is gzip at its beginning only', async () => {
    const { members: oci } = ociImage((layer) => Buffer.concat([Buffer.of(0x1f, 0x8b, 8, 0), layer]));
    await assert.rejects(hash(await tarOf(oci)), refused(/is not the layer/));
  });

  test('an archive that was cut off, at any block of it', async () => {
    const bytes = await tarOf(members);
    for (let at = 512; at < bytes.length - 1_024; at += 512) {
      await assert.rejects(hash(bytes.subarray(0, at)), refused(/tar archive|damaged/));
    }
  });

  test('a configuration or a manifest too long to be one', async () => {
    const long = Buffer.concat([Buffer.alloc(limits.maxImageJsonBytes, ' '), Buffer.from('[]')]);
    const huge = changed(members, /^manifest/, () => long);
    await assert.rejects(hash(await tarOf(huge)), refused(/manifest\.json is not what it should be/));
  });
});

test('a tar archive that is no image says so in a way that can be told from damage', async () => {
  await assert.rejects(hash(await tarOf([['a.txt', 'a']])), NotAnImage);
});
