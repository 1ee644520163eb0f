import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { treeText } from '../../../collector/artifacts/artifact.ts';
import { findFile, hashFile, hashTree } from '../../../collector/artifacts/fs-tree.ts';
import { limits } from '../../../common/limits.ts';
import { sha256 } from './saved-images.ts';

let root: string;
let tree: string;

before(async () => {
  root = await mkdtemp(join(tmpdir(), 'sigilwatch-artifacts-'));
});
after(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  tree = await mkdtemp(join(root, 'tree-'));
  await mkdir(join(tree, 'bin'));
  await writeFile(join(tree, 'bin/run'), 'test', { mode: 0o755 });
  await writeFile(join(tree, 'a b%.txt'), '');
  await symlink('bin/run', join(tree, 'start'));
});

const hash = async (path = tree) => (await hashTree(path, () => {})).artifact.sha256;

test('a tree is known by the hash of its listing, which anybody can make', async () => {
  const { artifact, text } = await hashTree(tree, () => {});
  assert.deepEqual(text.split('\n'), [
    'sigilwatch-tree/v1',
    `file ${sha256('')} 0 a%20b%25.txt`,
    'dir - - bin',
    `exe ${sha256('test')} 4 bin/run`,
    `link ${sha256('bin/run')} 7 start`,
    '',
  ]);
  assert.deepEqual(artifact, { kind: 'tree', sha256: sha256(text), bytes: 4, parts: 2, tags: [] });
});

test('names that are no text, or hold line ends, cannot make two trees look like one', () => {
  const entry = { type: 'file' as const, sha256: sha256(''), bytes: 0 };
  const nasty = Buffer.from(`a\nfile ${sha256('')} 0 b`, 'latin1');
  const one = treeText([{ ...entry, path: nasty }]);
  const two = treeText([
    { ...entry, path: Buffer.from('a') },
    { ...entry, path: Buffer.from('b') },
  ]);
  assert.notEqual(one, two);
  assert.equal(one.split('\n').length, 3);
  const bytes = [Buffer.of(0xff), Buffer.of(0xfe), Buffer.from('\uFFFD')];
  assert.equal(new Set(bytes.map((path) => treeText([{ ...entry, path }]))).size, bytes.length);
});

describe('the same build has the same hash', () => {
  test('wherever it lies, whenever it was made, whatever the rights of others', async () => {
    const known = await hash();
    const moved = join(root, 'moved');
    await rename(tree, moved);
    await chmod(join(moved, 'bin/run'), 0o700);
    await chmod(join(moved, 'a b%.txt'), 0o600);
    await utimes(join(moved, 'bin/run'), 1, 1);
    assert.equal(await hash(moved), known);
    assert.equal(await hash(`${moved}/`), known);
  });

  test('after it was packed and unpacked, in another order', async () => {
    const copy = await mkdtemp(join(root, 'copy-'));
    const tar = execFileSync('tar', ['-C', tree, '-c', 'start', 'bin', 'a b%.txt']);
    execFileSync('tar', ['-C', copy, '-x'], { input: tar });
    assert.equal(await hash(copy), await hash());
  });
});

describe('whatever changes a build changes its hash', () => {
  const changes: Readonly<Record<string, () => Promise<unknown>>> = {
    'a byte': () => writeFile(join(tree, 'bin/run'), 'tesT'),
    'a name': () => rename(join(tree, 'start'), join(tree, 'begin')),
    'the right to run it': () => chmod(join(tree, 'bin/run'), 0o644),
    'a file less': () => rm(join(tree, 'a b%.txt')),
    'an empty folder more': () => mkdir(join(tree, 'empty')),
    'where a link leads': async () => {
      await rm(join(tree, 'start'));
      await symlink('bin/ran', join(tree, 'start'));
    },
    'a file for a link to the same': async () => {
      await rm(join(tree, 'start'));
      await writeFile(join(tree, 'start'), 'bin/run');
    },
  };
  for (const [what, change] of Object.entries(changes)) {
    test(what, async () => {
      const known = await hash();
      await change();
      assert.notEqual(await hash(), known);
    });
  }
});

describe('what has no hash is refused by name', () => {
  const refused = (code: string, what: RegExp) => ({ code, message: what });

  test('a pipe, which nobody may ever write to', async () => {
    execFileSync('mkfifo', [join(tree, 'bin/pipe')]);
    await assert.rejects(hash(), refused('validation.request', /bin\/pipe is neither a file, a folder nor a link/));
    await assert.rejects(findFile(join(tree, 'bin/pipe')), refused('validation.request', /pipe is neither/));
  });

  test('a file that grows while it is read', async () => {
    const log = join(tree, 'log');
    await writeFile(log, Buffer.alloc(2 * limits.artifactReadBytes));
    const growing = hashFile(log, () => appendFileSync(log, 'x'));
    await assert.rejects(growing, refused('state.conflict', /log changed while it was read/));
  });

  test('what is not there', async () => {
    await assert.rejects(
      hashFile(join(tree, 'nothing'), () => {}),
      refused('validation.request', /nothing: ENOENT/),
    );
    assert.equal(await findFile(join(tree, 'nothing')), undefined);
    assert.equal(await findFile(join(tree, 'a b%.txt/below')), undefined);
  });
});

test('progress ends with as many bytes as there are', async () => {
  await writeFile(join(tree, 'big'), Buffer.alloc(3 * limits.artifactReadBytes + 5));
  const seen: [number, number][] = [];
  const { artifact } = await hashTree(tree, (bytes, of) => void seen.push([bytes, of]));
  assert.deepEqual(seen.at(-1), [artifact.bytes, artifact.bytes]);
  assert.ok(seen.length >= 4);
});
