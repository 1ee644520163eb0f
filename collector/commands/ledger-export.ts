import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { type ExportSpan, exportLines } from '../ledger/export/export.ts';
import { writeNewFile, writePieces } from '../new-file.ts';
import { postgresExportSource } from '../postgres/export-store.ts';
import { witnessesBeside } from '../witnessed.ts';
import { type CommandContext, withLedger } from './context.ts';
import { unwitnessedNote } from './ledger-proof.ts';
import { progressBar, untilStopped } from './progress.ts';

export interface ExportOptions {
  readonly from: string;
  readonly to?: string;
  readonly output?: string;
}

/**
 * Entries as JSON lines, each with its inclusion proof, then the signed checkpoint that all proofs lead to. Streams. To a
 * file it is written whole or not at all; what it was is then said on standard output, else on standard error.
 */
export async function ledgerExport(context: CommandContext, options: ExportOptions): Promise<number> {
  const { stdout, stderr, json, settings } = context;
  await withLedger(context, async ({ ledger, database }) => {
    const span = readSpan(options, (await ledger.checkpoint()).size);
    const checkpoint = await witnessesBeside(settings, { ledger, database }).covering(span.to);
    const bar = progressBar(stderr, 'entries');
    const toFile = options.output !== undefined;
    const lines = exportLines({
      ...span,
      checkpoint,
      prover: ledger,
      source: postgresExportSource(database.db),
      onProgress: untilStopped(context, toFile ? bar : () => {}),
    });
    try {
      if (options.output === undefined) await writePieces(stdout, lines);
      else await writeNewFile(options.output, lines);
    } finally {
      bar(1, 1);
    }
    const { size, witnessed } = checkpoint;
    if (!witnessed) stderr.write(unwitnessedNote(size));
    const said = { ...span, entries: span.to - span.from, size, witnessed, file: options.output ?? null };
    const out = toFile ? stdout : stderr;
    if (json) out.write(`${JSON.stringify(said)}\n`);
    else if (toFile) out.write(`${options.output}\n${said.entries} entries, proved in the tree of size ${size}\n`);
  });
  return exitCodes.done;
}

function readSpan({ from: fromText, to: toText }: ExportOptions, size: number): ExportSpan {
  const from = decodeDecimal(fromText);
  const to = toText === undefined ? size : decodeDecimal(toText);
  if (from !== undefined && to !== undefined && from <= to && to <= size) return { from, to };
  throw new AppError(
    'validation.request',
    `--from and --to are indexes from 0 to ${size}, the first not above the second`,
  );
}
