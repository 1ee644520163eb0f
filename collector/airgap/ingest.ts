import { join } from 'node:path';
import { type CarriedEntry, damagedAt, linesOf, maxEntryLineBytes, readEntryLine } from '../../common/bundle/lines.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { toWire } from '../../common/protocol.ts';
import { type AppendOptions, appendPatiently } from '../ws/append-pipeline.ts';
import type { Placed } from '../ws/ports.ts';
import type { VerifyEntries } from '../ws/verify.ts';
import { piecesOf } from './files.ts';
import { type CheckedBundle, revoked } from './found.ts';

/** Entries that follow each other in the author chain, and in the ledger: kept so, an outbox of a million takes little memory. */
export interface PlacedRun {
  readonly seq: number;
  readonly index: number;
  readonly length: number;
}

/** Entries that were appended together. */
export type PlacedBatch = readonly PlacedRun[];

export interface IngestOptions extends Omit<AppendOptions, 'author'> {
  readonly verify: VerifyEntries;
  /** Hears how many bytes more are in the ledger. Throws to stop. */
  readonly onTaken: (bytes: number) => void;
}

interface Batch {
  readonly file: string;
  readonly offset: number;
  readonly entries: CarriedEntry[];
  bytes: number;
}

/**
 * Appends the entries of a bundle, in order, as if its node had sent them: the same checks, the same bounds for a batch, the same
 * transaction. One batch at a time is held. May be repeated: what is in the ledger keeps its place.
 * @throws AppError `bundle.refused` for an entry that its node may not state, with file and offset, and for a key that was revoked
 *   meanwhile; `ledger.sequence`, `ledger.equivocation`, `ledger.tampered`, `database.*`.
 */
export async function ingest(bundle: CheckedBundle, options: IngestOptions): Promise<readonly PlacedBatch[]> {
  const placed: PlacedBatch[] = [];
  for await (const batch of batchesOf(bundle)) {
    placed.push(runsOf(await take(batch, bundle, options)));
    options.onTaken(batch.bytes);
  }
  return placed;
}

/** The places of a batch again. */
export function placesOf(batch: PlacedBatch): readonly Placed[] {
  return batch.flatMap(({ seq, index, length }) =>
    Array.from({ length }, (_, at) => ({ seq: seq + at, index: index + at })),
  );
}

async function take(batch: Batch, bundle: CheckedBundle, options: IngestOptions): Promise<readonly Placed[]> {
  const { manifest, key } = bundle;
  const author = { node: manifest.node, publicKey: key.publicKey };
  try {
    const signed = await options.verify(batch.entries.map(toWire), author);
    return await appendPatiently(signed, { ...options, author });
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.code === 'auth.revoked') throw revoked(manifest);
    if (error.code !== 'validation.entry' && error.code !== 'auth.signature') throw error;
    const { file, offset } = batch;
    const place = `${file}, in what begins at byte ${offset}`;
    throw new AppError('bundle.refused', `${place}: ${error.message}`, { cause: error, details: { file, offset } });
  }
}

/** In the portions that an agent sends, so that it can take them back in its own. */
async function* batchesOf({ folder, manifest }: CheckedBundle): AsyncGenerator<Batch, void> {
  for (const { file, first, last } of manifest.parts) {
    let batch: Batch | undefined;
    let entries = 0;
    for await (const { offset, bytes } of linesOf(piecesOf(join(folder, file)), file, maxEntryLineBytes)) {
      const entry = readEntryLine(bytes);
      if (entry === undefined) throw damagedAt(file, offset, 'a line that is no entry');
      const isFull =
        batch !== undefined &&
        (batch.entries.length >= limits.maxAppendEntries || batch.bytes + bytes.length > limits.maxAppendBytes);
      if (batch !== undefined && isFull) {
        yield batch;
        batch = undefined;
      }
      batch ??= { file, offset, entries: [], bytes: 0 };
      batch.entries.push(entry);
      batch.bytes += bytes.length;
      entries += 1;
    }
    if (entries !== last - first + 1) throw damagedAt(file, 0, `${entries} entries instead of ${last - first + 1}`);
    if (batch !== undefined) yield batch;
  }
}

function runsOf(places: readonly Placed[]): PlacedBatch {
  const runs: { seq: number; index: number; length: number }[] = [];
  for (const { seq, index } of places) {
    const last = runs.at(-1);
    if (last !== undefined && seq === last.seq + last.length && index === last.index + last.length) last.length += 1;
    else runs.push({ seq, index, length: 1 });
  }
  return runs;
}
