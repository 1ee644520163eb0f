import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sha256 } from './manifest.ts';

/** Of all packages of one version that lie in a folder, in the form of sha256sum. */
export const sumsName = 'SHA256SUMS';

/** Hex SHA-256 of files, by name. */
export type Sums = ReadonlyMap<string, string>;

/** Sorted: however many runs have made them, and in which order, the text is the same. */
export function sumsText(sums: Sums): string {
  const lines = [...sums].map(([name, sum]) => `${sum}  ${name}\n`);
  return lines.sort((a, b) => (a.slice(66) < b.slice(66) ? -1 : 1)).join('');
}

export function readSums(text: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => /^[0-9a-f]{64} {2}\S/.test(line));
  return new Map(lines.map((line) => [line.slice(66), line.slice(0, 64)]));
}

/** What lies beside the packages that a run has made. */
export interface Beside {
  /** Of the same version, and as the list of the run that made them has them. */
  readonly kept: Sums;
  /** By name, why nobody vouches for them. */
  readonly strays: ReadonlyMap<string, string>;
}

/** @param made names that are not looked at: this run has made them */
export async function besideIn(folder: string, version: string, made: Sums): Promise<Beside> {
  const names = (await readdir(folder)).filter((name) => isPackage(name) && !made.has(name)).sort();
  const listed = readSums(await readFile(join(folder, sumsName), 'utf8').catch(() => ''));
  const kept = new Map<string, string>();
  const strays = new Map<string, string>();
  for (const name of names) {
    const sum = listed.get(name);
    if (!isOf(version, name)) strays.set(name, 'it is of another version');
    else if (sum === undefined) strays.set(name, 'no list has named it');
    else if (sum !== sha256(await readFile(join(folder, name)))) strays.set(name, 'it was changed since it was made');
    else kept.set(name, sum);
  }
  return { kept, strays };
}

function isPackage(name: string): boolean {
  return /^sigilwatch-.*\.(?:tar\.gz|deb|cdx\.json)$/.test(name);
}

/** `sigilwatch-agent-1.0.0-linux-x64.tar.gz`, `sigilwatch-agent_1.0.0_amd64.deb` */
function isOf(version: string, name: string): boolean {
  const rest = name.replace(/^sigilwatch-[a-z]+[-_]/, '');
  return rest.startsWith(`${version}-linux-`) || rest.startsWith(`${version}_`);
}
