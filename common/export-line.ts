import { z } from 'zod';
import { decodeBase64, decodeBase64Hash } from './encoding.ts';
import { AppError } from './errors.ts';
import { signatureBytes } from './keys.ts';
import { shownValue } from './sigil-text.ts';

/*
 * Exports of the ledger: JSON lines. Each entry's line stands by itself, with its inclusion proof in the tree of the checkpoint
 * that the last line carries. Every line has one spelling, so that a changed byte cannot hide in how something is written.
 */

/** One entry of an export. */
export interface ExportEntry {
  readonly index: number;
  /** Canonical text as it was signed, and the 64-byte signature; undefined where retention has dropped them. */
  readonly body: { readonly text: string; readonly signature: Buffer } | undefined;
  readonly leafHash: Buffer;
  /** Inclusion proof in base64, the leaf's sibling first. */
  readonly proof: readonly string[];
}

/** The last line. */
export interface ExportEnd {
  /** Signed note; its tree is the one that all proofs lead to. */
  readonly checkpoint: string;
  /** The export holds the entries from `from` up to but not including `to`. */
  readonly from: number;
  readonly to: number;
  /** Indexes of earlier entries that come first, since they say whose keys count: ascending, all below `from`. */
  readonly context: readonly number[];
}

const index = z.int().nonnegative();
const entryLine = z.strictObject({
  index,
  entry: z.string().nullable(),
  signature: z.string().nullable(),
  leaf_hash: z.string(),
  proof: z.array(z.string()),
});
const endLine = z.strictObject({ checkpoint: z.string(), from: index, to: index, context: z.array(index) });

/** Without the newline. */
export function formatExportEntry({ index, body, leafHash, proof }: ExportEntry): string {
  return JSON.stringify({
    index,
    entry: body?.text ?? null,
    signature: body?.signature.toString('base64') ?? null,
    leaf_hash: leafHash.toString('base64'),
    proof,
  });
}

/**
 * The entry in a line, nothing about it verified.
 * @throws AppError `ledger.proof` for anything but what {@link formatExportEntry} writes.
 */
export function parseExportEntry(line: string): ExportEntry {
  if (isExportEnd(line)) throw malformed('the end of an export stands here, and the file goes on after it');
  const { index, entry, signature: encoded, leaf_hash, proof } = readLine(entryLine, line, 'an exported entry');
  const leafHash = decodeBase64Hash(leaf_hash);
  if (leafHash === undefined) throw malformed('leaf_hash is not the base64 of a SHA-256 hash');
  if (entry === null && encoded === null) return { index, body: undefined, leafHash, proof };
  const signature = encoded === null ? undefined : decodeBase64(encoded);
  if (entry === null || signature?.length !== signatureBytes) {
    throw malformed('an entry goes with a signature of 64 bytes in base64');
  }
  if (!entry.isWellFormed()) throw malformed('the entry is not valid Unicode');
  return { index, body: { text: entry, signature }, leafHash, proof };
}

/** Without the newline. */
export function formatExportEnd({ checkpoint, from, to, context }: ExportEnd): string {
  return JSON.stringify({ checkpoint, from, to, context });
}

/** Whether the line is meant to be the last one, however broken. */
export function isExportEnd(line: string): boolean {
  return line.startsWith('{"checkpoint":');
}

/** @throws AppError `ledger.proof` for anything but what {@link formatExportEnd} writes. */
export function parseExportEnd(line: string): ExportEnd {
  const end = readLine(endLine, line, 'the last line of an export');
  const { from, to, context } = end;
  if (from > to) throw malformed('an export that ends before it begins');
  const ascending = context.every((index, at) => index > (context[at - 1] ?? -1) && index < from);
  if (!ascending) throw malformed('the entries before the first are not in order');
  return end;
}

function readLine<T extends z.ZodType>(schema: T, line: string, what: string): z.output<T> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    throw new AppError('ledger.proof', `not ${what}: not JSON`, { cause });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw malformed(`not ${what}: ${firstProblem(parsed.error)}`);
  // Members in the schema's order, which is the order of writing.
  if (JSON.stringify(parsed.data) !== line) throw malformed(`not ${what} in the one way it is written`);
  return parsed.data;
}

/** In one short line, whatever stands in the file. */
function firstProblem({ issues: [first] }: z.ZodError): string {
  const where = first === undefined || first.path.length === 0 ? '' : `${first.path.join('.')}: `;
  return shownValue(`${where}${first?.message ?? 'it has another form'}`, (text) => text);
}

function malformed(reason: string): AppError {
  return new AppError('ledger.proof', reason);
}
