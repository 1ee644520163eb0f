import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { createMountedFiles } from '../../../agent/docker/mounted-files.ts';
import { limits } from '../../../common/limits.ts';

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`;
const any = `sha256:${'0'.repeat(64)}`;

let dir: string;
let outside: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sgw-mounted-'));
  outside = mkdtempSync(join(tmpdir(), 'sgw-outside-'));
  writeFileSync(join(outside, 'secret'), 'secret');
});
afterEach(() => {
  for (const one of [dir, outside]) rmSync(one, { recursive: true });
});

/** By a clock that is far ahead, all files have been as they are for long. */
const settled = { now: () => Date.now() + 3_600_000 };
const write = (name: string, text: string) => writeFileSync(join(dir, name), text);

/** What is said of one file in a container that has the folder at /etc/app. */
async function seen(inside: string, files = createMountedFiles({ clock: settled }), volumes = [`${dir}:/etc/app:ro`]) {
  return (await files.look({ [inside]: any }, volumes)).get(inside);
}

describe('the content of a mounted file', () => {
  test('is read behind the mount of its folder, and of the file itself', async () => {
    write('app.conf', 'one');
    assert.equal(await seen('/etc/app/app.conf'), digestOf('one'));
    const own = createMountedFiles({ clock: settled });
    assert.equal(await seen('/etc/x', own, [`${join(dir, 'app.conf')}:/etc/x:rw`]), digestOf('one'));
    assert.equal(await seen('/app.conf', own, [`${dir}:/:rw`]), digestOf('one'));
  });

  test('is that behind the deepest mount above it', async () => {
    mkdirSync(join(dir, 'deep'));
    write('x', 'upper');
    write('deep/x', 'lower');
    const volumes = [`${dir}:/a:rw`, `${join(dir, 'deep')}:/a/b:rw`, 'data:/a/v:rw'];
    const files = createMountedFiles({ clock: settled });
    assert.equal(await seen('/a/x', files, volumes), digestOf('upper'));
    assert.equal(await seen('/a/b/x', files, volumes), digestOf('lower'));
    assert.equal(await seen('/a/v/x', files, volumes), 'in a volume, which is not looked into');
    assert.equal(await seen('/ab/x', files, volumes), 'not mounted from the node');
  });

  test('is null for a file that is not there', async () => {
    assert.equal(await seen('/etc/app/none'), null);
    assert.equal(await seen('/etc/app/none/deeper'), null);
  });

  test('may be as large as the limit, and no byte larger', async () => {
    write('large', '');
    truncateSync(join(dir, 'large'), limits.maxMountedFileBytes);
    assert.match((await seen('/etc/app/large')) ?? '', /^sha256:/);
    truncateSync(join(dir, 'large'), limits.maxMountedFileBytes + 1);
    assert.equal(await seen('/etc/app/large'), `larger than ${limits.maxMountedFileBytes} bytes`);
  });
});

describe('nothing outside of the mount is ever read', () => {
  const linked = 'a symbolic link is in its path';

  test('through a link in place of the file, or of a folder above it', async () => {
    symlinkSync(join(outside, 'secret'), join(dir, 'link'));
    symlinkSync(outside, join(dir, 'folder'));
    assert.equal(await seen('/etc/app/link'), linked);
    assert.equal(await seen('/etc/app/folder/secret'), linked);
  });

  test('but the source of the mount may be a link, which the engine has followed, too', async () => {
    symlinkSync(outside, join(dir, 'source'));
    const files = createMountedFiles({ clock: settled });
    assert.equal(await seen('/x/secret', files, [`${join(dir, 'source')}:/x:ro`]), digestOf('secret'));
  });

  test('nor is anything opened that is no regular file', async () => {
    execFileSync('mkfifo', [join(dir, 'pipe')]);
    mkdirSync(join(dir, 'folder'));
    for (const name of ['pipe', 'folder']) assert.equal(await seen(`/etc/app/${name}`), 'not a regular file');
    assert.equal(await seen('/dev/x', undefined, ['/dev/zero:/dev/x:rw']), 'not a regular file');
  });
});

describe('a file is read again', () => {
  const past = new Date('2020-01-01T00:00:00Z');
  const backdate = () => utimesSync(join(dir, 'app.conf'), past, past);
  const changedNs = () => statSync(join(dir, 'app.conf'), { bigint: true }).ctimeNs;

  test('when it was changed so lately that its times may not tell', async () => {
    const files = createMountedFiles({ clock: { now: Date.now } });
    for (const text of ['one', 'two', 'six']) {
      write('app.conf', text);
      assert.equal(await seen('/etc/app/app.conf', files), digestOf(text));
    }
  });

  test('when anything about it has changed, also when its time was set back and its size is the same', async () => {
    const files = createMountedFiles({ clock: settled });
    write('app.conf', 'one');
    backdate();
    const before = changedNs();
    assert.equal(await seen('/etc/app/app.conf', files), digestOf('one'));
    // The kernel's clock moves on every few milliseconds.
    while (changedNs() === before) {
      write('app.conf', 'two');
      backdate();
    }
    assert.equal(await seen('/etc/app/app.conf', files), digestOf('two'));
    write('next', 'six');
    renameSync(join(dir, 'next'), join(dir, 'app.conf'));
    assert.equal(await seen('/etc/app/app.conf', files), digestOf('six'));
    rmSync(join(dir, 'app.conf'));
    assert.equal(await seen('/etc/app/app.conf', files), null);
  });
});

test('a file that has been the same for long enough is not read again', async () => {
  write('large', '');
  truncateSync(join(dir, 'large'), limits.maxMountedFileBytes);
  const files = createMountedFiles({ clock: settled });
  const bytesRead = async () => {
    const before = charactersRead();
    await seen('/etc/app/large', files);
    return charactersRead() - before;
  };
  assert.ok((await bytesRead()) >= limits.maxMountedFileBytes);
  assert.ok((await bytesRead()) < limits.maxMountedFileBytes);
});

/** Of this process, by the kernel's account. */
function charactersRead(): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
}

test('several containers may have one file, and one look serves them all', async () => {
  write('app.conf', 'one');
  const files = createMountedFiles({ clock: settled });
  const looks = Array.from({ length: 20 }, () => seen('/etc/app/app.conf', files));
  assert.deepEqual(new Set(await Promise.all(looks)), new Set([digestOf('one')]));
});

test('a look that takes too long keeps one comparison waiting, and says so', async () => {
  write('app.conf', 'one');
  const files = createMountedFiles({ clock: settled, timeoutMs: 0 });
  write('large', '');
  truncateSync(join(dir, 'large'), limits.maxMountedFileBytes);
  assert.equal(await seen('/etc/app/large', files), 'not read in time');
});
