import { readFile } from 'node:fs/promises';
import { type Checkpoint, openCheckpoint } from '../../common/checkpoint.ts';
import { AppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import type { KeyPair } from '../../common/keys.ts';
import { signatureTypes, verifierKey } from '../../common/note.ts';
import { verifyLedger } from '../ledger/verify.ts';
import { postgresStoredLedger } from '../postgres/stored-ledger.ts';
import { type CommandContext, type CommandOutput, show, withCollectorData } from './context.ts';

interface VerifyResult {
  readonly verified: boolean;
  readonly origin: string;
  readonly entries: number;
  readonly root: string;
  readonly authors: number;
  readonly checkpoint_size: number | null;
  readonly seconds: number;
  readonly fault: { readonly fault: string; readonly index: number | null; readonly message: string } | null;
}

/** Verifies the ledger as it lies in the database. */
export async function ledgerVerify(context: CommandContext, options: { checkpoint?: string }): Promise<number> {
  const { origin } = context.settings.ledger;
  const result = await withCollectorData(context, async ({ database, keys }): Promise<VerifyResult> => {
    const checkpoint = options.checkpoint && (await openSaved(options.checkpoint, origin, keys));
    const startedMs = performance.now();
    const report = await verifyLedger(postgresStoredLedger(database.db), {
      origin,
      collectorKey: keys.publicKey,
      checkpoint: checkpoint || undefined,
      onProgress: progress(context.stderr),
    });
    return {
      verified: report.fault === undefined,
      origin,
      entries: report.size,
      root: report.root.toString('base64'),
      authors: report.authors,
      checkpoint_size: checkpoint ? checkpoint.size : null,
      seconds: Math.round(performance.now() - startedMs) / 1000,
      fault: report.fault ?? null,
    };
  });
  show(context, result, formatResult);
  return result.verified ? exitCodes.done : exitCodes.findings;
}

async function openSaved(path: string, origin: string, keys: KeyPair): Promise<Checkpoint> {
  const note = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError('validation.request', `cannot read the checkpoint ${path}`, { cause });
  });
  return openCheckpoint(note, verifierKey(origin, signatureTypes.ed25519, keys.publicKey)).checkpoint;
}

function formatResult({ fault, entries, authors, root, seconds, checkpoint_size }: VerifyResult): string {
  if (fault !== null) {
    const where = fault.index === null ? 'the ledger' : `entry ${fault.index}`;
    return `NOT IN ORDER (${fault.fault}): ${where}: ${fault.message}\n${entries} entries before it are in order\n`;
  }
  const rate = seconds > 0 ? `, ${Math.round(entries / seconds)}/s` : '';
  const continues = checkpoint_size === null ? '' : `contains the checkpoint of size ${checkpoint_size}\n`;
  return `in order: ${entries} entries of ${authors} authors (${seconds} s${rate})\nroot ${root}\n${continues}`;
}

/** A line that rewrites itself, for whoever watches; nothing in a file or pipe. */
function progress(stderr: CommandOutput): (verified: number, size: number) => void {
  if (stderr.isTTY !== true) return () => {};
  const startedMs = performance.now();
  return (verified, size) => {
    const rate = Math.round(verified / ((performance.now() - startedMs) / 1000));
    stderr.write(`\r\u001b[K${verified} of ${size} entries, ${rate}/s${verified === size ? '\r\u001b[K' : ''}`);
  };
}
