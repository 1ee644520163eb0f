import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { dropAbandoned, oneAtATime } from '../../../agent/airgap/turn.ts';
import { dockerEngine } from '../../../collector/airgap/engine.ts';
import { bundleFolders } from '../../../collector/airgap/found.ts';
import { type AskedImage, requireImages } from '../../../collector/airgap/images.ts';
import { importAll } from '../../../collector/airgap/import-all.ts';
import { carriedCollector, carriedNode, importAt, newStick } from '../../carried.ts';
import { tempFolder } from '../watching.ts';

/** What is on a stick that somebody else had in hands, or that is at its end. */

const dir = tempFolder();

function world() {
  const collector = carriedCollector(dir);
  const node = carriedNode(dir, collector);
  return { collector, node, stick: newStick(dir) };
}

const refused = (code: string, message: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof Error && 'code' in thrown, String(thrown));
  assert.equal(thrown.code, code, thrown.message);
  assert.match(thrown.message, message);
  return true;
};

test('a link where a bundle is to be made leads nowhere, and nothing behind it is touched', async () => {
  const { node, stick } = world();
  node.say(3);
  const behind = newStick(dir);
  mkdirSync(join(behind, 'outbox'));
  writeFileSync(join(behind, 'identity.pem'), 'a key\n');
  symlinkSync(behind, join(stick, 'entries-lyra-000001.unfinished'));
  await assert.rejects(node.exportTo(stick), refused('state.conflict', /000001\.unfinished is no folder.*remove it/));
  assert.deepEqual(readdirSync(behind), ['identity.pem', 'outbox']);
});

test('a number that is taken on the stick is passed over, whoever forgot it', async () => {
  const { node, stick } = world();
  node.say(3);
  await node.exportTo(stick);
  const first = readFileSync(join(stick, 'entries-lyra-000001', 'manifest.json'));
  rmSync(join(node.dataDir, 'air-gap.json'));
  assert.equal((await node.exportTo(stick)).number, 2);
  mkdirSync(join(stick, 'entries-lyra-000003'));
  assert.equal((await node.exportTo(stick)).number, 4);
  assert.deepEqual(readFileSync(join(stick, 'entries-lyra-000001', 'manifest.json')), first);
});

test('a pipe in the place of a file is damage, and nobody waits for it', async () => {
  const { collector, node, stick } = world();
  node.say(3);
  await node.exportTo(stick);
  await importAt(collector, stick);
  for (const [bundle, file] of [
    ['entries-lyra-000001', 'part-000001.entries'],
    ['entries-lyra-000001', 'manifest.json'],
    ['return-lyra-000001', 'messages.jsonl'],
    ['return-lyra-000001', 'manifest.json'],
  ] as const) {
    const other = newStick(dir);
    cpSync(stick, other, { recursive: true });
    const path = join(other, bundle, file);
    rmSync(path);
    execFileSync('mkfifo', [path]);
    const took = bundle.startsWith('entries') ? importAt(collector, other) : node.importFrom(other);
    await assert.rejects(took, refused('bundle.damaged', /is no file/));
  }
});

test('an answer that is refused leaves nothing of itself on the node', async () => {
  const { collector, node, stick } = world();
  const archive = join(dir, 'app.tar');
  writeFileSync(archive, Buffer.alloc(700_000, 'image'));
  await node.exportTo(stick);
  await importAt(collector, stick, [{ from: 'file', path: archive }]);
  writeFileSync(join(stick, 'return-lyra-000001', 'image-001.tar'), Buffer.alloc(700_000, 'egami'));
  await assert.rejects(node.importFrom(stick), refused('bundle.damaged', /image-001\.tar/));
  assert.deepEqual(
    readdirSync(node.dataDir).filter((name) => name.startsWith('carried')),
    [],
  );
});

test('images that would take the room of the outbox are not taken in, and an answer without them is', async () => {
  const { collector, node, stick } = world();
  const archive = join(dir, 'web.tar');
  writeFileSync(archive, Buffer.alloc(1000, 'image'));
  node.say(2);
  await node.exportTo(stick);
  await importAt(collector, stick, [{ from: 'file', path: archive }]);
  const keepFreeBytes = Number.MAX_SAFE_INTEGER;
  await assert.rejects(node.importFrom(stick, { keepFreeBytes }), refused('state.conflict', /room.*--image/s));
  assert.equal(existsSync(join(node.dataDir, 'carried.unfinished')), false);
  await importAt(collector, stick);
  assert.equal((await node.importFrom(stick, { keepFreeBytes })).receipts, 2);
});

