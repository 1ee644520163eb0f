import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { type Arch, machineOf } from '../../scripts/packaging/arch.ts';
import { programPackages } from '../../scripts/packaging/programs.ts';
import { type ScriptName, scriptText } from '../../scripts/packaging/shell.ts';
import { makeTemporaryFolder } from '../system/leftovers.ts';

/** The scripts of a package, on a package of a few small files and in another root: what they do without the rights of root. */

const folder = makeTemporaryFolder('sigilwatch-install-');
process.once('exit', () => rmSync(folder.path, { recursive: true, force: true }));
const [program] = programPackages;
const name = 'sigilwatch-agent';
const lib = `usr/lib/${name}`;
const arch: Arch = process.arch === 'arm64' ? 'arm64' : 'x64';
const skip = process.platform !== 'linux' && `a package for Linux on ${machineOf[arch]}`;
let made = 0;

async function script(kind: ScriptName, version: string): Promise<string> {
  assert.ok(program?.name === name);
  return scriptText(kind, { program, version, arch, units: [], users: [] });
}

/** An unpacked package, with a blank in its path. */
async function unpacked(version: string, more: Readonly<Record<string, string>> = {}): Promise<string> {
  const at = join(folder.path, `package ${++made}`);
  const files: Record<string, string> = {
    [`usr/bin/${name}`]: '#!/bin/sh\n',
    [`${lib}/bin/node`]: 'a runtime\n',
    [`${lib}/dist/${name}.js`]: `version ${version}\n`,
    [`${lib}/settings/agent.yaml`]: '# defaults\n',
    [`usr/share/doc/${name}/README.md`]: 'read me\n',
    'usr/lib/systemd/system/sigilwatch-agent.service': '[Unit]\n',
    'usr/lib/sysusers.d/sigilwatch-agent.conf': '',
    ...more,
  };
  for (const [path, text] of Object.entries(files)) put(join(at, path), text);
  const lines = Object.entries(files).map(
    ([path, text]) => `${createHash('sha256').update(text).digest('hex')}  ${path}\n`,
  );
  put(join(at, lib, 'manifest'), `# ${name} ${version} linux-${arch}\n${lines.sort().join('')}`);
  for (const kind of ['install', 'uninstall'] as const) {
    writeFileSync(join(at, kind), await script(kind, version), { mode: 0o755 });
  }
  return at;
}

function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

function newRoot(): string {
  const root = join(folder.path, `root ${++made}`);
  mkdirSync(root);
  return root;
}

function install(at: string, root: string, more: readonly string[] = []) {
  const { status, stdout, stderr } = spawnSync(join(at, 'install'), ['--root', root, ...more], { encoding: 'utf8' });
  return { code: status, stdout, stderr };
}

test('a file that the manifest does not name is refused, however it came there', { skip }, async () => {
  const at = await unpacked('0.1.0');
  const manifest = join(at, lib, 'manifest');
  const whole = readFileSync(manifest, 'utf8');
  // Changed, and its line taken out.
  writeFileSync(manifest, whole.replace(/.*dist\/sigilwatch-agent\.js\n/, ''));
  appendFileSync(join(at, lib, `dist/${name}.js`), 'something else\n');
  const root = newRoot();
  const changed = install(at, root);
  assert.equal(changed.code, 4, changed.stderr);
  assert.match(changed.stderr, /usr\/lib\/sigilwatch-agent\/dist\/sigilwatch-agent\.js/);
  // Cut off after its first line: nothing of the package is known then.
  writeFileSync(manifest, whole.slice(0, whole.indexOf('\n') + 1));
  assert.equal(install(at, root).code, 4);
  assert.deepEqual(readdirSync(root), []);
});

