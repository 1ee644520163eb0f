import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AppError, errnoOf } from '../../../common/errors.ts';
import { parseVerifierKey } from '../../../common/note.ts';
import { noQuorum, type Policy } from '../../../common/policy.ts';
import { makeFolder } from '../../data/durable-file.ts';
import { verifyExportFile } from '../export/file.ts';
import type { Exported, Span } from './erasure.ts';

export interface ExportSpanNeeds {
  /** Made when missing. */
  readonly folder: string;
  /** Verifier key of the ledger. */
  readonly vkey: string;
  /** Lines as `ledger export` writes them. */
  readonly lines: (span: Span) => AsyncIterable<string>;
  /** Writes a new file whole and to disk, or not at all. */
  readonly writeFile: (path: string, pieces: AsyncIterable<string>) => Promise<void>;
  readonly onProgress: (done: number, of: number) => void;
}

/**
 * Exports a span to a file named after it, reads that back from its first line to its last, and verifies it. A file that is there
 * already, from a run that was broken off, is taken when it verifies as the same span.
 * @throws AppError `state.conflict` for a file of that name that is something else; `validation.request` when it cannot be written.
 */
export async function exportSpan(span: Span, needs: ExportSpanNeeds): Promise<Exported> {
  const { folder, writeFile, lines } = needs;
  await makeFolder(folder, 0o777).catch((cause: unknown) => {
    throw new AppError('validation.request', `cannot make the folder ${folder}: ${errnoOf(cause)}`, { cause });
  });
  await removeLeftovers(folder, nameOf(span));
  const path = join(folder, nameOf(span));
  if (!(await exists(path))) await writeFile(path, lines(span));
  const problem = await problemOf(path, span, needs);
  if (problem !== undefined) {
    throw new AppError(
      'state.conflict',
      `${path} is not an export of entries ${span.from} to ${span.to - 1} (${problem}); move it away. Nothing was erased`,
      { details: { path } },
    );
  }
  return { file: basename(path), sha256: await digestOf(path), entries: span.to - span.from };
}

/** Whoever was writing this file is gone: only one erases at a time. */
async function removeLeftovers(folder: string, name: string): Promise<void> {
  for (const file of await readdir(folder)) {
    if (file.startsWith(`${name}.partial-`)) await rm(join(folder, file), { force: true });
  }
}

function nameOf({ from, to }: Span): string {
  const padded = (index: number) => String(index).padStart(12, '0');
  return `entries-${padded(from)}-${padded(to - 1)}.jsonl`;
}

async function exists(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch((thrown: unknown) => {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw new AppError('validation.request', `cannot read ${path}: ${errnoOf(thrown)}`, { cause: thrown });
  });
  await file?.close();
  return file !== undefined;
}

async function problemOf(path: string, span: Span, needs: ExportSpanNeeds): Promise<string | undefined> {
  const file = await open(path, 'r');
  try {
    return await findProblem(file, span, needs);
  } finally {
    await file.close();
  }
}

async function findProblem(
  file: FileHandle,
  { from, to }: Span,
  { vkey, onProgress }: ExportSpanNeeds,
): Promise<string | undefined> {
  // Whether witnesses have seen the checkpoint is for whoever reads the file later; here it is about the file.
  const policy: Policy = { logs: [{ key: parseVerifierKey(vkey) }], witnesses: [], groups: [], quorum: noQuorum };
  const { end, first, counts } = await verifyExportFile(file, { policy, requireSignatures: false, onProgress });
  if (first !== undefined) return first.message;
  if (end?.from !== from || end.to !== to) return 'it holds another span';
  return counts.dropped === 0 ? undefined : `${counts.dropped} of its entries have no body`;
}

async function digestOf(path: string): Promise<string> {
  const digest = createHash('sha256');
  for await (const chunk of createReadStream(path)) digest.update(chunk);
  return digest.digest('hex');
}
