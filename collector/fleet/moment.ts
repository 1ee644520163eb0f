import type { KeyObject } from 'node:crypto';
import { verifyBatch } from '../../common/batch.ts';
import { rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { FleetView, StoredReceipt } from './view.ts';

/** Which past is asked for: when, in Unix milliseconds, or after how many entries. The present without either. */
export type FleetMoment = { readonly at: number } | { readonly size: number } | 'present';

export interface Moment {
  /** Of the tree: the moment is what its entries tell. */
  readonly size: number;
  /** When the last of them was received, by the collector's clock. */
  readonly receivedAt: string;
}

export interface MomentNeeds {
  /** Unix milliseconds. */
  readonly now: number;
  /** The collector's: times of receipt are signed with it. */
  readonly collectorKey: KeyObject;
}

/**
 * How far the ledger was at that moment. Clocks are set back and the ledger is not, so a time means the furthest that any
 * batch received up to then had reached.
 * @throws AppError `validation.request` for the future, of which nobody knows anything yet; `resource.not_found` before the
 *   first entry and beyond the end; `resource.gone` where bodies that would tell were erased; `ledger.tampered`.
 */
export async function momentOf(
  view: FleetView,
  asked: FleetMoment,
  { now, collectorKey }: MomentNeeds,
): Promise<Moment> {
  const head = await view.head();
  const wanted = asked === 'present' ? head : asked;
  if ('size' in wanted && wanted.size > head.size) {
    throw new AppError('resource.not_found', `the ledger has only ${head.size} entries`, {
      details: { size: head.size },
    });
  }
  if ('at' in wanted) refuseFuture(wanted.at, now);
  const receipt = 'at' in wanted ? await view.receiptBy(wanted.at) : await view.receiptOf(wanted.size);
  const size = 'at' in wanted ? (receipt?.size ?? 0) : wanted.size;
  if (size === 0) throw await beforeAll(view);
  // The one after names this one as the one before it: so none that is nearer to the time was taken away between them.
  const next = receipt === undefined || receipt.size === head.size ? receipt : await view.receiptOf(receipt.size + 1);
  if (receipt === undefined || next === undefined) throw lost(head.size);
  for (const one of [receipt, next]) requireSigned(one, head.origin, collectorKey);
  const boundary = await view.boundary();
  if (size < boundary) throw erased(size, boundary);
  return { size, receivedAt: rfc3339(receipt.receivedAtMs) };
}

/** Whoever asks for now, by a clock that is a little ahead, is answered. */
function refuseFuture(at: number, now: number): void {
  if (at <= now + limits.clockSuspectMs) return;
  throw new AppError('validation.request', `${rfc3339(at)} has not come yet: here it is ${rfc3339(now)}`, {
    details: { now: rfc3339(now) },
  });
}

async function beforeAll(view: FleetView): Promise<AppError> {
  const first = await view.receiptOf(1);
  const beginsAt = first === undefined ? null : rfc3339(first.receivedAtMs);
  return new AppError('resource.not_found', `that is before the ledger's first entry, of ${beginsAt ?? 'some day'}`, {
    details: { beginsAt },
  });
}

function requireSigned(receipt: StoredReceipt, origin: string, collectorKey: KeyObject): void {
  const { signature, ...batch } = receipt;
  if (verifyBatch({ origin, ...batch }, signature, collectorKey)) return;
  throw new AppError(
    'ledger.tampered',
    `when the entries ${batch.from} to ${batch.size - 1} were received is not signed as it is stored: it was changed, or the batch before is gone; see what "sigilwatch-collector ledger verify" says`,
    { details: { size: batch.size } },
  );
}

function lost(size: number): AppError {
  return new AppError(
    'ledger.tampered',
    `when the last of the ${size} entries were received is missing; see what "sigilwatch-collector ledger verify" says`,
    { details: { size } },
  );
}

function erased(size: number, boundary: number): AppError {
  return new AppError(
    'resource.gone',
    `what the first ${size} entries said was erased; the ledger tells how the fleet was from size ${boundary} on, and its last ledger.erased entry says whether there is an export`,
    { details: { size, erasedTo: boundary } },
  );
}
