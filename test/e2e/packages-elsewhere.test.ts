import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { version } from '../../common/version.ts';
import { type Arch, arches, debianArch } from '../../scripts/packaging/arch.ts';
import { type Built, packagesOf, partsOf } from '../../scripts/packaging/build.ts';
import { debOf } from '../../scripts/packaging/formats.ts';
import { readLock } from '../../scripts/packaging/lock.ts';
import { type ProgramPackage, programPackages } from '../../scripts/packaging/programs.ts';
import { isFile } from '../../scripts/packaging/tree.ts';
import { which } from '../packages/machine.ts';
import { asksForGlibc, elfMachine, elfMachines, nativeFiles } from '../packages/native.ts';
import { openWorkshop, ownArch, packagedSeconds, quickly, type Workshop } from '../packages/packaged.ts';
import { makeTemporaryFolder } from '../system/leftovers.ts';
import { projectRoot } from '../system/program.ts';

/** Packages for the kind of machine that this is not: made here, looked at, and started where it can be emulated. */
const run = promisify(execFile);
const other: Arch = arches.find((arch) => arch !== ownArch) ?? 'arm64';
const long = process.env.SIGILWATCH_TEST_LONG === '1';

/** Of qemu-user-static, and where Debian puts the C libraries of the other machine (libc6-arm64-cross and the like). */
const emulators = { arm64: 'qemu-aarch64-static', x64: 'qemu-x86_64-static' } as const;
const libraries = { arm64: '/usr/aarch64-linux-gnu', x64: '/usr/x86_64-linux-gnu' } as const;
const [emulator, library] = [which(emulators[other]), libraries[other]];
const unemulated =
  emulator === undefined || !existsSync(join(library, 'lib/libstdc++.so.6'))
    ? `no ${emulators[other]} with libraries`
    : false;

const openAStore = `
  const { createRequire } = require('node:module');
  const { ClassicLevel } = createRequire(process.argv[1] + '/')('classic-level');
  const store = new ClassicLevel(process.argv[2]);
  store.open().then(() => store.put('a', '1')).then(() => store.get('a')).then((a) => console.log(process.arch, a));`;

for (const program of programPackages) {
  test(`${program.name}: for ${other} there is all that there is for ${ownArch}`, async () => {
    const lock = await readLock(join(projectRoot, 'package-lock.json'));
    const namesFor = async (arch: Arch) => {
      const parts = await partsOf({ root: projectRoot, lock, version, seconds: packagedSeconds }, program, arch);
      return packagesOf(parts).map(({ name }) => name.replace(arch, 'ARCH'));
    };
    const names = await namesFor(other);
    assert.ok(names.includes('node-linux-ARCH') && names.length > 1, names.join());
    assert.deepEqual(names, await namesFor(ownArch));
  });
}

/** Takes a runtime of 50 MB that nothing else needs. */
function lookAtPackages(): void {
  const folder = makeTemporaryFolder('sigilwatch-elsewhere-');
  let workshop: Workshop;
  before(async () => {
    workshop = await openWorkshop(join(folder.path, 'archives'), other);
  });
  after(() => folder.remove());

  for (const program of programPackages) {
    test(`${program.name}: every native file is for that machine, and no newer a C library is asked for than is said`, async () => {
      const native = nativeFiles((await workshop.build(program)).entries);
      assert.ok(native.length >= 3);
      for (const { path, bytes } of native) {
        assert.equal(elfMachine(bytes), elfMachines[other], path);
        if (!path.endsWith('/sodium-native.node')) assert.ok(asksForGlibc(bytes) <= 28, path);
      }
    });

    test(`${program.name}: the .deb says which machine it is for`, {
      skip: which('dpkg-deb') === undefined,
    }, async () => {
      const { name, bytes } = await debOf(await workshop.build(program), packagedSeconds, quickly);
      const file = join(folder.path, name);
      writeFileSync(file, bytes);
      const { stdout } = await run('dpkg-deb', ['--field', file, 'Architecture']);
      assert.equal(stdout.trim(), debianArch[other]);
    });

    test(`${program.name}: starts, by its own Node.js, on an emulated machine`, { skip: unemulated }, async () => {
      const base = place(await workshop.build(program), program);
      const emulate = (args: readonly string[]) =>
        run(emulator ?? '', ['-L', library, join(base, 'bin/node'), ...args], { encoding: 'utf8' });
      const { stdout } = await emulate([join(base, 'dist', `${program.name}.js`), '--version']);
      assert.equal(stdout.trim(), version);
      if (program.name !== 'sigilwatch-agent') return;
      const opened = await emulate(['-e', openAStore, join(base, 'dist'), join(folder.path, 'store')]);
      assert.equal(opened.stdout.trim(), `${other} 1`);
    });
  }

  /** @returns the folder of the program */
  function place({ entries }: Built, program: ProgramPackage): string {
    const root = join(folder.path, program.name);
    for (const { path, mode, bytes } of entries.filter(isFile)) {
      const to = join(root, path);
      mkdirSync(dirname(to), { recursive: true });
      writeFileSync(to, bytes);
      chmodSync(to, mode);
    }
    return join(root, 'usr/lib', program.name);
  }
}

if (long) describe(`packages for ${other}`, lookAtPackages);