test('a link that the manifest does not name, leads elsewhere or is missing is refused', { skip }, async () => {
  const at = await unpacked('0.1.0');
  const manifest = join(at, lib, 'manifest');
  const [path, target] = [`${lib}/bin/the runtime`, 'node'];
  appendFileSync(manifest, `# link ${path} -> ${target}\n`);
  const root = newRoot();
  const refused = (told: RegExp) => {
    const { code, stderr } = install(at, root);
    assert.equal(code, 4, stderr);
    assert.match(stderr, told);
    assert.deepEqual(readdirSync(root), []);
  };
  refused(/links of this package.*\n.*bin\/the runtime -> node/);
  symlinkSync('/etc/passwd', join(at, path));
  refused(/bin\/the runtime -> \/etc\/passwd/);
  rmSync(join(at, path));
  symlinkSync(target, join(at, path));
  symlinkSync('/etc/passwd', join(at, 'usr/lib/systemd/system/other.service'));
  refused(/other\.service -> \/etc\/passwd/);
  rmSync(join(at, 'usr/lib/systemd/system/other.service'));
  const pipe = join(at, lib, 'pipe');
  execFileSync('mkfifo', [pipe]);
  refused(/not named in its manifest.*\n.*\/pipe/);
  rmSync(pipe);
  const { code, stderr } = install(at, root);
  assert.equal(code, 0, stderr);
  assert.equal(readlinkSync(join(root, path)), target);
});

test('what makes no sense on the command line is refused, and nothing is installed', { skip }, async () => {
  const at = await unpacked('0.1.0');
  const root = newRoot();
  for (const args of [['--root'], ['--root', ''], ['--purge'], ['--root', root, 'more']]) {
    const { status, stderr } = spawnSync(join(at, 'install'), args, { encoding: 'utf8' });
    assert.deepEqual([status, /usage: .*--root DIR/.test(stderr)], [2, true], `${args.join(' ')}: ${stderr}`);
  }
  assert.deepEqual(readdirSync(root), []);
});

const noMounts = process.geteuid?.() !== 0 && 'a small file system takes the rights of root';

test('a disk that gets full is left as it was, with one line that says so', { skip: skip || noMounts }, async () => {
  const at = await unpacked(
    '0.1.0',
    Object.fromEntries(Array.from({ length: 20 }, (_, nth) => [`${lib}/dist/${nth}.js`, 'x'.repeat(100_000)])),
  );
  const root = newRoot();
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', root]);
  try {
    const { code, stderr } = install(at, root);
    assert.deepEqual([code, stderr.trim().split('\n').length], [1, 1], stderr);
    assert.match(stderr, /No space left.*nothing was changed/);
    assert.deepEqual(readdirSync(join(root, 'usr/lib')), []);
  } finally {
    execFileSync('umount', [root]);
  }
});

test('an installation that was killed between two renames is ended by the next one', { skip }, async () => {
  const root = newRoot();
  assert.equal(install(await unpacked('0.1.0', { 'usr/bin/sigilwatch-gone': 'of old\n' }), root).code, 0);
  renameSync(join(root, lib), join(root, `${lib}.old`));
  const older = install(await unpacked('0.0.9'), root);
  assert.deepEqual([older.code, /version 0\.1\.0 is installed/.test(older.stderr)], [4, true], older.stderr);
  const newer = install(await unpacked('0.2.0'), root);
  assert.match(newer.stdout, /0\.2\.0 is installed, in place of 0\.1\.0/);
  assert.equal(existsSync(join(root, 'usr/bin/sigilwatch-gone')), false);
  assert.equal(existsSync(join(root, `${lib}.old`)), false);
});

test('a tarball and a .deb each refuse what the other has installed, and take what it has left', { skip }, async () => {
  const root = newRoot();
  assert.equal(install(await unpacked('0.1.0'), root).code, 0);
  const preinst = join(folder.path, 'preinst');
  writeFileSync(preinst, await script('preinst', '0.1.0'), { mode: 0o755 });
  const asDpkg = (...args: string[]) => {
    const { status, stderr } = spawnSync('sh', [preinst, ...args], { encoding: 'utf8', env: { ...process.env, root } });
    return { code: status, stderr };
  };
  const refused = asDpkg('install');
  assert.deepEqual([refused.code, /from a tarball.*uninstall/s.test(refused.stderr)], [4, true], refused.stderr);
  execFileSync(join(root, lib, 'uninstall'), ['--root', root]);
  assert.equal(asDpkg('install').code, 0);
  // Removed, and not purged: dpkg goes on knowing its name.
  put(join(root, `var/lib/dpkg/info/${name}.list`), '/.\n');
  assert.equal(install(await unpacked('0.1.0'), root).code, 0);
  put(join(root, `var/lib/dpkg/info/${name}.list`), `/.\n/${lib}\n/${lib}/manifest\n`);
  assert.equal(install(await unpacked('0.1.0'), root).code, 4);
});
