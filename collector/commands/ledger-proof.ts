import { finished } from 'node:stream/promises';
import { decodeDecimal } from '../../common/encoding.ts';
import { leafData } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { expandProof } from '../../common/proof.ts';
import { formatTlogProof } from '../../common/tlog-proof.ts';
import type { Ledger } from '../ledger/ledger.ts';
import { readEntries } from '../postgres/query-store.ts';
import { type CommandContext, show, withLedger } from './context.ts';
import { createNew } from './ledger-export.ts';

export interface ProofOptions {
  readonly index: string;
  readonly output?: string;
}

/**
 * Writes a proof file, checkable offline with the ledger's verifier key, and beside it the leaf it proves: the entry's
 * canonical bytes followed by its 64-byte signature.
 */
export async function ledgerProof(context: CommandContext, options: ProofOptions): Promise<number> {
  const index = decodeDecimal(options.index);
  if (index === undefined) throw new AppError('validation.request', `"${options.index}" is not an index`);
  await withLedger(context, async ({ ledger, database }) => {
    const proof = await proofOf(ledger, index);
    const [row] = await readEntries(database.db, index, index + 1);
    if (row?.bytes == null || row.signature === null) {
      throw new AppError('resource.not_found', `the body of entry ${index} is not kept any more`);
    }
    const file = options.output ?? `entry-${index}.tlog-proof`;
    const entryFile = `${file}.entry`;
    await writeNew(file, proof);
    await writeNew(entryFile, leafData({ bytes: row.bytes, signature: row.signature }));
    const result = { index, proof_file: file, entry_file: entryFile, vkey: ledger.vkey };
    show(context, result, () => `${file}\n${entryFile}\nverifier key ${ledger.vkey}\n`);
  });
  return exitCodes.done;
}

async function proofOf(ledger: Ledger, index: number): Promise<string> {
  const { size, note } = await ledger.checkpoint();
  if (index >= size) {
    throw new AppError('resource.not_found', `the ledger has ${size} entries; the last index is ${size - 1}`);
  }
  const shared = await ledger.inclusion([index], size);
  return formatTlogProof({ index, hashes: expandProof(shared, 0), checkpoint: note });
}

async function writeNew(path: string, content: string | Buffer): Promise<void> {
  const file = await createNew(path);
  file.end(content);
  await finished(file);
}
