import type { Clock } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import type { ScanCounts, ScanResult } from './scan.ts';
import { SigilScanner } from './scanner.ts';

export interface FullScanOptions {
  readonly secrets: readonly string[];
  readonly clock: Clock;
  /** As in {@link SigilScanner}. */
  readonly threads?: number | undefined;
  readonly onProgress?: ((done: ScanCounts) => void) | undefined;
}

/**
 * Looks at all of one store, as if for the first time: every finding is in the result. Reads files and nothing else, so it works
 * beside whoever has the store open, and beside a running agent.
 * @throws AppError as {@link SigilScanner.scan}
 */
export function scanFully(
  { name, path }: { readonly name: string; readonly path: string },
  { secrets, clock, threads = 1, onProgress }: FullScanOptions,
): Promise<ScanResult> {
  const scanner = new SigilScanner({ name, path, secrets, clock, threads });
  return scanner.scan({ mode: 'full', state: null, openFindings: [], ...(onProgress && { onProgress }) });
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
