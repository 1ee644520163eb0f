import { createHash } from 'node:crypto';
import { AppError } from '../errors.ts';
import { damagedAt } from './lines.ts';
import type { FileStamp } from './manifest.ts';

/**
 * Compares a file with what the manifest says of it.
 * @param pieces what is read of it; nobody reads on after a piece that is refused.
 * @param onPiece takes each piece that may be part of it.
 * @throws AppError `bundle.damaged`, with the length that it was cut off at; {@link AlteredFile}
 */
export async function requireStamped(
  pieces: AsyncIterable<Buffer>,
  { file, sizeBytes, sha256 }: FileStamp,
  onPiece: (piece: Buffer) => Promise<void> | void,
): Promise<void> {
  const digest = createHash('sha256');
  let bytes = 0;
  for await (const piece of pieces) {
    digest.update(piece);
    bytes += piece.length;
    if (bytes > sizeBytes) throw damagedAt(file, sizeBytes, 'it goes on where it should end');
    await onPiece(piece);
  }
  if (bytes < sizeBytes) throw damagedAt(file, bytes, `it is cut off, and should have ${sizeBytes} bytes`);
  if (digest.digest('hex') !== sha256) throw new AlteredFile(file);
}

/** Of the right length, and with other contents; where they differ is not known yet. */
export class AlteredFile extends AppError {
  constructor(file: string) {
    super('bundle.damaged', `${file} is not as it was written: its SHA-256 is another one`, { details: { file } });
  }
}
