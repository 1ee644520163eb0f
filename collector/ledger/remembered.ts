import { parseCheckpoint } from '../../common/checkpoint.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { emptyRange } from '../../common/merkle.ts';
import { parseNote, type VerifierKey } from '../../common/note.ts';
import type { CheckpointFile, EvidenceFolder } from './checkpoint-file.ts';
import { type OwnCheckpoint, openOwn, whyNotContained } from './guard.ts';
import type { LedgerStore, TreeHead } from './store.ts';
import { loadTail } from './tail.ts';

/** Where a ledger is remembered outside the database. */
export interface Memory {
  readonly file: Pick<CheckpointFile, 'path' | 'read'>;
  readonly evidence: Pick<EvidenceFolder, 'path' | 'notes'>;
}

/** What was published, by everything that is remembered outside the database. */
export interface Remembered {
  /** Of the checkpoint file. */
  readonly own: OwnCheckpoint | undefined;
  /** Of the evidence. */
  readonly shown: readonly OwnCheckpoint[];
}

/** A remembered checkpoint that the database does not contain. */
export interface Unheld {
  readonly known: OwnCheckpoint;
  readonly why: string;
  /** The file or folder that remembers it. */
  readonly where: string;
}

/**
 * To be read before the tree head: another collector may be publishing.
 * @throws AppError `ledger.checkpoint_file` when something there cannot be read, or is not of this ledger.
 */
export async function readRemembered({ file, evidence }: Memory, logKey: VerifierKey): Promise<Remembered> {
  const noted = await file.read();
  const own = noted === undefined ? undefined : openKept(noted, file.path, logKey);
  const shown = (await evidence.notes()).flatMap((note) => openIfOurs(note, logKey));
  return { own, shown };
}

/**
 * Holds the database as of `head` against what is remembered, and changes nothing. Undefined when it contains all of it.
 * @throws AppError `ledger.tampered` when the stored end of the log is no tree; `database.unreachable` (retryable).
 */
export async function firstUnheld(
  { own, shown }: Remembered,
  head: TreeHead | undefined,
  { store, memory, origin }: { readonly store: LedgerStore; readonly memory: Memory; readonly origin: string },
): Promise<Unheld | undefined> {
  if (own === undefined && shown.length === 0) return undefined;
  const tail = head === undefined ? { head: { origin, range: emptyRange }, partial: [] } : await loadTail(store, head);
  for (const known of own === undefined ? shown : [own, ...shown]) {
    const why = await whyNotContained(known, tail, store);
    if (why !== undefined) return { known, why, where: known === own ? memory.file.path : memory.evidence.path };
  }
  return undefined;
}

/** The checkpoint in a note, unless it is of another ledger, and so no concern of this one, or none at all. */
export function openIfOurs(note: string, logKey: VerifierKey): readonly OwnCheckpoint[] {
  try {
    return [openOwn(note, logKey)];
  } catch {
    return [];
  }
}

function openKept(note: string, path: string, logKey: VerifierKey): OwnCheckpoint {
  try {
    return openOwn(note, logKey);
  } catch (cause) {
    const message = notOfThisLedger(note, path, logKey.name) ?? notOfThisKey(path, logKey.name, toAppError(cause));
    throw new AppError('ledger.checkpoint_file', message, { cause, details: { path } });
  }
}

/** The likeliest reason: a command that was not told where the settings are. */
function notOfThisLedger(note: string, path: string, origin: string): string | undefined {
  const other = originOf(note);
  if (other === undefined || other === origin) return undefined;
  return (
    `the checkpoint file ${path} is of the ledger ${other}, but the settings say that this is ${origin}. ` +
    'Were the settings given, with --config FILE or SIGILWATCH_CONFIG? If they were, ledger.origin was changed in them: give it back. ' +
    'How to begin another ledger is in docs/recovery.md'
  );
}

function notOfThisKey(path: string, origin: string, { message }: AppError): string {
  return (
    `the checkpoint file ${path} is not signed by this collector's key for the ledger ${origin} (${message}). ` +
    'Give back the key it was written with (collector.key beside it), or, if it was damaged, the file. ' +
    'How to begin another ledger is in docs/recovery.md'
  );
}

/** What it says of itself; nobody has verified it. */
function originOf(note: string): string | undefined {
  try {
    return parseCheckpoint(parseNote(note).text).origin;
  } catch {
    return undefined;
  }
}
