import { decodeDecimal } from '../../common/encoding.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { parseVerifierKey } from '../../common/note.ts';
import { type WriteFile, withNamedFiles } from '../data/named-files.ts';
import { writePieces } from '../data/new-file.ts';
import { readErasures } from '../ledger/erasure/record.ts';
import { type ExportSpan, exportLines } from '../ledger/export/export.ts';
import { postgresExportSource } from '../postgres/export-store.ts';
import { witnessesBeside } from '../wiring/witnessed.ts';
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
  const { dataDir } = context.settings;
  return withNamedFiles(dataDir, [options.output], (writeFile) => exportTo(writeFile, context, options));
}

async function exportTo(writeFile: WriteFile, context: CommandContext, options: ExportOptions): Promise<number> {
  const { stdout, stderr, json, settings } = context;
  await withLedger(context, async ({ ledger, database }) => {
    const span = readSpan(options, (await ledger.checkpoint()).size);
    const checkpoint = await witnessesBeside(settings, { ledger, database }).covering(span.to);
    const bar = progressBar(stderr, 'entries');
    const toFile = options.output !== undefined;
    const source = postgresExportSource(database.db);
    const erased = { entries: 0, first: 0, last: 0 };
    const lines = exportLines({
      ...span,
      checkpoint,
      prover: ledger,
      source,
      onEntry: ({ index, body }) => {
        if (body !== undefined) return;
        if (erased.entries === 0) erased.first = index;
        erased.last = index;
        erased.entries += 1;
      },
      onProgress: untilStopped(context, toFile ? bar : () => {}),
    });
    try {
      if (options.output === undefined) await writePieces(stdout, lines);
      else await writeFile(options.output, lines);
    } finally {
      bar(1, 1);
    }
    const { size, witnessed } = checkpoint;
    if (!witnessed) stderr.write(unwitnessedNote(size));
    if (erased.entries > 0) {
      const statements = readErasures(await source.erasures(), parseVerifierKey(ledger.vkey).publicKey);
      const telling = statements.filter(({ from, to }) => from <= erased.last && erased.first < to);
      const needed = Math.max(...telling.map(({ index }) => index)) + 1;
      if (needed > span.to) stderr.write(unaccountedNote(erased.entries, needed));
    }
    const said = { ...span, entries: span.to - span.from, size, witnessed, file: options.output ?? null };
    const out = toFile ? stdout : stderr;
    if (json) out.write(`${JSON.stringify(said)}\n`);
    else if (toFile) out.write(`${options.output}\n${said.entries} entries, proved in the tree of size ${size}\n`);
  });
  return exitCodes.done;
}

/** The file has to account for what is missing in it, since whoever verifies it has nothing else. */
function unaccountedNote(entries: number, needed: number): string {
  return `note: ${entries} entries have no body, and the entry that says that it was erased is beyond this span: "verify" refuses the file without it; export with --to ${needed}\n`;
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
