import { decodeDecimal } from '../../common/encoding.ts';
import { leafData } from '../../common/entry.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { formatTlogProof } from '../../common/tlog-proof.ts';
import { type WriteFile, withNamedFiles } from '../data/named-files.ts';
import { provedLeaf, type StoredLeaf } from '../ledger/export/export.ts';
import { postgresExportSource } from '../postgres/export-store.ts';
import { witnessesBeside } from '../wiring/witnessed.ts';
import { type CommandContext, show, withLedger } from './context.ts';

export interface ProofOptions {
  readonly index: string;
  readonly output?: string;
}

/**
 * Writes a proof file (C2SP tlog-proof) with the entry inside: what `verify` needs, and any other verifier of the format
 * understands. The entry is the `extra` line: its canonical bytes followed by its 64-byte signature, which is the leaf. An
 * erased entry is not here to be put in: then the proof serves those who have it from elsewhere.
 */
export async function ledgerProof(context: CommandContext, options: ProofOptions): Promise<number> {
  const index = decodeDecimal(options.index);
  if (index === undefined) throw new AppError('validation.request', `"${options.index}" is not an index`);
  const file = options.output ?? `entry-${index}.tlog-proof`;
  const { dataDir } = context.settings;
  return withNamedFiles(dataDir, [file], (writeFile) => proveTo(writeFile, context, { index, file }));
}

interface WantedProof {
  readonly index: number;
  readonly file: string;
}

async function proveTo(writeFile: WriteFile, context: CommandContext, { index, file }: WantedProof): Promise<number> {
  await withLedger(context, async ({ ledger, database }) => {
    const { size: latest } = await ledger.checkpoint();
    if (index >= latest) {
      throw new AppError('resource.not_found', `the ledger has ${latest} entries; the last index is ${latest - 1}`);
    }
    const checkpoint = await witnessesBeside(context.settings, { ledger, database }).covering(index + 1);
    const { size, note, witnessed } = checkpoint;
    const source = postgresExportSource(database.db);
    // So that what is written verifies, or there is no file.
    const { leaf, hashes } = await provedLeaf(index, { source, prover: ledger, checkpoint });
    await writeFile(file, [formatTlogProof({ index, hashes, checkpoint: note, ...entryOf(leaf) })]);
    if (leaf.body === undefined) context.stderr.write(erasedNote(index));
    if (!witnessed) context.stderr.write(unwitnessedNote(size));
    const has_entry = leaf.body !== undefined;
    show(context, { index, proof_file: file, has_entry, size, witnessed, vkey: ledger.vkey }, () => `${file}\n`);
  });
  return exitCodes.done;
}

function entryOf({ body }: StoredLeaf): { readonly extra?: Buffer } {
  return body === undefined ? {} : { extra: leafData(body) };
}

function erasedNote(index: number): string {
  return `note: the body of entry ${index} was erased, so the file has the proof without the entry; it proves the entry to whoever has that from an export\n`;
}

/** For whoever would otherwise learn it from the verifier. */
export function unwitnessedNote(size: number): string {
  return `note: no quorum of witnesses has cosigned the checkpoint of size ${size} yet; a policy that asks for one will refuse it\n`;
}
