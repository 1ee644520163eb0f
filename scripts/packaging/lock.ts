import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import type { Arch } from './arch.ts';
import { PackagingError } from './failure.ts';

const names = z.record(z.string(), z.string()).default({});

const lockFile = z.object({
  packages: z.record(
    z.string(),
    z.object({
      version: z.string().default(''),
      integrity: z.string().optional(),
      license: z.string().optional(),
      dev: z.boolean().default(false),
      os: z.array(z.string()).optional(),
      cpu: z.array(z.string()).optional(),
      libc: z.array(z.string()).optional(),
      dependencies: names,
      optionalDependencies: names,
    }),
  ),
});

export type Lock = z.infer<typeof lockFile>['packages'];

/** A package at its locked version. */
export interface LockedPackage {
  /** Where npm puts it, such as `node_modules/a/node_modules/@b/c`. */
  readonly place: string;
  readonly name: string;
  readonly version: string;
  /** `sha512-` and base64, of the archive that the registry serves. */
  readonly integrity: string;
  readonly license: string | undefined;
}

const folder = 'node_modules/';

export async function readLock(path: string): Promise<Lock> {
  return lockFile.parse(JSON.parse(await readFile(path, 'utf8'))).packages;
}

/** @throws PackagingError when the lock file does not have it */
export function lockedPackage(lock: Lock, place: string): LockedPackage {
  const found = lock[place];
  if (found?.integrity === undefined) throw new PackagingError(`package-lock.json has no ${place} with an integrity`);
  const { version, integrity, license } = found;
  return { place, name: place.slice(place.lastIndexOf(folder) + folder.length), version, integrity, license };
}

/** Whether npm would install it for our kind of package at all, and on such a machine. */
export function isFor(lock: Lock, place: string, arch: Arch): boolean {
  const found = lock[place];
  if (found === undefined || found.dev) return false;
  const { os = ['linux'], cpu = [arch], libc = ['glibc'] } = found;
  return os.includes('linux') && cpu.includes(arch) && libc.includes('glibc');
}

/** The packages of these names with all that they need on such a machine, sorted by place; without `unused` and what only that needs. */
export function closureOf(
  lock: Lock,
  roots: readonly string[],
  arch: Arch,
  unused: readonly string[],
): LockedPackage[] {
  const found = new Set<string>();
  const visit = (place: string): void => {
    if (found.has(place)) return;
    found.add(place);
    const { dependencies, optionalDependencies } = lock[place] ?? {};
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      if (unused.includes(name)) continue;
      const needed = placeSeenFrom(lock, place, name);
      if (needed !== undefined && isFor(lock, needed, arch)) visit(needed);
    }
  };
  for (const root of roots) visit(`${folder}${root}`);
  return [...found].sort().map((place) => lockedPackage(lock, place));
}

/** Node's own way of looking: next to whoever asks, then one folder further up, until the top. */
function placeSeenFrom(lock: Lock, from: string, name: string): string | undefined {
  for (let base = from; ; base = base.slice(0, Math.max(base.lastIndexOf(`/${folder}`), 0))) {
    const place = base === '' ? folder + name : `${base}/${folder}${name}`;
    if (lock[place] !== undefined) return place;
    if (base === '') return undefined;
  }
}
