import { decodeBase64Hash, decodeDecimal } from './encoding.ts';
import { AppError } from './errors.ts';
import {
  formatNote,
  type NoteSigner,
  parseNote,
  type SignedNote,
  signNote,
  type VerifierKey,
  verifyNote,
} from './note.ts';

/*
 * Checkpoints, C2SP tlog-checkpoint: the tree head of a log as the text of a signed note.
 */

export interface Checkpoint {
  /** Identity of the log; also the name of its key. */
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
  /** Further lines, opaque; signed, but not covered by any proof. */
  readonly extensions: readonly string[];
}

/** A checkpoint whose log signature was verified, with the note it came in, cosignatures included. */
export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: SignedNote;
}

/** The note text, final newline included. */
export function formatCheckpoint({ origin, size, root, extensions }: Checkpoint): string {
  return [origin, String(size), root.toString('base64'), ...extensions, ''].join('\n');
}

/**
 * The checkpoint that a note's text says.
 * @throws AppError `ledger.proof` for anything but the one spelling of origin, size, root and extension lines.
 */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', sizeText = '', rootText = '', ...extensions] = text.split('\n');
  if (extensions.pop() !== '') throw malformed('fewer than three lines, or no newline at the end');
  if (origin === '' || extensions.includes('')) throw malformed('an empty line');
  const size = decodeDecimal(sizeText);
  if (size === undefined) throw malformed('the second line is not a tree size of at most 2^53 - 1');
  const root = decodeBase64Hash(rootText);
  if (root === undefined) throw malformed('the third line is not the base64 of a SHA-256 hash');
  return { origin, size, root, extensions };
}

/**
 * The signed checkpoint, as served and sent. The caller makes sure that it never signs two that contradict each other.
 * @throws AppError `auth.signature` when the signer's name is not the origin.
 */
export function signCheckpoint(checkpoint: Checkpoint, signer: NoteSigner): string {
  requireOwnLog(checkpoint, signer.name);
  const text = formatCheckpoint(checkpoint);
  parseCheckpoint(text);
  return formatNote(signNote(text, signer));
}

/**
 * The checkpoint in a signed note, with `logKey`'s signature verified. Other signatures are kept and not judged: see
 * `verifyCosignatures`.
 * @throws AppError `ledger.proof` when malformed, `auth.signature` when not signed by `logKey` or of another log.
 */
export function openCheckpoint(signedNote: string, logKey: VerifierKey): OpenedCheckpoint {
  const note = parseNote(signedNote);
  verifyNote(note, [logKey]);
  const checkpoint = parseCheckpoint(note.text);
  requireOwnLog(checkpoint, logKey.name);
  return { checkpoint, note };
}

/** The specification only recommends it; here it stops a trusted log's key from vouching for another log. */
function requireOwnLog({ origin }: Checkpoint, keyName: string): void {
  if (origin === keyName) return;
  throw new AppError('auth.signature', `the key of ${keyName} does not speak for the log ${origin}`);
}

function malformed(reason: string): AppError {
  return new AppError('ledger.proof', `not a checkpoint: ${reason}`);
}
