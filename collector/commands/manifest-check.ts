import { isUtf8 } from 'node:buffer';
import { lstat, readdir, readFile, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import {
  composeFolder,
  type ManifestFiles,
  refuseFolder,
  refuseIrregular,
  withServices,
} from '../../common/manifest/files.ts';
import { type CheckedManifest, checkManifest, manifestFile } from '../../common/manifest/manifest.ts';
import { formatMistake, type Mistake, manifestError, mistakeOf } from '../../common/manifest/mistake.ts';
import { printable, printableJson } from '../../common/printable.ts';
import { type CommandOutput, requireNodeName } from './context.ts';
import { manifestLines } from './manifest-text.ts';
import { type WantedByManifest, wantedBy } from './manifest-wanted.ts';

export interface ManifestCheckWorld {
  readonly json: boolean;
  readonly stdout: CommandOutput;
  readonly stderr: CommandOutput;
}

export interface ManifestCheckOptions {
  readonly node?: string;
}

/**
 * Checks a manifest as it lies in a file or a work tree, before it is committed: with nothing but that file, no settings,
 * no database and no network. Exit code 1 when something is wrong with it, 2 when it cannot be read.
 */
export async function manifestCheck(
  world: ManifestCheckWorld,
  path: string,
  options: ManifestCheckOptions,
): Promise<number> {
  const node = options.node === undefined ? undefined : requireNodeName(options.node);
  const { file, checked } = await checkPath(path);
  if (!checked.ok) {
    tellMistakes(world, file, checked.mistakes);
    return exitCodes.findings;
  }
  const wanted = wantedBy(checked.manifest, file, node);
  if (world.json) world.stdout.write(printableJson(asData(wanted)));
  else world.stdout.write(manifestLines(wanted).join(''));
  return exitCodes.done;
}

/**
 * Reads a manifest file, or the work tree of a repository with the compose files in it.
 * @returns what became of it, and the manifest's own path.
 * @throws AppError `validation.request` when it cannot be read.
 */
export async function checkPath(path: string): Promise<{ readonly file: string; readonly checked: CheckedManifest }> {
  const { file, folder } = await manifestAt(path);
  return { file, checked: await checkFiles(file, folder) };
}

interface ManifestPlace {
  /** The manifest's own path: what was given, or the file in it when it is the folder of a work tree. */
  readonly file: string;
  /** The work tree, whose compose files count too. */
  readonly folder: string | undefined;
}

async function manifestAt(path: string): Promise<ManifestPlace> {
  const found = await stat(path).catch((cause: unknown) => Promise.reject(unreadable(path, cause)));
  const file = found.isDirectory() ? join(path, manifestFile) : path;
  // Of a work tree a link is committed as a link, and no agent follows it.
  const inside = found.isDirectory()
    ? await lstat(file).catch((cause: unknown) => Promise.reject(unreadable(file, cause)))
    : found;
  // A pipe is as good; a device may go on for ever.
  if (inside.isFile() || inside.isFIFO()) return { file, folder: found.isDirectory() ? path : undefined };
  throw new AppError('validation.request', `${file} is not a regular file`);
}

/** Mistakes in compose files are told one at a time, once the manifest has none. */
async function checkFiles(file: string, folder: string | undefined): Promise<CheckedManifest> {
  const checked = await checkFile(file);
  if (!checked.ok || folder === undefined) return checked;
  try {
    return {
      ok: true,
      manifest: withServices(checked.manifest, await readComposeFolder(folder, (await stat(file)).size)),
    };
  } catch (thrown) {
    const mistake = mistakeOf(thrown);
    if (mistake === undefined) throw thrown;
    const placed = { ...mistake, file: join(folder, mistake.file) };
    return { ok: false, first: placed, mistakes: [placed] };
  }
}

/** By the same rules as an agent reads a commit: a work tree may hold more than can be committed as it looks. */
async function readComposeFolder(folder: string, manifestBytes: number): Promise<ManifestFiles> {
  const root = join(folder, composeFolder);
  const there = await lstat(root).catch((cause: unknown) => {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw errnoOf(cause) === 'ENOTDIR' ? refuseIrregular(composeFolder) : unreadable(root, cause);
  });
  if (there === undefined) return new Map();
  if (!there.isDirectory()) throw refuseIrregular(composeFolder);
  const found = await readdir(root, { recursive: true, withFileTypes: true }).catch((cause: unknown) =>
    Promise.reject(unreadable(root, cause)),
  );
  const entries = found.filter((entry) => !entry.isDirectory());
  if (entries.length >= limits.maxComposeFiles) throw refuseFolder(`more than ${limits.maxComposeFiles} files`);
  const files = new Map<string, string>();
  let bytes = manifestBytes;
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const name = relative(folder, path).split(sep).join('/');
    if (!entry.isFile()) throw refuseIrregular(name);
    const content = await readFile(path).catch((cause: unknown) => Promise.reject(unreadable(path, cause)));
    bytes += content.length;
    if (bytes > limits.maxManifestBytes)
      throw refuseFolder(`with the manifest more than ${limits.maxManifestBytes} bytes`);
    if (!isUtf8(content))
      throw manifestError({ file: name, line: badLine(content) ?? 1, column: 1, reason: 'not UTF-8' });
    files.set(name, content.toString('utf8'));
  }
  return files;
}

async function checkFile(file: string): Promise<CheckedManifest> {
  const bytes = await readFile(file).catch((cause: unknown) => Promise.reject(unreadable(file, cause)));
  const refused = (line: number, reason: string): CheckedManifest => {
    const mistake = { file, line, column: 1, reason };
    return { ok: false, first: mistake, mistakes: [mistake] };
  };
  if (bytes.length > limits.maxManifestBytes) return refused(1, `larger than ${limits.maxManifestBytes} bytes`);
  const line = badLine(bytes);
  return line === undefined ? checkManifest(bytes.toString('utf8'), file) : refused(line, 'not UTF-8');
}

/** The first line, counted from 1, that is not UTF-8. */
function badLine(bytes: Buffer): number | undefined {
  if (isUtf8(bytes)) return undefined;
  const lines = bytes.toString('latin1').split('\n');
  return lines.findIndex((line) => !isUtf8(Buffer.from(line, 'latin1'))) + 1;
}

function unreadable(path: string, cause: unknown): AppError {
  return new AppError('validation.request', `cannot read ${path}: ${errnoOf(cause) ?? String(cause)}`, { cause });
}

/** What is wrong with a manifest, each on a line of its own. */
export function tellMistakes(
  { json, stdout, stderr }: ManifestCheckWorld,
  file: string,
  mistakes: readonly Mistake[],
): void {
  const cut = mistakes.length >= limits.maxManifestMistakes;
  if (json) {
    stdout.write(printableJson({ in_order: false, file, mistakes, more_mistakes: cut }));
    return;
  }
  stdout.write(mistakes.map((mistake) => `${printable(formatMistake(mistake))}\n`).join(''));
  if (cut) stderr.write(`there may be more than these ${mistakes.length} mistakes\n`);
}

function asData({ manifest, ...wanted }: WantedByManifest) {
  const { config, drift_rules, maintenance_windows, witnesses, warnings } = manifest;
  return {
    in_order: true,
    ...wanted,
    drift_detection: config.drift_detection,
    enforcement_mode: config.enforcement_mode,
    drift_rules,
    maintenance_windows,
    witnesses,
    warnings,
  };
}
