import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { collectorCli } from '../../collector-cli.ts';
import type { EngineApi } from '../../engine-api.ts';
import { engineAvailable, startEngine } from '../../engines.ts';
import { jsonLine } from '../../system.ts';
import { oldImage, sha256, tarOf } from '../artifacts/saved-images.ts';

let root: string;
let text: string;
let archive: string;
const image = oldImage();

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-hash-'));
  text = join(root, 'app.txt');
  await writeFile(text, 'app');
  archive = join(root, 'app.tar');
  await writeFile(archive, await tarOf(image.members));
});
after(() => rm(root, { recursive: true, force: true }));

/** Where a settings file or a database, if anybody asked for one, would be nowhere. */
const hash = (...args: readonly string[]) =>
  collectorCli(['artifact', 'hash', ...args], {
    DATABASE_URL: 'no database',
    DOCKER_HOST: `unix://${join(root, 'none.sock')}`,
  });

async function hashOf(...args: readonly string[]) {
  const { code, stdout, stderr } = await collectorCli(['--json', 'artifact', 'hash', ...args]);
  assert.deepEqual([code, stderr], [0, '']);
  return jsonLine(stdout);
}

describe('artifact hash', () => {
  test('says of a file what sha256sum says', async () => {
    const { code, stdout } = await hash(text);
    assert.deepEqual([code, stdout], [0, `sha256:${sha256('app')}  3 bytes  ${text}\n`]);
  });

  test('says of a saved image the id that containers have it by, and of the archive alone on demand', async () => {
    const { stdout } = await hash(archive);
    assert.equal(stdout, `sha256:${image.id}  image of 2 layers (app:1)  ${archive}\n`);
    assert.equal((await hashOf('--as', 'file', archive))?.artifact, `sha256:${sha256(await readFile(archive))}`);
    assert.equal((await hashOf(archive))?.artifact, `sha256:${image.id}`);
  });

  test('takes a tar archive that is no image for a file, unless it is told that it is one', async () => {
    const other = join(root, 'other.tar');
    await writeFile(other, await tarOf([['a.txt', 'a']]));
    assert.equal((await hashOf(other))?.kind, 'file');
    const { code, stderr } = await hash('--as', 'image', other);
    assert.equal(code, 2);
    assert.match(stderr, /other\.tar is no image saved by "docker save"/);
  });

  test('never passes a damaged image off as a file', async () => {
    const damaged = join(root, 'damaged.tar');
    await writeFile(damaged, (await readFile(archive)).subarray(0, 8_192));
    const { code, stdout, stderr } = await hash(damaged);
    assert.deepEqual([code, stdout], [2, '']);
    assert.match(stderr, /damaged\.tar .*"--as file" hashes it as it is/);
  });

  test('writes what the hash of a folder is of, and never over a file', async () => {
    const folder = join(root, 'folder');
    await mkdir(folder);
    await writeFile(join(folder, 'a'), 'a');
    const listing = join(root, 'folder.list');
    const said = await hashOf(folder, '--listing', listing);
    assert.deepEqual([said?.kind, said?.parts, said?.bytes], ['tree', 1, 1]);
    assert.equal(`sha256:${sha256(await readFile(listing))}`, said?.artifact);
    const again = await hash(folder, '--listing', listing);
    assert.equal(again.code, 4);
    assert.match(again.stderr, /folder\.list/);
    assert.equal((await hash(text, '--listing', join(root, 'x'))).code, 2);
  });

  test('refuses what it cannot do, with the reason and its exit code', async () => {
    for (const [args, code, what] of [
      [['--as', 'tarball', text], 2, /'tarball' is invalid\. Allowed choices are file, tree, image/],
      [['--as', 'tree', text], 2, /app\.txt is a file, not a folder/],
      [['--as', 'file', root], 2, /is a folder, not a file/],
      [['--as', 'image', root], 2, /is a folder, not a saved image/],
      [['--as', 'file', join(root, 'none')], 2, /there is no \S+none/],
      [[join(root, 'none')], 2, /there is no file and no image "\S+none" here/],
      [['./none'], 2, /there is no file and no image "\.\/none" here/],
      [['app:1'], 5, /no engine answers at \S+none\.sock/],
      [[], 2, /missing required argument/],
    ] as const) {
      const said = await hash(...args);
      assert.deepEqual([said.code, said.stdout], [code, ''], said.stderr);
      assert.match(said.stderr, what);
    }
  });
});

describe('artifact hash of an image of an engine', () => {
  const available = engineAvailable();
  const real = { skip: available.ok ? false : available.reason };
  let engine: (EngineApi & { readonly socketPath: string; stop(): Promise<void> }) | undefined;
  before(async () => {
    if (available.ok) engine = await startEngine({ name: 'hash', dir: root });
  });
  after(() => engine?.stop());

  test('is its id, and so is that of the archive it saves', real, async () => {
    assert.ok(engine);
    await engine.importImage('built:1');
    const asked = await hashOf('built:1', '--socket', engine.socketPath);
    const saved = join(root, 'built.tar');
    await writeFile(saved, await engine.saveImage('built:1'));
    assert.equal((await hashOf(saved))?.artifact, asked?.artifact);
    await engine.create({ name: 'one', image: `${asked?.artifact}`, cmd: ['/bin/busybox', 'true'] });
  });

  test('is refused where the engine has none', real, async () => {
    assert.ok(engine);
    const { code, stderr } = await hash('missing:1', '--socket', engine.socketPath);
    assert.equal(code, 2);
    assert.match(stderr, /there is no file and no image "missing:1" here/);
    assert.equal((await hash('Not-A-Name', '--socket', engine.socketPath)).code, 2);
  });
});
