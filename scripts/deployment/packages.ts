import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { isLater } from '../../common/data-version.ts';
import { type Arch, arches } from '../packaging/arch.ts';
import { type ProgramPackage, programPackages } from '../packaging/programs.ts';
import { signatureNamespace } from '../packaging/sign.ts';
import { DeploymentError } from './failure.ts';

const run = promisify(execFile);

/** A tarball whose sum is that of SHA256SUMS. */
export interface Release {
  readonly program: ProgramPackage;
  readonly arch: Arch;
  readonly version: string;
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  /** SHA-256 of the `manifest` in it, by which one sees that this very package is installed. */
  readonly manifest: string;
  /** What nobody has changed yet. */
  readonly defaultSettings: string;
}

export interface Releases {
  /** Who has signed the sums; undefined when nobody was asked for. */
  readonly signedBy: string | undefined;
  /** The latest for a machine as `uname -s -m` names it. @throws DeploymentError when there is none */
  for(name: ProgramPackage['name'], machine: string): Promise<Release>;
}

const sumPattern = /^([0-9a-f]{64}) [ *]([\w.+~-]+)$/;
const machines: Readonly<Record<Arch, string>> = { x64: 'Linux x86_64', arm64: 'Linux aarch64' };

/** @throws DeploymentError when there are no packages, or the signature of their sums is missing or does not count */
export async function openReleases(folder: string, signers: string | undefined): Promise<Releases> {
  const sums = join(folder, 'SHA256SUMS');
  const text = await readFile(sums, 'utf8').catch(() => undefined);
  if (text === undefined) throw new DeploymentError(`${sums} cannot be read; ./scripts/package makes packages`);
  const signedBy = signers === undefined ? undefined : await signerOf(sums, signers);
  const listed = new Map(
    text.split('\n').flatMap((line) => {
      const [, sum, name] = sumPattern.exec(line) ?? [];
      return sum === undefined || name === undefined ? [] : [[name, sum] as const];
    }),
  );
  const names = await readdir(folder);
  const opened = new Map<string, Promise<Release>>();
  return {
    signedBy,
    for: (name, machine) => {
      const arch = arches.find((one) => machines[one] === machine);
      const program = programPackages.find((one) => one.name === name);
      if (arch === undefined || program === undefined) {
        return Promise.reject(new DeploymentError(`there are no packages for ${machine}`));
      }
      const key = `${name} ${arch}`;
      const release = opened.get(key) ?? openRelease(folder, latestOf(names, program, arch), { program, arch, listed });
      opened.set(key, release);
      return release;
    },
  };
}

/** @throws DeploymentError */
async function signerOf(sums: string, signers: string): Promise<string> {
  if (!existsSync(`${sums}.sig`)) throw new DeploymentError(`${sums} is not signed, and --signers asks for it`);
  try {
    const found = await run('ssh-keygen', ['-Y', 'find-principals', '-f', signers, '-s', `${sums}.sig`]);
    const [who = ''] = found.stdout.trim().split('\n');
    const verify = ['-Y', 'verify', '-f', signers, '-I', who, '-n', signatureNamespace, '-s', `${sums}.sig`];
    const verifying = run('ssh-keygen', verify);
    if (verifying.child.stdin !== null) await pipeline(createReadStream(sums), verifying.child.stdin);
    await verifying;
    return who;
  } catch (cause) {
    throw new DeploymentError(`the signature of ${sums} is by nobody in ${signers}, or of other sums`, { cause });
  }
}

interface Latest {
  readonly name: string;
  readonly version: string;
}

export function latestOf(names: readonly string[], program: ProgramPackage, arch: Arch): Latest {
  const start = `${program.name}-`;
  const end = `-linux-${arch}.tar.gz`;
  const found = names
    .filter((name) => name.startsWith(start) && name.endsWith(end))
    .map((name) => ({ name, version: name.slice(start.length, -end.length) }));
  const latest = found.reduce<Latest | undefined>((best, one) => {
    return best === undefined || isLater(one.version, best.version) ? one : best;
  }, undefined);
  if (latest === undefined) throw new DeploymentError(`there is no ${start}VERSION${end} among the packages`);
  return latest;
}

interface Wanted {
  readonly program: ProgramPackage;
  readonly arch: Arch;
  /** Sums by name of file. */
  readonly listed: ReadonlyMap<string, string>;
}

async function openRelease(folder: string, { name, version }: Latest, wanted: Wanted): Promise<Release> {
  const { program, arch, listed } = wanted;
  const file = join(folder, name);
  const sha256 = await sumOf(file);
  if (listed.get(name) !== sha256) {
    throw new DeploymentError(
      listed.has(name)
        ? `${file} is another file than the one whose sum is in SHA256SUMS`
        : `${file} is not listed in SHA256SUMS; ./scripts/package lists what one run has made`,
    );
  }
  const base = `${name.slice(0, -'.tar.gz'.length)}/usr/lib/${program.name}`;
  const [manifest, defaultSettings] = [
    await inTarball(file, `${base}/manifest`),
    await inTarball(file, `${base}/settings/${program.settings}`),
  ];
  const { size: bytes } = await stat(file);
  return { program, arch, version, file, bytes, sha256, manifest: sumOfText(manifest), defaultSettings };
}

export function sumOfText(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

async function sumOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path);
  await pipeline(file.createReadStream(), hash);
  return hash.digest('hex');
}

async function inTarball(file: string, path: string): Promise<string> {
  const { stdout } = await run('tar', ['-xzOf', file, path], { maxBuffer: 16 * 1024 * 1024 });
  return stdout;
}
