import type { Adopted, DesiredSource } from './desired-source.ts';
import type { HoldingBoard } from './holding.ts';
import { Offers } from './offers.ts';

export interface DesiredUpkeepOptions {
  /** Without it nothing is wanted here, and nothing is taken. */
  readonly source: DesiredSource | undefined;
  /** Where it is said what the node has of the desired state. */
  readonly holding: Pick<HoldingBoard, 'put'> | undefined;
  /** Does what may fail, and tells it. Resolves to false when it failed; never rejects. */
  readonly guarded: (work: () => Promise<void>) => Promise<boolean>;
  /** Another commit is in force. @throws AppError */
  readonly onAdopted: () => Promise<void>;
}

/** Keeps up with what git says should run here, and tells what of it this node has. */
export class DesiredUpkeep {
  readonly #options: DesiredUpkeepOptions;
  readonly #offers: Offers;

  constructor(options: DesiredUpkeepOptions) {
    const { source, guarded } = options;
    this.#options = options;
    this.#offers = new Offers({
      source,
      run: (work) => guarded(() => this.#noticing(work)),
      onIncomplete: () => this.#tell(null),
    });
  }

  get adopted(): Adopted | undefined {
    return this.#options.source?.adopted;
  }

  /** Looks for what is new. @throws AppError as `DesiredSource.refresh`. */
  refresh(): Promise<void> {
    return this.#noticing(async () => {
      await this.#options.source?.refresh();
    });
  }

  /** Says what this node has, which is not known before it was read back. @throws AppError */
  async tellHolding(): Promise<void> {
    this.#tell((await this.#options.source?.have()) ?? null);
  }

  /** Takes a bundle; whether it is to be believed is looked into. Never rejects. */
  async offer(commit: string, bundle: Buffer): Promise<void> {
    if (this.#options.source?.takesOffers === true) await this.#offers.take(commit, bundle);
  }

  /** Looks into a bundle that could not be looked into before. Never rejects. */
  again(): Promise<void> {
    return this.#offers.again();
  }

  async #noticing(work: () => Promise<void>): Promise<void> {
    const before = this.adopted;
    await work();
    if (this.adopted === before) return;
    await this.tellHolding();
    await this.#options.onAdopted();
  }

  /** @param base what a bundle may build on. */
  #tell(base: string | null): void {
    const { source, holding } = this.#options;
    holding?.put({ commit: this.adopted?.commit ?? null, base, takes: source?.takesOffers === true });
  }
}
