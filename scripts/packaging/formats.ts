import { createHash } from 'node:crypto';
import { arOf } from './ar.ts';
import { debianArch } from './arch.ts';
import type { Built } from './build.ts';
import type { Compress } from './compress.ts';
import { type ScriptName, scriptText } from './shell.ts';
import { tarOf } from './tar.ts';
import { isFile, programMode, type TreeEntry, textFile } from './tree.ts';

/** A file to be handed out. */
export interface Product {
  readonly name: string;
  readonly bytes: Buffer;
}

/** `NAME-VERSION-linux-ARCH.tar.gz`: the tree of the machine with `install` and `uninstall` beside it. */
export async function tarballOf({ facts, entries }: Built, seconds: number, compress: Compress): Promise<Product> {
  const folder = `${facts.program.name}-${facts.version}-linux-${facts.arch}`;
  const scripts = (['install', 'uninstall'] as const).map(async (name) =>
    textFile(name, await scriptText(name, facts), programMode),
  );
  const tar = await tarOf([...entries, ...(await Promise.all(scripts))], `${folder}/`, seconds);
  return { name: `${folder}.tar.gz`, bytes: await compress(tar) };
}

/** `NAME_VERSION_ARCH.deb`, as deb(5) has it. */
export async function debOf(built: Built, seconds: number, compress: Compress): Promise<Product> {
  const { facts, defaultSettings } = built;
  const { program, version, arch } = facts;
  const settings = `etc/sigilwatch/${program.settings}`;
  const data = [...built.entries, textFile(settings, defaultSettings, 0o640)];
  const scripts: readonly ScriptName[] = ['preinst', 'postinst', 'prerm', 'postrm'];
  const control = [
    textFile('control', controlText(built, data)),
    textFile('conffiles', `/${settings}\n`),
    textFile('md5sums', md5sums(data)),
    ...(await Promise.all(scripts.map(async (name) => textFile(name, await scriptText(name, facts), programMode)))),
  ];
  const members = [
    { name: 'debian-binary', bytes: Buffer.from('2.0\n') },
    { name: 'control.tar.gz', bytes: await compress(await tarOf(control, './', seconds)) },
    { name: 'data.tar.gz', bytes: await compress(await tarOf(data, './', seconds)) },
  ];
  return { name: `${program.name}_${version}_${debianArch[arch]}.deb`, bytes: arOf(members, seconds) };
}

/** Node.js asks for the C library of this version, and for that of C++. */
const depends = 'libc6 (>= 2.28), libstdc++6, libgcc-s1';
const recommends = 'git, openssh-client';

function controlText({ facts: { program, version, arch } }: Built, data: readonly TreeEntry[]): string {
  const bytes = data.reduce((sum, entry) => sum + (isFile(entry) ? entry.bytes.length : 0), 0);
  return [
    `Package: ${program.name}`,
    // A pre-release comes before its release, which dpkg says with a tilde.
    `Version: ${version.replace('-', '~')}`,
    `Architecture: ${debianArch[arch]}`,
    'Maintainer: Sigilwatch <sigilwatch@localhost>',
    `Installed-Size: ${Math.ceil(bytes / 1024)}`,
    `Depends: ${depends}`,
    `Recommends: ${recommends}`,
    'Section: admin',
    'Priority: optional',
    `Description: Sigilwatch ${program.name.replace('sigilwatch-', '')}: ${program.summary}`,
    ' Brings its own Node.js, and needs no network to be installed.',
    '',
  ].join('\n');
}

/** For `dpkg --verify`. Settings are not in it: they are meant to be changed. */
function md5sums(data: readonly TreeEntry[]): string {
  const files = data.filter(isFile).filter(({ path }) => !path.startsWith('etc/'));
  return files.map(({ path, bytes }) => `${createHash('md5').update(bytes).digest('hex')}  ${path}\n`).join('');
}
