import { exitCodes } from '../../common/exit-codes.ts';
import { signatureTypes, type VerifierKey, verifierKey } from '../../common/note.ts';
import { ledgerMemory } from '../app.ts';
import { systemClock } from '../clock.ts';
import { openExportFiles } from '../ledger/export/files.ts';
import { type OwnCheckpoint, openOwn } from '../ledger/guard.ts';
import type { LedgerMemory } from '../ledger/ledger.ts';
import { recoverLedger } from '../ledger/recover.ts';
import { postgresLedgerStore } from '../postgres/ledger-store.ts';
import { type CommandContext, show, stderrLogger, withCollectorData } from './context.ts';
import { progressBar, untilStopped } from './progress.ts';

interface RecoverResult {
  readonly recovered: number;
  /** Tree size before and after. */
  readonly from: number;
  readonly to: number;
  readonly root: string;
  /** Size of the signed checkpoint that vouches for what was put back. */
  readonly checkpoint_size: number | null;
  /** What was published and is still not there: indexes from, up to but not including. */
  readonly missing: { readonly from: number; readonly to: number } | null;
  readonly files: number;
}

/** Puts lost entries back from exported files; exit code 1 when some that were published are still missing. */
export async function ledgerRecover(context: CommandContext, paths: readonly string[]): Promise<number> {
  const { settings } = context;
  const { origin } = settings.ledger;
  const exported = await openExportFiles(paths);
  const result = await withCollectorData(context, async ({ database, keys }): Promise<RecoverResult> => {
    const logKey = verifierKey(origin, signatureTypes.ed25519, keys.publicKey);
    const memory = ledgerMemory(settings, { logger: stderrLogger(context.stderr), clock: systemClock });
    const report = await recoverLedger({
      store: postgresLedgerStore(database.db),
      logKey,
      privateKey: keys.privateKey,
      now: systemClock.now(),
      entries: exported.entries,
      known: [...exported.checkpoints.map((note) => openOwn(note, logKey)), ...(await remembered(memory, logKey))],
      onProgress: untilStopped(context, progressBar(context.stderr, 'entries')),
    });
    const { from, to, root, provenBy, published } = report;
    return {
      recovered: to - from,
      from,
      to,
      root: root.toString('base64'),
      checkpoint_size: provenBy?.size ?? null,
      missing: published > to ? { from: to, to: published } : null,
      files: exported.files.length,
    };
  });
  show(context, result, formatResult);
  return result.missing === null ? exitCodes.done : exitCodes.findings;
}

async function remembered({ file, evidence }: LedgerMemory, logKey: VerifierKey): Promise<readonly OwnCheckpoint[]> {
  const noted = await file.read();
  const shown = await evidence.notes();
  return [...(noted === undefined ? [] : [noted]), ...shown].flatMap((note) => {
    try {
      return [openOwn(note, logKey)];
    } catch {
      // Of another ledger; the collector says so itself when it starts.
      return [];
    }
  });
}

function formatResult({ recovered, from, to, checkpoint_size, missing }: RecoverResult): string {
  const done =
    recovered === 0
      ? `nothing to put back: the database has the ${to} entries that the files could give\n`
      : `put back: entries ${from} to ${to - 1}, as the checkpoint of ${checkpoint_size} entries says\n`;
  if (missing === null)
    return `${done}the ledger is complete up to everything known to be published; start the collector again\n`;
  return (
    `${done}STILL MISSING: entries ${missing.from} to ${missing.to - 1} were published. ` +
    'Run this again with a later export or the git mirror; until then the collector does not start\n'
  );
}
