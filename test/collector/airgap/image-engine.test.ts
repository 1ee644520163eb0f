import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { withImageEngine } from '../../../collector/airgap/engine-process.ts';

/** Root alone gives itself up on the way; everybody else asks the engine directly. */
const skip = process.getuid?.() === 0 ? false : 'takes root';
const nobody = 65_534;
const mebibyte = 1024 * 1024;

/** In place of the docker command: `old` is unknown to it, `big` has three MiB, and everything's id is who asks. */
const docker = `#!/bin/sh
case "$*" in
  *old) echo 'Error: No such image: old' >&2; exit 1 ;;
  save*big) head -c ${3 * mebibyte} /dev/zero ;;
  save*) printf %s "$*" ;;
  *) id -u ;;
esac
`;

describe('the engine, for a command that has given root up', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'sgw-engine-'));
  const dataDir = join(folder, 'data');
  const path = process.env.PATH;
  before(() => {
    mkdirSync(dataDir);
    chownSync(dataDir, nobody, nobody);
    writeFileSync(join(folder, 'docker'), docker);
    chmodSync(join(folder, 'docker'), 0o755);
    process.env.PATH = `${folder}:${path}`;
  });
  after(() => {
    process.env.PATH = path;
    rmSync(folder, { recursive: true });
  });

  test('is asked as root', async () => {
    assert.equal(await withImageEngine(dataDir, ({ idOf }) => idOf('app:1')), '0');
  });

  test('gives an image in pieces, whole, and one after another', async () => {
    await withImageEngine(dataDir, async ({ save }) => {
      let bytes = 0;
      for await (const piece of save('big')) bytes += piece.length;
      assert.equal(bytes, 3 * mebibyte);
      const pieces: Buffer[] = [];
      for await (const piece of save('app:1')) pieces.push(piece);
      assert.equal(Buffer.concat(pieces).toString(), 'save app:1');
    });
  });

  test('can be left in the middle of an image, and asked again', async () => {
    await withImageEngine(dataDir, async ({ save, idOf }) => {
      for await (const piece of save('big')) {
        assert.ok(piece.length > 0);
        break;
      }
      assert.equal(await idOf('app:1'), '0');
    });
  });

  test('says why it has none, and takes no option for a reference', async () => {
    await withImageEngine(dataDir, async ({ save, idOf }) => {
      const code = 'validation.request';
      await assert.rejects(idOf('old'), { code, message: 'image old: Error: No such image: old' });
      await assert.rejects(save('old').next(), { code, message: 'docker save old: Error: No such image: old' });
      await assert.rejects(idOf('--help'), { code, message: '--help cannot be a reference of an image' });
      assert.equal(await idOf('app:1'), '0');
    });
  });
});