test('too many parts are told before they are written, and a larger size helps', async () => {
  const { node, stick } = world();
  node.say(950);
  const maxPartBytes = 64 * 1024;
  await assert.rejects(node.exportTo(stick, { maxPartBytes, maxParts: 2 }), refused('validation.request', /larger/));
  const exported = await node.exportTo(stick, { maxPartBytes: 1024 * 1024, maxParts: 2 });
  assert.deepEqual([exported.parts, exported.entries], [1, { first: 1, last: 950 }]);
});

test('a folder that is not there is a mistake of who named it, and no damage', async () => {
  const { collector, node } = world();
  await assert.rejects(
    importAt(collector, join(dir, 'nowhere')),
    refused('validation.request', /nowhere is not there/),
  );
  await assert.rejects(node.importFrom(join(dir, 'nowhere')), refused('validation.request', /nowhere is not there/));
});

test('a manifest of something else beside the bundles keeps none from being found', async () => {
  const { collector, node, stick } = world();
  writeFileSync(join(stick, 'manifest.json'), '{"name":"an app"}\n');
  node.say(2);
  await node.exportTo(stick);
  assert.deepEqual(await importAt(collector, stick), [{ entries: 2, fresh: 2 }]);
  assert.equal((await node.importFrom(stick)).receipts, 2);
});

test('a bundle that is refused keeps no other one of its node from its answer', async () => {
  const { collector, node, stick } = world();
  node.say(2);
  await node.exportTo(stick);
  // Anybody can write a larger number; only the node can sign it.
  const forged = join(stick, 'entries-lyra-000900');
  cpSync(join(stick, 'entries-lyra-000001'), forged, { recursive: true });
  const manifest = join(forged, 'manifest.json');
  writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"number":1,', '"number":900,'));
  const { taken, failed } = await importAll(await bundleFolders(stick), [], collector.ports);
  assert.deepEqual(
    [taken.map(({ answer }) => answer?.returnFolder), failed.map(({ error }) => error.code)],
    [[join(stick, 'return-lyra-000001')], ['bundle.foreign']],
  );
  assert.equal((await node.importFrom(stick)).receipts, 2);
});

test('an answer that cannot be written leaves nothing on the stick', async () => {
  const { collector, node, stick } = world();
  await node.exportTo(stick);
  const gone: AskedImage = { from: 'file', path: join(dir, 'gone.tar') };
  await assert.rejects(
    importAt(collector, stick, [gone]),
    refused('validation.request', /--image-archive .*gone\.tar is not there/),
  );
  assert.deepEqual(readdirSync(stick), ['entries-lyra-000001']);
});

test('an image that cannot be carried is told before anything is taken in', async () => {
  const empty = join(dir, 'empty.tar');
  writeFileSync(empty, '');
  const link = join(dir, 'latest.tar');
  const archive = join(dir, 'real.tar');
  writeFileSync(archive, 'an image');
  symlinkSync(archive, link);
  await requireImages([{ from: 'file', path: link }], dockerEngine);
  for (const [image, message] of [
    [{ from: 'file', path: join(dir, 'gone.tar') }, /gone\.tar is not there/],
    [{ from: 'file', path: dir }, /is no file/],
    [{ from: 'file', path: empty }, /is empty/],
    [{ from: 'engine', reference: '--output=/etc/passwd' }, /cannot be a reference/],
  ] as const) {
    await assert.rejects(requireImages([image], dockerEngine), refused('validation.request', message));
  }
});

test('one export or import at a time', async () => {
  const { node } = world();
  await oneAtATime(node.dataDir, async () => {
    await assert.rejects(
      oneAtATime(node.dataDir, async () => {}),
      refused('state.busy', /another export or import/),
    );
  });
  await oneAtATime(node.dataDir, async () => {});
});

test('what a killed import has left goes with the next start, and what is being brought stays', async () => {
  const { node } = world();
  const left = join(node.dataDir, 'carried.unfinished');
  mkdirSync(left);
  await oneAtATime(node.dataDir, () => dropAbandoned(node.dataDir));
  assert.ok(existsSync(left));
  await dropAbandoned(node.dataDir);
  assert.equal(existsSync(left), false);
  await dropAbandoned(node.dataDir);
});
