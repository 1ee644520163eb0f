import { z } from 'zod';
import type { EnforcementPolicy } from '../../common/enforcement/policy.ts';
import { toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import type { Origin } from '../desired/standing.ts';
import type { Journal } from '../ports.ts';

/** The commit in force, as far as it matters whether it has settled. */
export interface HeldCommit {
  readonly commit: string;
  /** Undefined when that is not known. */
  readonly origin: Origin | undefined;
  readonly policy: Pick<EnforcementPolicy, 'governance'>;
}

export interface SettlingOptions {
  readonly journal: Journal;
  /** Never goes back, and does not jump. */
  readonly monotonicMs: () => number;
  /** For how long there has been a connection to the collector since this program began, all of them together, milliseconds. */
  readonly connectedMs: () => number;
  readonly logger: Logger;
}

/** Key of the durable note of the commit that has settled. */
const stateKey = 'settled';
const settledNote = z.strictObject({ commit: z.string() });

/**
 * Whether the node has held the commit in force for long enough to act on it alone. A bad commit shows on several nodes before anybody
 * can freeze it; who has not been there to hear of it must not be the one who acts on it. A commit that the collector has brought
 * therefore counts the time for which the node was connected. One from a repository or a stick counts from when it came.
 *
 * Counted by a clock that nobody sets, so a restart before it has settled begins anew; that it has settled is durable.
 */
export class Settling {
  readonly #options: SettlingOptions;
  #settled: string | undefined;
  /** The commit in force since this program has seen it first, by both counts. */
  #since: { readonly commit: string; readonly ms: number; readonly connectedMs: number } | undefined;
  #written = true;
  #failed = '';
  #writing: Promise<void> | undefined;

  constructor(options: SettlingOptions) {
    this.#options = options;
  }

  async restore(): Promise<void> {
    const found = settledNote.safeParse((await this.#options.journal.state(stateKey)).get(stateKey));
    this.#settled = found.data?.commit;
  }

  /** A journal that was replaced knows nothing of it. */
  retell(): Promise<void> {
    this.#written = false;
    return this.flush();
  }

  /** To be asked often: what nobody has looked at has not begun to settle. */
  hasSettled({ commit, origin, policy }: HeldCommit): boolean {
    const { monotonicMs, connectedMs } = this.#options;
    const [ms, connected] = [monotonicMs(), connectedMs()];
    if (this.#since?.commit !== commit) {
      this.#since = { commit, ms, connectedMs: connected };
      // Who goes back to a commit holds it anew.
      if (this.#settled !== commit) this.#remember(undefined);
    }
    if (!this.#written) void this.flush();
    if (this.#settled === commit) return true;
    const { settling_time_ms } = policy.governance;
    const heldMs = ms - this.#since.ms;
    const heardMs = origin === 'repository' || origin === 'stick' ? heldMs : connected - this.#since.connectedMs;
    if (Math.min(heldMs, heardMs) < settling_time_ms) return false;
    this.#remember(commit);
    return true;
  }

  /** Resolves when it is written, or the journal has refused it: then the next call tries again. Never rejects. */
  async flush(): Promise<void> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
    await this.#writing;
  }

  #remember(commit: string | undefined): void {
    if (this.#settled === commit) return;
    this.#settled = commit;
    this.#written = false;
    void this.flush();
  }

  async #write(): Promise<void> {
    const { journal, logger } = this.#options;
    while (!this.#written) {
      this.#written = true;
      const value = this.#settled === undefined ? undefined : { commit: this.#settled };
      try {
        await journal.append([], [{ key: stateKey, value }]);
        this.#failed = '';
      } catch (thrown) {
        this.#written = false;
        const { code, message } = toAppError(thrown);
        if (this.#failed !== code) logger.warn('settled.unwritten', { code, message });
        this.#failed = code;
        return;
      }
    }
  }
}
