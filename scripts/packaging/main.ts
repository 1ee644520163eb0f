/**
 * `node --import tsx scripts/packaging/main.ts [options]`, with `dist/` built: makes the packages of both programs. Exit code 0 when
 * all of them are there, 1 when something kept them from being made, 2 for a command line that makes no sense.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { version } from '../../common/version.ts';
import { type Arch, isArch } from './arch.ts';
import type { Archives } from './archives.ts';
import { build, fetchParts, type Parts, partsOf, type Sources } from './build.ts';
import { type CommandLine, readCommandLine, usage } from './command-line.ts';
import { type Compress, compressWith } from './compress.ts';
import { PackagingError } from './failure.ts';
import { debOf, type Product, tarballOf } from './formats.ts';
import { readLock } from './lock.ts';
import { sha256 } from './manifest.ts';
import { requirePlaces } from './places.ts';
import { type ProgramPackage, programPackages } from './programs.ts';
import { runtimeFor } from './runtime.ts';
import { signerOf, signFile } from './sign.ts';
import { besideIn, type Sums, sumsName, sumsText } from './sums.ts';

const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The time of everything in the packages: what SOURCE_DATE_EPOCH says, or when the commit was made. */
async function timeOf(epoch: string | undefined): Promise<number> {
  if (epoch !== undefined && /^\d{1,10}$/.test(epoch)) return Number(epoch);
  if (epoch !== undefined) throw new PackagingError('SOURCE_DATE_EPOCH has to be a number of seconds since 1970');
  const { stdout } = await run('git', ['-C', root, 'log', '-1', '--format=%ct']).catch(() => ({ stdout: '' }));
  if (stdout.trim() !== '') return Number(stdout);
  throw new PackagingError('this is no git checkout, so set SOURCE_DATE_EPOCH: the time of every file in the packages');
}

interface Wanted {
  readonly program: ProgramPackage;
  readonly arch: Arch;
  readonly parts: Parts;
}

async function packAll({ arches, out, key }: CommandLine, work: string): Promise<void> {
  await requirePlaces({ out, key });
  const seconds = await timeOf(process.env.SOURCE_DATE_EPOCH);
  const sources: Sources = { root, lock: await readLock(join(root, 'package-lock.json')), version, seconds };
  const wanted: Wanted[] = [];
  for (const arch of arches) {
    for (const program of programPackages) wanted.push({ program, arch, parts: await partsOf(sources, program, arch) });
  }
  const own = process.arch;
  if (process.platform !== 'linux' || !isArch(own))
    throw new PackagingError('packages are made on Linux, x64 or arm64');
  const packing = wanted.map(({ parts }) => parts);
  say("fetching what is not in npm's cache");
  const archives = await fetchParts(
    [...packing, { bundled: [], modules: [], postgres: undefined, runtime: runtimeFor(own) }],
    work,
  );
  const compress = compressWith(await placeNode(archives, own, work), work);
  const made = new Map<string, string>();
  for (const one of wanted) {
    for (const product of await productsOf(sources, one, { archives, compress })) {
      await writeFile(join(out, `${product.name}.new`), product.bytes);
      await rename(join(out, `${product.name}.new`), join(out, product.name));
      made.set(product.name, sha256(product.bytes));
      say(`${product.name}  ${(product.bytes.length / 1e6).toFixed(1)} MB`);
    }
  }
  await vouch(made, { out, key, work });
}

interface Vouching {
  readonly out: string;
  readonly key: string | undefined;
  readonly work: string;
}

/**
 * Lists what this run has made, and what an earlier one has, as far as that is still what its list says; what is signed now counts only
 * if the same key has signed it then.
 */
async function vouch(made: Sums, { out, key, work }: Vouching): Promise<void> {
  const { kept, strays } = await besideIn(out, version, made);
  const told = new Map(strays);
  let listed: Sums = new Map([...made, ...kept]);
  const path = join(work, sumsName);
  const write = async () => {
    await writeFile(path, sumsText(listed));
    if (key !== undefined) await signFile(path, key);
  };
  await write();
  if (key !== undefined && kept.size > 0 && (await signerOf(join(out, sumsName))) !== (await signerOf(path))) {
    for (const name of kept.keys()) told.set(name, 'the list that names it is not signed by this key');
    listed = made;
    await write();
  }
  // What was signed for other sums must not lie beside these.
  await rm(join(out, `${sumsName}.sig`), { force: true });
  await place(path, join(out, sumsName));
  if (key === undefined) say(`${sumsName} is not signed: no --key was given`);
  else {
    await place(`${path}.sig`, join(out, `${sumsName}.sig`));
    say(`${sumsName}.sig  by ${key}`);
  }
  for (const [name, why] of told) say(`not in ${sumsName}: ${name}, since ${why}`);
}

async function place(from: string, to: string): Promise<void> {
  await copyFile(from, `${to}.new`);
  await rename(`${to}.new`, to);
}

interface Tools {
  readonly archives: Archives;
  readonly compress: Compress;
}

async function productsOf(sources: Sources, wanted: Wanted, { archives, compress }: Tools): Promise<Product[]> {
  const built = await build(sources, { ...wanted, archives });
  const { program, version: numbered, arch } = built.facts;
  return [
    await tarballOf(built, sources.seconds, compress),
    await debOf(built, sources.seconds, compress),
    { name: `${program.name}-${numbered}-linux-${arch}.cdx.json`, bytes: Buffer.from(built.bill) },
  ];
}

async function placeNode(archives: Archives, arch: Arch, work: string): Promise<string> {
  const node = (await archives.files(runtimeFor(arch))).find(({ path }) => path === 'bin/node');
  if (node === undefined) throw new PackagingError(`${runtimeFor(arch).name} has no bin/node`);
  const path = join(work, 'node');
  await writeFile(path, node.bytes, { mode: 0o755 });
  return path;
}

async function main(): Promise<number> {
  const from = process.env.SIGILWATCH_CALLED_FROM ?? process.cwd();
  const args = process.argv.slice(2);
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(usage);
    return 0;
  }
  const commandLine = readCommandLine(args, from);
  if (commandLine === undefined) {
    process.stderr.write(usage);
    return 2;
  }
  const work = await mkdtemp(join(tmpdir(), 'sigilwatch-package-'));
  try {
    await packAll(commandLine, work);
    return 0;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

process.exitCode = await main().catch((thrown: unknown) => {
  const known = thrown instanceof PackagingError;
  say(
    known || !(thrown instanceof Error)
      ? `package: ${thrown instanceof Error ? thrown.message : String(thrown)}`
      : (thrown.stack ?? thrown.message),
  );
  return 1;
});
