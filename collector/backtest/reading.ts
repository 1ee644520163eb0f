import type { KeyObject } from 'node:crypto';
import { AppError } from '../../common/errors.ts';
import { momentOf } from '../fleet/moment.ts';
import { storable } from '../ledger/projections.ts';
import { type StoredBody, storableEntry } from '../ledger/replay.ts';
import type { Began } from './account.ts';
import { heardKinds, type PastBatch } from './hearing.ts';
import type { BacktestView, PastStatement, Receipt } from './ports.ts';

/** Entries looked at in one step, those that are of no interest included. */
const stepEntries = 2_000;

/** Where the replay begins. */
export interface Beginning {
  readonly began: Began;
  /** Index of the first entry that is replayed. */
  readonly start: number;
  readonly size: number;
  readonly erased: { readonly entries: number; readonly from: number; readonly to: number } | null;
}

export interface Period {
  readonly fromMs: number;
  readonly toMs: number;
  readonly collectorKey: KeyObject;
}

/**
 * The first entry that was received in the period; after an erasure that reaches into it, the first one that was kept.
 * @throws AppError `resource.not_found` when the ledger is empty; `ledger.tampered`.
 */
export async function beginOf(view: BacktestView, { fromMs, toMs, collectorKey }: Period): Promise<Beginning> {
  const { size } = await view.fleet.head();
  if (size === 0) throw new AppError('resource.not_found', 'the ledger has no entry that could be replayed');
  const wanted = (await view.fleet.receiptBy(fromMs))?.size ?? 0;
  const boundary = await view.fleet.boundary();
  const start = Math.max(wanted, boundary);
  const nowMs = Math.max(fromMs, await receivedMs(view, start, { toMs, collectorKey }));
  const erased =
    wanted < boundary ? { entries: await view.bodiless(wanted, boundary), from: wanted, to: boundary } : null;
  return { began: { index: start - 1, nowMs }, start, size, erased };
}

/** When the ledger had come so far; of the very beginning, when its first entry was received. */
async function receivedMs(
  { fleet }: BacktestView,
  size: number,
  { toMs, collectorKey }: Pick<Period, 'toMs' | 'collectorKey'>,
): Promise<number> {
  const { receivedAt } = await momentOf(fleet, { size: Math.max(1, size) }, { now: toMs, collectorKey });
  return Date.parse(receivedAt);
}

/**
 * What was received from one index up to, but not including, another one: in order, and together what was received together.
 * @throws AppError `ledger.tampered` for an entry that is not what was logged.
 */
export async function* pastBatches(
  view: BacktestView,
  { from, to }: { readonly from: number; readonly to: number },
): AsyncGenerator<PastBatch> {
  let open: { receipt: Receipt; statements: PastStatement[] } | undefined;
  for (let at = from; at < to; at += stepEntries) {
    const end = Math.min(at + stepEntries, to);
    const [stored, receipts] = [await view.entries(at, end, heardKinds), await view.receipts(at, end)];
    let nth = 0;
    for (const body of stored) {
      while ((receipts[nth]?.size ?? Number.POSITIVE_INFINITY) <= body.index) nth += 1;
      const receipt = receipts[nth];
      if (receipt === undefined) throw unreceived(body.index);
      if (open !== undefined && open.receipt.size !== receipt.size) {
        yield batchOf(open);
        open = undefined;
      }
      open ??= { receipt, statements: [] };
      open.statements.push(statementOf(body));
    }
  }
  if (open !== undefined) yield batchOf(open);
}

function batchOf({ receipt, statements }: { receipt: Receipt; statements: readonly PastStatement[] }): PastBatch {
  return { receivedMs: receipt.receivedMs, statements };
}

function statementOf(body: StoredBody): PastStatement {
  const logged = storableEntry(body);
  const { author, at } = logged.entry;
  return { index: logged.index, author, atMs: Date.parse(at), said: storable(logged) };
}

function unreceived(index: number): AppError {
  return new AppError(
    'ledger.tampered',
    `when entry ${index} was received is missing; see what "sigilwatch-collector ledger verify" says`,
    { details: { index } },
  );
}
