import type { KeyObject } from 'node:crypto';
import { collectorAuthor, parseEntry } from '../../../common/entry.ts';
import { verifyBytes } from '../../../common/keys.ts';
import type { Body } from '../../../common/kinds.ts';

/** A signed entry as it is stored, not yet believed. */
export interface StoredStatement {
  readonly index: number;
  readonly bytes: Buffer;
  readonly signature: Buffer;
}

/** What a `ledger.erased` entry says, and where. */
export interface Erasure extends Body<'ledger.erased'> {
  readonly index: number;
}

/**
 * The stored statements that are the collector's word about an erasure, in order. What is not signed by it, or not such an
 * entry, is left out: it vouches for nothing.
 */
export function readErasures(stored: readonly StoredStatement[], collectorKey: KeyObject): readonly Erasure[] {
  return stored.flatMap((statement) => erasureIn(statement, collectorKey) ?? []);
}

/** Where statements lie that {@link readErasures} leaves out, in order. */
export function brokenErasures(stored: readonly StoredStatement[], collectorKey: KeyObject): readonly number[] {
  return stored.filter((statement) => erasureIn(statement, collectorKey) === undefined).map(({ index }) => index);
}

function erasureIn({ index, bytes, signature }: StoredStatement, collectorKey: KeyObject): Erasure | undefined {
  if (!verifyBytes(collectorKey, bytes, signature)) return undefined;
  const said = parseOrUndefined(bytes);
  if (said?.kind !== 'ledger.erased' || said.author !== collectorAuthor) return undefined;
  return { index, ...said.body };
}

/** The last word about the erasure that ends at `boundary`. */
export function newestErasureTo(
  stored: readonly StoredStatement[],
  boundary: number,
  collectorKey: KeyObject,
): Erasure | undefined {
  return readErasures(stored, collectorKey).findLast(({ to }) => to === boundary);
}

function parseOrUndefined(bytes: Buffer) {
  try {
    return parseEntry(bytes);
  } catch {
    return undefined;
  }
}
