import type { DesiredSource, OfferOutcome } from './desired-source.ts';

export interface OffersOptions {
  readonly source: Pick<DesiredSource, 'offerBundle'> | undefined;
  /** Does what may bring another commit into force. Resolves to false when it failed; never rejects. */
  readonly run: (work: () => Promise<void>) => Promise<boolean>;
  /** A bundle builds on what is not here: only a whole one will do. */
  readonly onIncomplete: () => void;
}

interface Offered {
  readonly commit: string;
  readonly bundle: Buffer;
}

/**
 * Bundles that the collector hands over, one at a time; of those that come meanwhile the last one counts. One that could not be looked
 * into, since the disk was full perhaps, is kept: the collector does not send it twice.
 */
export class Offers {
  readonly #options: OffersOptions;
  #waiting: Offered | undefined;
  #looking = false;

  constructor(options: OffersOptions) {
    this.#options = options;
  }

  /** Resolves when nothing more can be done about it now. */
  take(commit: string, bundle: Buffer): Promise<void> {
    this.#waiting = { commit, bundle };
    return this.again();
  }

  /** Looks into what waits, if anything does. */
  async again(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    try {
      while (this.#waiting !== undefined && (await this.#next(this.#waiting)));
    } finally {
      this.#looking = false;
    }
  }

  /** @returns false when it has to wait. */
  async #next(offered: Offered): Promise<boolean> {
    const { source, run, onIncomplete } = this.#options;
    let result: OfferOutcome | undefined;
    const isDone = await run(async () => {
      result = await source?.offerBundle(offered.commit, offered.bundle);
    });
    // Whatever failed after its outcome is on record is tried again by itself.
    if (!isDone && result === undefined) return false;
    if (this.#waiting === offered) this.#waiting = undefined;
    if (result?.outcome === 'incomplete') onIncomplete();
    return true;
  }
}
