import type { Logger } from '../../common/log.ts';
import { defaultWitnesses, type WitnessesWanted } from '../../common/witnesses.ts';
import type { AdoptedManifest, ManifestFollower } from './follower.ts';

/** Keeps what the last good manifest wanted of the witnesses. Resolved means committed. */
export interface WantedStore {
  wanted(): Promise<WitnessesWanted | undefined>;
  saveWanted(commit: string, wanted: WitnessesWanted): Promise<void>;
}

export interface WantedOptions {
  readonly follower: Pick<ManifestFollower, 'onChange'>;
  readonly store: WantedStore;
  readonly logger: Logger;
}

/**
 * What the manifest in force says about witnesses, also for those who read it from the database: commands and other
 * collectors.
 */
export class WantedWitnesses {
  readonly #options: WantedOptions;
  #wanted = defaultWitnesses;

  constructor(options: WantedOptions) {
    this.#options = options;
    options.follower.onChange((adopted) => this.#take(adopted));
  }

  get wanted(): WitnessesWanted {
    return this.#wanted;
  }

  /** Takes up what was in force before. @throws AppError `database.*`. */
  async restore(): Promise<void> {
    this.#wanted = (await this.#options.store.wanted()) ?? defaultWitnesses;
  }

  async #take({ commit, manifest }: AdoptedManifest): Promise<void> {
    const { store, logger } = this.#options;
    const { quorum, outside } = manifest.witnesses;
    await store.saveWanted(commit, manifest.witnesses);
    this.#wanted = manifest.witnesses;
    logger.info('witnesses.wanted', { commit, quorum, outside: outside.length });
  }
}
