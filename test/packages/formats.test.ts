import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { isLater } from '../../common/data-version.ts';
import { arOf } from '../../scripts/packaging/ar.ts';
import { arches } from '../../scripts/packaging/arch.ts';
import { readCommandLine } from '../../scripts/packaging/command-line.ts';
import { PackagingError } from '../../scripts/packaging/failure.ts';
import { closureOf, readLock } from '../../scripts/packaging/lock.ts';
import { requirePlaces } from '../../scripts/packaging/places.ts';
import { programPackages } from '../../scripts/packaging/programs.ts';
import { commandText, type ScriptFacts, type ScriptName, scriptText } from '../../scripts/packaging/shell.ts';
import { tarOf } from '../../scripts/packaging/tar.ts';
import { textFile } from '../../scripts/packaging/tree.ts';

const root = join(import.meta.dirname, '../..');
const scripts: readonly ScriptName[] = ['install', 'uninstall', 'preinst', 'postinst', 'prerm', 'postrm'];

function factsOf(program: ScriptFacts['program']): ScriptFacts {
  return { program, version: '0.1.0', arch: 'x64', units: ['a.service'], users: ['a.conf'] };
}

test('the same entries make the same archives, in whatever order they come', async () => {
  const entries = [textFile('usr/b', 'two'), textFile('usr/a/c', 'one'), { path: 'usr/d', target: 'b' }];
  const [one, other] = [await tarOf(entries, './', 1), await tarOf(entries.toReversed(), './', 1)];
  assert.deepEqual(one, other);
  const listed = execFileSync('tar', ['-tvf', '-', '--numeric-owner', '--utc', '--full-time'], {
    input: one,
    encoding: 'utf8',
  });
  assert.match(listed, /0\/0 +3 1970-01-01 00:00:01 \.\/usr\/a\/c\n/);
  const names = execFileSync('tar', ['-tf', '-'], { input: one, encoding: 'utf8' }).trim().split('\n');
  assert.deepEqual(names, ['./', './usr/', './usr/a/', './usr/a/c', './usr/b', './usr/d']);
});

test('an ar archive has its members at even places', () => {
  const members = ['x', 'yy'].map((text) => ({ name: text, bytes: Buffer.from(text) }));
  const archive = arOf(members, 1).toString('latin1');
  assert.equal(archive.length, 8 + 60 + 2 + 60 + 2);
  assert.equal(archive.indexOf('yy', 8) % 2, 0);
});

describe('scripts', () => {
  for (const program of programPackages) {
    for (const name of scripts) {
      test(`${name} of ${program.name} is whole, and the shell can read it`, async () => {
        const text = await scriptText(name, factsOf(program));
        assert.equal(/@[A-Z]+@|#include/.test(text), false);
        execFileSync('sh', ['-n'], { input: text });
      });
    }
  }

  test('they tell the later of two versions as the programs do', async () => {
    const [program] = programPackages;
    assert.ok(program !== undefined);
    const steps = (await scriptText('prerm', factsOf(program))).replace(/\ncase [\s\S]*$/, '\n');
    const versions = [
      '0.1.0',
      '0.1.1',
      '0.2.0-rc.1',
      '0.2.0',
      '0.10.0',
      '1.0.0',
      '9.9',
      '',
      'x',
      '1.0.0.0',
      '08.0.0',
      '0.09.1',
    ];
    const pairs = versions.flatMap((one) => versions.map((other) => [one, other] as const));
    const asked = pairs.map(([one, other]) => `if later '${one}' '${other}'; then echo 1; else echo 0; fi`);
    const said = execFileSync('sh', ['-c', `${steps}${asked.join('\n')}`], { encoding: 'utf8' });
    const told = said
      .trim()
      .split('\n')
      .map((line) => line === '1');
    assert.deepEqual(
      told,
      pairs.map(([one, other]) => isLater(one, other)),
    );
  });
});

test('a command starts its program with the flags of its own first line, and the Node.js beside it', () => {
  const text = commandText('usr/lib/x', 'x.js', '#!/usr/bin/env -S A=1 node --b --c\nrest');
  assert.equal(text, '#!/bin/sh\nexport A=1\nexec /usr/lib/x/bin/node --b --c /usr/lib/x/dist/x.js "$@"\n');
  assert.throws(() => commandText('usr/lib/x', 'x.js', '#!/bin/node\n'));
});

test('a command with settings goes by those of the machine, unless it is told others', () => {
  const text = commandText('usr/lib/x', 'x.js', '#!/usr/bin/env -S node --b\n', '/etc/sigilwatch/x.yaml');
  assert.equal(
    text,
    '#!/bin/sh\nexport SIGILWATCH_USUAL_CONFIG=/etc/sigilwatch/x.yaml\nexec /usr/lib/x/bin/node --b /usr/lib/x/dist/x.js "$@"\n',
  );
});

test('native packages are those of the machine, on each of them', async () => {
  const lock = await readLock(join(root, 'package-lock.json'));
  for (const arch of arches) {
    const names = closureOf(lock, ['@node-rs/argon2', 'classic-level', 'sodium-native'], arch, ['bare-assert']).map(
      ({ name }) => name,
    );
    assert.ok(names.includes(`@node-rs/argon2-linux-${arch}-gnu`) && names.includes('abstract-level'));
    assert.deepEqual(
      names.filter((name) => /musl|darwin|win32|wasm|bare-assert/.test(name)),
      [],
    );
  }
});

test('a command line that makes no sense is refused', () => {
  assert.deepEqual(readCommandLine(['--arch', 'x64', '--out', 'a', '--key', 'k'], '/from'), {
    arches: ['x64'],
    out: '/from/a',
    key: '/from/k',
  });
  assert.deepEqual(readCommandLine([], '/from'), { arches, out: resolve('dist/packages'), key: undefined });
  for (const odd of [['--arch', 'mips'], ['--no-such'], ['stray']]) assert.equal(readCommandLine(odd, '/'), undefined);
});

test('a key that is not there, and a folder that cannot be made, are told before anything is packed', async () => {
  const place = join(tmpdir(), 'sgw-no-such-key');
  const said = (reason: RegExp) => (thrown: unknown) => thrown instanceof PackagingError && reason.test(thrown.message);
  await assert.rejects(requirePlaces({ out: tmpdir(), key: place }), said(/^--key: ENOENT.*sgw-no-such-key/));
  await assert.rejects(requirePlaces({ out: '/dev/null/out', key: undefined }), said(/^--out: ENOTDIR/));
});
