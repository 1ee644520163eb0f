import { type ChainHead, headAfter, type SignedEntry } from '../../common/entry.ts';
import type { Statement } from '../../common/kinds.ts';
import { accountOf, countDropped, countRefused, forgive, isPeriodic } from './drops.ts';
import { storedBytes } from './layout.ts';
import type { Standing } from './standing.ts';

/** What one call of `append` wants to say; it is said whole or not at all. */
export interface Wish {
  readonly statements: readonly Statement[];
  /** Unix milliseconds of the call. */
  readonly at: number;
}

export interface Room {
  /** Up to here anything is taken. */
  readonly ordinaryBytes: number;
  /** Up to here what is not periodic is taken. */
  readonly totalBytes: number;
  /** False while the disk is full: then there is no room at all. */
  readonly disk: boolean;
}

export type Seal = (statement: Statement, head: ChainHead, at: number) => SignedEntry;

/**
 * - `numbered`: `own` are the entries of the wish, `added` also holds the account of earlier drops before them.
 * - `dropped`: periodic statements, counted, gone.
 * - `refused`: counted, and still the caller's to say.
 */
export type Decision = { readonly after: Standing } & (
  | { readonly outcome: 'numbered'; readonly own: readonly SignedEntry[]; readonly added: readonly SignedEntry[] }
  | { readonly outcome: 'dropped' }
  | { readonly outcome: 'refused' }
);

/**
 * Decides before anything is numbered, so an overflow never leaves a hole in the chain.
 *
 * The account of drops is written once ordinary room is back, directly before the statement that finds it: one entry
 * per overflow, and the reserved share is left to drifts and findings.
 * @throws AppError `validation.entry` when a statement has no canonical form or is too large.
 */
export function decide(wish: Wish, standing: Standing, room: Room, seal: Seal): Decision {
  const { statements, at } = wish;
  const periodic = statements.length > 0 && statements.every(isPeriodic);
  const unsaid = forgive(standing.drops, statements);
  const numbered = (added: readonly SignedEntry[], drops: Standing['drops']): Decision => {
    const last = added.at(-1);
    const own = statements.length === 0 ? [] : added.slice(-statements.length);
    const head = last === undefined ? standing.head : headAfter(last);
    return {
      outcome: 'numbered',
      own,
      added,
      after: { ...standing, head, bytes: standing.bytes + sizeOf(added), drops },
    };
  };
  // Only changes of state: they free more often than they fill, and the agent bounds what it keeps there.
  if (statements.length === 0) return numbered([], standing.drops);
  if (room.disk) {
    const all = unsaid === null ? statements : [accountOf(unsaid), ...statements];
    const withAccount = sealAll(all, standing.head, at, seal);
    if (standing.bytes + sizeOf(withAccount) <= room.ordinaryBytes) return numbered(withAccount, null);
    if (!periodic) {
      const alone = unsaid === null ? withAccount : sealAll(statements, standing.head, at, seal);
      if (standing.bytes + sizeOf(alone) <= room.totalBytes) return numbered(alone, unsaid);
    }
  }
  return periodic
    ? { outcome: 'dropped', after: { ...standing, drops: countDropped(standing.drops, statements, at) } }
    : { outcome: 'refused', after: { ...standing, drops: countRefused(standing.drops, statements, at) } };
}

function sealAll(statements: readonly Statement[], from: ChainHead, at: number, seal: Seal): SignedEntry[] {
  let head = from;
  return statements.map((statement) => {
    const signed = seal(statement, head, at);
    head = headAfter(signed);
    return signed;
  });
}

function sizeOf(entries: readonly SignedEntry[]): number {
  return entries.reduce((sum, { bytes }) => sum + storedBytes(bytes.length), 0);
}
