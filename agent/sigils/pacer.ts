import type { Clock } from '../../common/clock.ts';
import { limits } from '../../common/limits.ts';

/**
 * Keeps a scan from holding the event loop: ask `due` between small pieces of work and `await rest()` when it says so.
 * `pause` gives the loop a turn; a slower one also keeps the scan's share of the processor down.
 */
export class Pacer {
  private readonly clock: Clock;
  private readonly pause: () => Promise<void>;
  private readonly signal: AbortSignal | undefined;
  private since: number;

  constructor(clock: Clock, pause: () => Promise<void>, signal: AbortSignal | undefined) {
    this.clock = clock;
    this.pause = pause;
    this.signal = signal;
    this.since = clock.monotonicMs();
  }

  get due(): boolean {
    return this.clock.monotonicMs() - this.since >= limits.sigilScanSliceMs;
  }

  /** @throws the signal's reason once it is aborted */
  async rest(): Promise<void> {
    this.signal?.throwIfAborted();
    await this.pause();
    this.since = this.clock.monotonicMs();
  }
}
