import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { storeScanner } from '../store-scanner.ts';
import type { StorePlace } from '../tables/table-settings.ts';
import type { InventoryRequest } from './inventory/taking.ts';
import type { ScanResult } from './scan.ts';
import type { ScanCounts } from './scan-counts.ts';

export interface NamedStore {
  readonly name: string;
  readonly place: StorePlace;
}

export interface FullScanOptions {
  readonly secrets: readonly string[];
  readonly clock: Clock;
  /** As in {@link storeScanner}. */
  readonly threads?: number | undefined;
  /** What is compared with an inventory that is left as it is, and how far it came; nothing of both without. */
  readonly inventory?: Omit<InventoryRequest, 'keeps' | 'accepted'>;
  readonly onProgress?: ((done: ScanCounts) => void) | undefined;
}

/**
 * Looks at all of one store, as if for the first time: every finding is in the result. Only reads, so it works
 * beside whoever has the store open, and beside a running agent. With an inventory, it is the caller's to end: `keep` once the result
 * is safe, `drop` where another scan is to go on with this one.
 * @throws AppError as `StoreScanner.scan`
 */
export async function scanFully(
  { name, place }: NamedStore,
  { secrets, clock, threads, inventory, onProgress }: FullScanOptions,
): Promise<ScanResult> {
  const scanner = storeScanner({ name, place, secrets, clock, threads });
  return scanner.scan({
    ...{ mode: 'full', state: null, openFindings: [] },
    ...(inventory && { inventory: { ...inventory, keeps: false } }),
    ...(onProgress && { onProgress }),
  });
}

/** What kept some of the store from being checked; undefined when nothing did. */
export function unchecked(result: ScanResult): AppError | undefined {
  return unsettled(result) ?? result.inventory?.failed ?? undefined;
}

/** What a result that did not settle leaves out; undefined when nothing. */
export function unsettled({ store, settled }: Pick<ScanResult, 'store' | 'settled'>): AppError | undefined {
  if (settled) return undefined;
  return new AppError(
    'state.busy',
    `sigil store ${store} rewrote files faster than they were read: not all was checked`,
    {
      retryable: true,
    },
  );
}
