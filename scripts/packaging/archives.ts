import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { PackagingError } from './failure.ts';
import type { LockedPackage } from './lock.ts';
import { collect } from './tar.ts';

const run = promisify(execFile);
const unzip = promisify(gunzip);
const maxNpmOutputBytes = 64 * 1024 * 1024;

/** A file of a package, by its path in it. */
export interface PackedFile {
  readonly path: string;
  readonly executable: boolean;
  readonly bytes: Buffer;
}

export interface Archives {
  /** What the registry serves of this package, checked against the integrity that is pinned for it. */
  files(wanted: LockedPackage): Promise<readonly PackedFile[]>;
}

/**
 * Has npm put the archives of these packages into `folder`: out of its cache, and from its registry only what is not in it. What is
 * installed in node_modules is not looked at: it has no integrity any more that could be checked.
 * @throws PackagingError naming the packages that cannot be had
 */
export async function fetchArchives(wanted: readonly LockedPackage[], folder: string): Promise<Archives> {
  await mkdir(folder, { recursive: true });
  const specs = [...new Set(wanted.map(({ name, version }) => `${name}@${version}`))].sort();
  const options = ['--prefer-offline', '--ignore-scripts', '--loglevel=error', '--pack-destination', folder];
  try {
    await run('npm', ['pack', ...options, ...specs], { cwd: folder, maxBuffer: maxNpmOutputBytes });
  } catch (thrown) {
    const said = thrown instanceof Error && 'stderr' in thrown ? String(thrown.stderr).trim() : String(thrown);
    throw new PackagingError(`npm could not provide the packages ${specs.join(' ')}:\n${said}`);
  }
  return { files: async (one) => unpack(checked(one, await readFile(join(folder, archiveName(one))))) };
}

/** npm's own rule. */
function archiveName({ name, version }: LockedPackage): string {
  return `${name.replace(/^@/, '').replace('/', '-')}-${version}.tgz`;
}

function checked({ name, version, integrity }: LockedPackage, archive: Buffer): Buffer {
  const found = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
  if (found === integrity) return archive;
  throw new PackagingError(`${name}@${version} is not what is pinned: ${integrity} is expected, and npm gave ${found}`);
}

/** Regular files only: npm's archives hold nothing else. Their first folder has any name. */
async function unpack(archive: Buffer): Promise<PackedFile[]> {
  const files: PackedFile[] = [];
  const entries = extract();
  entries.end(await unzip(archive));
  for await (const entry of entries) {
    const { name, mode = 0, type } = entry.header;
    const bytes = await collect(entry);
    const path = name.slice(name.indexOf('/') + 1);
    if (type === 'file') files.push({ path, executable: (mode & 0o100) !== 0, bytes });
  }
  return files;
}
