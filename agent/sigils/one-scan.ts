import { type Clock, rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import type { ScanOutcome, ScanRequest, ScanResult } from './scan.ts';

/**
 * Scans one store, and never twice at once: a scanner keeps scratch space.
 * @throws AppError `state.busy` while another scan runs; and what `run` throws
 */
export function oneScanAtATime(
  store: string,
  clock: Clock,
  run: (request: ScanRequest) => Promise<ScanOutcome>,
): (request: ScanRequest) => Promise<ScanResult> {
  let scanning = false;
  return async (request) => {
    if (scanning) throw new AppError('state.busy', `sigil store ${store} is being scanned`, { retryable: true });
    scanning = true;
    try {
      const startedAt = rfc3339(clock.now());
      const startedMs = clock.monotonicMs();
      const outcome = await run(request);
      return { store, mode: request.mode, startedAt, durationMs: clock.monotonicMs() - startedMs, ...outcome };
    } finally {
      scanning = false;
    }
  };
}
