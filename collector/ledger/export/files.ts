import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { decodeBase64 } from '../../../common/encoding.ts';
import { AppError, errnoOf } from '../../../common/errors.ts';
import { signatureBytes } from '../../../common/keys.ts';
import { limits } from '../../../common/limits.ts';
import type { ExportedEntries, ExportedEntry } from '../recover.ts';

/** What was found in files that `ledger export` or the git mirror wrote. Read line by line: they may be larger than memory. */
export interface ExportFiles {
  /** By the index of their first entry; files without entries first. */
  readonly files: readonly string[];
  /** Signed notes, not verified. */
  readonly checkpoints: readonly string[];
  readonly entries: ExportedEntries;
}

/** One file: `from` is where it begins, what comes before that is only there to say whose keys count. */
interface ExportFile {
  readonly path: string;
  readonly from: number;
  readonly checkpoint: string | undefined;
}

/** Members that are not needed here may be there and are not looked at. */
const line = z.union([
  z.object({
    index: z.int().nonnegative(),
    entry: z.string().nullable(),
    signature: z.base64().nullable(),
    leaf_hash: z.base64().optional(),
    proof: z.array(z.base64()).optional(),
  }),
  z.object({ checkpoint: z.string().max(limits.maxNoteChars), from: z.int().nonnegative().optional() }),
]);

type Line = z.infer<typeof line>;

const extension = '.jsonl';

/**
 * @param paths files, or folders in which every `*.jsonl` counts.
 * @throws AppError `validation.request` naming the file, and the line, that is not such an export.
 */
export async function openExportFiles(paths: readonly string[]): Promise<ExportFiles> {
  const found = (await Promise.all(paths.map(filesAt))).flat();
  if (found.length === 0) throw refused(paths.join(', '), `there is no ${extension} file`);
  const files = await Promise.all(found.map(outlineOf));
  files.sort((a, b) => a.from - b.from);
  return {
    files: files.map(({ path }) => path),
    checkpoints: files.flatMap(({ checkpoint }) => checkpoint ?? []),
    entries: () => entriesOf(files),
  };
}

async function outlineOf(path: string): Promise<ExportFile> {
  let [from, checkpoint]: [number | undefined, string | undefined] = [undefined, undefined];
  let first: number | undefined;
  for await (const { value } of linesOf(path)) {
    if ('checkpoint' in value) ({ from, checkpoint } = { from: value.from, checkpoint: value.checkpoint });
    else first ??= value.index;
  }
  return { path, from: from ?? first ?? 0, checkpoint };
}

async function filesAt(path: string): Promise<readonly string[]> {
  const found = await stat(path).catch((thrown: unknown) => {
    throw refused(path, `it cannot be read (${errnoOf(thrown)})`, thrown);
  });
  if (!found.isDirectory()) return [path];
  const names = await readdir(path, { withFileTypes: true });
  // Names with a dot in front are not data: the innards of a git repository among them.
  const visible = names.filter(({ name }) => !name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
  const inside = visible.map((child) => {
    const full = join(path, child.name);
    if (child.isDirectory()) return filesAt(full);
    return child.name.endsWith(extension) ? [full] : [];
  });
  return (await Promise.all(inside)).flat();
}

async function* entriesOf(files: readonly ExportFile[]): AsyncGenerator<ExportedEntry> {
  for (const { path, from, checkpoint } of files) {
    for await (const { value, where } of linesOf(path)) {
      if ('index' in value && value.index >= from) yield exportedEntry(value, { where, note: checkpoint });
    }
  }
}

async function* linesOf(path: string): AsyncGenerator<{ value: Line; where: string }> {
  let number = 0;
  for await (const text of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
    number += 1;
    if (text === '') continue;
    const where = `${path}:${number}`;
    if (text.length > limits.maxExportLineChars) throw refused(where, 'the line is too long');
    yield { value: parseLine(text, where), where };
  }
}

function parseLine(text: string, where: string): Line {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw refused(where, 'not a line of JSON', cause);
  }
  const parsed = line.safeParse(json);
  if (parsed.success) return parsed.data;
  throw refused(where, 'neither an exported entry nor a checkpoint', parsed.error);
}

function exportedEntry(
  { index, entry, signature, leaf_hash, proof: hashes }: Extract<Line, { index: number }>,
  { where, note }: { where: string; note: string | undefined },
): ExportedEntry {
  const decoded = hashes?.map((hash) => decodeBase64(hash) ?? Buffer.alloc(0));
  const proof = decoded === undefined || note === undefined ? undefined : { hashes: decoded, note };
  const said = leaf_hash === undefined ? undefined : decodeBase64(leaf_hash);
  if (entry === null || signature === null) return { index, leaf: null, leafHash: said, proof, where };
  const bytes = decodeBase64(signature);
  if (bytes?.length !== signatureBytes) throw refused(where, 'the signature is not one of 64 bytes');
  return { index, leaf: { bytes: Buffer.from(entry), signature: bytes }, leafHash: said, proof, where };
}

function refused(where: string, why: string, cause?: unknown): AppError {
  return new AppError('validation.request', `${where}: ${why}`, { cause });
}
