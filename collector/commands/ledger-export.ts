import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { decodeDecimal } from '../../common/encoding.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import type { Db } from '../postgres/pool.ts';
import { type EntryRow, readEntries } from '../postgres/query-store.ts';
import { type CommandContext, withLedger } from './context.ts';

export interface ExportOptions {
  readonly from: string;
  readonly to?: string;
  readonly output?: string;
}

const batchEntries = 500;

/** Entries as JSON lines, then a signed checkpoint that covers them. Streams. */
export async function ledgerExport(context: CommandContext, options: ExportOptions): Promise<number> {
  await withLedger(context, async ({ ledger, database }) => {
    const { size, note } = await ledger.checkpoint();
    const span = readSpan(options, size);
    const out = options.output === undefined ? context.stdout : await createNew(options.output);
    for await (const lines of exportLines(database.db, span)) await write(out, lines);
    await write(out, `${JSON.stringify({ checkpoint: note })}\n`);
    if (out === context.stdout) return;
    out.end();
    await finished(out);
  });
  return exitCodes.done;
}

async function* exportLines(db: Db, { from, to }: { from: number; to: number }): AsyncGenerator<string> {
  for (let start = from; start < to; start += batchEntries) {
    const rows = await readEntries(db, start, Math.min(start + batchEntries, to));
    yield rows.map((row) => `${JSON.stringify(exportEntry(row))}\n`).join('');
  }
}

/** `entry` is the exact canonical text that was signed; leaf = its bytes and the signature. Null where retention dropped it. */
export function exportEntry({ index, bytes, signature, leaf_hash }: EntryRow) {
  return {
    index,
    entry: bytes?.toString('utf8') ?? null,
    signature: signature?.toString('base64') ?? null,
    leaf_hash: leaf_hash.toString('base64'),
  };
}

function readSpan({ from: fromText, to: toText }: ExportOptions, size: number): { from: number; to: number } {
  const from = decodeDecimal(fromText);
  const to = toText === undefined ? size : decodeDecimal(toText);
  if (from !== undefined && to !== undefined && from <= to && to <= size) return { from, to };
  throw new AppError(
    'validation.request',
    `--from and --to are indexes from 0 to ${size}, the first not above the second`,
  );
}

/** Never over an existing file: it may be somebody's evidence. @throws AppError `state.conflict`. */
export async function createNew(path: string): Promise<Writable> {
  const file = createWriteStream(path, { flags: 'wx', mode: 0o644 });
  try {
    await once(file, 'open');
    return file;
  } catch (cause) {
    const exists = errnoOf(cause) === 'EEXIST';
    const message = exists
      ? `${path} exists already and is not overwritten`
      : `cannot write ${path}: ${errnoOf(cause)}`;
    throw new AppError(exists ? 'state.conflict' : 'validation.request', message, { cause });
  }
}

async function write(out: Writable, text: string): Promise<void> {
  if (!out.write(text)) await once(out, 'drain');
}
