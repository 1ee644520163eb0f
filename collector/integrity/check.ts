import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { rfc3339 } from '../../common/clock.ts';
import { type AppError, toAppError } from '../../common/errors.ts';
import { clip } from '../../common/fields.ts';
import type { VerifySignature } from '../../common/keys.ts';
import { type ComparedTable, type LedgerCheck, ledgerStatus } from '../../common/ledger-check.ts';
import { limits } from '../../common/limits.ts';
import { checkProjections, type Replays, type RowDifference, type TableComparison } from '../ledger/replay.ts';
import type { StoredLedger } from '../ledger/verify/source.ts';
import { type KeptTree, verifyLedger } from '../ledger/verify/verify.ts';

export interface CheckedLedger {
  readonly origin: string;
  readonly collectorKey: KeyObject;
  /** Read before the check begins, so that the ledger has grown beyond them. */
  readonly checkpoints: readonly KeptTree[];
}

/** What a check is made with. */
export interface CheckMeans {
  readonly stored: StoredLedger;
  readonly replays: Pick<Replays, 'check'>;
  /** Keeps erasures away meanwhile: bodies that are dropped would look lost. */
  readonly undisturbed: <T>(work: () => Promise<T>) => Promise<T>;
  readonly verifySignature: VerifySignature;
  /** What a failure of the database means, where it means damage. */
  readonly damageOf: (thrown: unknown) => AppError | undefined;
  readonly clock: Clock;
  readonly onProgress?: CheckProgress | undefined;
}

/** Entries done and to do, over both halves of a check. What it throws ends the half it is thrown in. */
export type CheckProgress = (done: number, of: number) => void;

/**
 * Checks everything: the ledger as `ledger verify` does, and then what is derived from it as `ledger replay --check` does. What is wrong, and
 * what could not be checked, is in the result. Never rejects.
 */
export async function checkLedger(ledger: CheckedLedger, means: CheckMeans): Promise<LedgerCheck> {
  const { clock } = means;
  const [startedAt, startedMs] = [rfc3339(clock.now()), clock.monotonicMs()];
  const entries = await verified(ledger, means);
  const unreachable = entries.error?.code === 'database.unreachable';
  const derived = unreachable ? nothingDerived : await compared(ledger, means);
  const found = {
    // What is wrong with the entries is also why nothing can be derived from them.
    fault: entries.fault ?? derived.fault,
    projections: derived.projections,
    error: entries.error ?? derived.error,
  };
  const durationMs = Math.round(clock.monotonicMs() - startedMs);
  return {
    ...{ origin: ledger.origin, status: ledgerStatus(found), startedAt, durationMs },
    ...{ verified: entries.verified, ...found },
  };
}

type Half<T> = Pick<LedgerCheck, 'fault' | 'error'> & T;

const nothingDerived: Half<Pick<LedgerCheck, 'projections'>> = { projections: null, fault: null, error: null };

async function verified(
  { origin, collectorKey, checkpoints }: CheckedLedger,
  { stored, undisturbed, verifySignature, damageOf, clock, onProgress = () => {} }: CheckMeans,
): Promise<Half<Pick<LedgerCheck, 'verified'>>> {
  const startedMs = clock.monotonicMs();
  try {
    const report = await undisturbed(() =>
      verifyLedger(stored, {
        ...{ origin, collectorKey, checkpoints, signatures: verifySignature },
        onProgress: (done, of) => onProgress(done, 2 * of),
      }),
    );
    const { size, root, authors, batches, tiles, erased, fault = null } = report;
    return {
      verified: {
        // What is wrong with an entry may show only at a later one.
        size: Math.min(size, fault?.index ?? size),
        root: fault === null ? root.toString('base64') : null,
        ...{ authors, batches, tiles, erased },
        checkpoint: checkpoints.reduce<number | null>((most, kept) => Math.max(most ?? 0, kept.size), null),
        durationMs: Math.round(clock.monotonicMs() - startedMs),
      },
      fault: fault && { ...fault, message: shortened(fault.message) },
      error: null,
    };
  } catch (thrown) {
    return { verified: null, ...whyNot(damageOf(thrown) ?? toAppError(thrown), 'unreadable') };
  }
}

async function compared(
  { collectorKey }: CheckedLedger,
  { replays, damageOf, clock, onProgress = () => {} }: CheckMeans,
): Promise<Half<Pick<LedgerCheck, 'projections'>>> {
  const startedMs = clock.monotonicMs();
  try {
    const report = await checkProjections(replays, {
      collectorKey,
      onProgress: (done, of) => onProgress(of + done, 2 * of),
    });
    const { size, from } = report;
    const durationMs = Math.round(clock.monotonicMs() - startedMs);
    return { ...nothingDerived, projections: { size, from, durationMs, tables: report.tables.map(shownTable) } };
  } catch (thrown) {
    return { projections: null, ...whyNot(damageOf(thrown) ?? toAppError(thrown), 'projections') };
  }
}

/** A half that came to no end, because of what is wrong with the ledger or because something was in the way. */
function whyNot({ code, message, details }: AppError, name: string): Pick<LedgerCheck, 'fault' | 'error'> {
  if (code !== 'ledger.tampered') return { fault: null, error: { code, message: shortened(message) } };
  const index = typeof details.index === 'number' ? details.index : null;
  return { fault: { fault: name, index, message: shortened(message) }, error: null };
}

function shownTable({ table, stored, rebuilt, differing, rows }: TableComparison): ComparedTable {
  return { table, stored, rebuilt, differing, rows: rows.slice(0, limits.maxDifferingRows).map(shownRow) };
}

/** Values come from nodes, or from whoever edited them. */
function shownRow({ problem, key, index, columns }: RowDifference): ComparedTable['rows'][number] {
  const cell = (value: string | null) => (value === null ? null : clip(value));
  return {
    ...{ problem, index: index !== null && index >= 0 ? index : null },
    key: Object.fromEntries(Object.entries(key).map(([column, value]) => [column, cell(value)])),
    columns: columns.map(({ column, stored, rebuilt }) => ({ column, stored: cell(stored), rebuilt: cell(rebuilt) })),
  };
}

function shortened(message: string): string {
  return message.slice(0, limits.maxOwnTextChars).toWellFormed();
}
