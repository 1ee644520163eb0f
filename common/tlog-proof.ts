import { type OpenedCheckpoint, openCheckpoint } from './checkpoint.ts';
import { decodeBase64, decodeBase64Hash, decodeDecimal } from './encoding.ts';
import { AppError } from './errors.ts';
import type { VerifierKey } from './note.ts';
import { verifyInclusion } from './proof.ts';

/*
 * Proof files (`.tlog-proof`), C2SP tlog-proof: that one entry is in the log, checkable offline with nothing but the
 * log's key.
 */

const header = 'c2sp.org/tlog-proof@v1';

export interface TlogProof {
  readonly index: number;
  /** Inclusion proof, the leaf's sibling first. */
  readonly hashes: readonly Buffer[];
  /** The signed checkpoint, verbatim, cosignatures included. */
  readonly checkpoint: string;
  /** Application data that nothing authenticates. */
  readonly extra?: Buffer;
}

export function formatTlogProof({ index, hashes, checkpoint, extra }: TlogProof): string {
  const extraLine = extra === undefined ? [] : [`extra ${extra.toString('base64')}`];
  const hashLines = hashes.map((hash) => hash.toString('base64'));
  return [header, ...extraLine, `index ${index}`, ...hashLines, '', checkpoint].join('\n');
}

/** @throws AppError `ledger.proof` when `text` is not a version 1 proof file; the checkpoint in it is not looked at. */
export function parseTlogProof(text: string): TlogProof {
  // No line before the checkpoint is empty, so the first empty line is where it starts.
  const end = text.indexOf('\n\n');
  if (end < 0) throw malformed('no empty line before the checkpoint');
  const [first, ...lines] = text.slice(0, end).split('\n');
  if (first !== header) throw malformed(`the first line is not ${header}`);
  const extra = lines[0]?.startsWith('extra ') ? parseExtra(lines.shift()) : undefined;
  const index = parseIndex(lines.shift());
  const proof = { index, hashes: lines.map(parseHash), checkpoint: text.slice(end + 2) };
  return extra === undefined ? proof : { ...proof, extra };
}

/**
 * The checkpoint that the proof stands on, once it holds: signed by `logKey`, and the leaf in its tree. Cosignatures
 * are the caller's to count, with `verifyCosignatures`.
 * @throws AppError `ledger.proof` or `auth.signature` otherwise.
 */
export function verifyTlogProof(proof: TlogProof, leafHash: Buffer, logKey: VerifierKey): OpenedCheckpoint {
  const opened = openCheckpoint(proof.checkpoint, logKey);
  const { size, root } = opened.checkpoint;
  verifyInclusion({ leafHash, index: proof.index, size, root, proof: proof.hashes });
  return opened;
}

function parseExtra(line = ''): Buffer {
  const extra = decodeBase64(line.slice('extra '.length));
  if (extra === undefined) throw malformed('the extra line is not base64');
  return extra;
}

function parseIndex(line = ''): number {
  const index = line.startsWith('index ') ? decodeDecimal(line.slice('index '.length)) : undefined;
  if (index === undefined) throw malformed('no index line with a number of at most 2^53 - 1');
  return index;
}

function parseHash(line: string): Buffer {
  const hash = decodeBase64Hash(line);
  if (hash === undefined) throw malformed('a proof line is not the base64 of a SHA-256 hash');
  return hash;
}

function malformed(reason: string): AppError {
  return new AppError('ledger.proof', `not a proof file: ${reason}`);
}
