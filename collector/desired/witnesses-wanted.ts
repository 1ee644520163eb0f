import { toAppError } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { manifestFile, parseManifest } from '../../common/manifest/manifest.ts';
import { defaultWitnesses, type WitnessesWanted } from '../../common/witnesses.ts';
import type { Repository } from './git.ts';

/** Keeps what the last good manifest wanted of the witnesses. Resolved means committed. */
export interface WantedStore {
  wanted(): Promise<WitnessesWanted | undefined>;
  saveWanted(commit: string, wanted: WitnessesWanted): Promise<void>;
}

export interface WantedOptions {
  readonly repository: Repository;
  readonly store: WantedStore;
  readonly logger: Logger;
}

/**
 * Follows what the manifest says about witnesses. A manifest that cannot be read changes nothing: what the last good one
 * wanted stays in force, also across restarts, and the log says file, line and reason.
 */
export class WantedWitnesses {
  readonly #options: WantedOptions;
  #wanted = defaultWitnesses;
  #commit: string | undefined;
  /** The last mistake that was told. */
  #told = '';

  constructor(options: WantedOptions) {
    this.#options = options;
  }

  get wanted(): WitnessesWanted {
    return this.#wanted;
  }

  /** Takes up what was in force before. @throws AppError `database.*`. */
  async restore(): Promise<void> {
    this.#wanted = (await this.#options.store.wanted()) ?? defaultWitnesses;
  }

  /** Looks whether HEAD has moved. Never rejects for a bad manifest. @throws AppError `database.*`. */
  async refresh(): Promise<void> {
    const { repository, store, logger } = this.#options;
    let commit: string | undefined;
    try {
      commit = await repository.head();
      if (commit === this.#commit) return;
      const { witnesses } = parseManifest(await repository.read(commit, manifestFile));
      await store.saveWanted(commit, witnesses);
      this.#wanted = witnesses;
      this.#commit = commit;
      this.#told = '';
      logger.info('manifest.adopted', { commit, quorum: witnesses.quorum, outside: witnesses.outside.length });
    } catch (thrown) {
      const { code, message, details } = toAppError(thrown);
      if (code !== 'validation.manifest') throw thrown;
      // A commit judged once stays judged; a repository that cannot be read may be back at any time.
      this.#commit = commit;
      if (this.#told !== message) logger.error('manifest.rejected', { commit, ...details, message });
      this.#told = message;
    }
  }
}
