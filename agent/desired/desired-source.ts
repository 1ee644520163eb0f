import { z } from 'zod';
import type { DesiredState } from '../../common/desired.ts';
import { type AppError, toAppError } from '../../common/errors.ts';
import { clip } from '../../common/fields.ts';
import type { Statement } from '../../common/kinds.ts';
import type { Logger } from '../../common/log.ts';
import { compileDesired, desiredDigest } from '../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../common/manifest/files.ts';
import { manifestFile } from '../../common/manifest/manifest.ts';
import { formatWarning } from '../../common/manifest/warnings.ts';
import type { Journal, StateChange } from '../ports.ts';
import type { Repository } from './git.ts';
import { readManifestFiles } from './manifest-files.ts';

/** The desired state in force, and the commit it comes from. */
export interface Adopted {
  readonly commit: string;
  readonly desired: DesiredState;
}

/** Key of the durable record of what is in force and what was refused. */
const stateKey = 'desired';

const stored = z.strictObject({
  /** The manifest in force; null while there was never a good one. */
  adopted: z.strictObject({ commit: z.string(), files: z.record(z.string(), z.string()) }).nullable(),
  /** What was wrong the last time, so that it is said once; null when the last one was good. */
  rejected: z.string().nullable(),
});
type Stored = z.infer<typeof stored>;

const nothingStored: Stored = { adopted: null, rejected: null };

export interface DesiredSourceOptions {
  readonly node: string;
  readonly repository: Repository;
  readonly journal: Journal;
  readonly logger: Logger;
}

/**
 * Follows the manifest in a local git checkout. A manifest that cannot be read changes nothing: the last good one stays in
 * force, also across restarts, and an entry says file, line and reason.
 */
export class DesiredSource {
  readonly #options: DesiredSourceOptions;
  /** As the journal holds it; undefined until it was read, and after the journal was replaced. */
  #stored: Stored | undefined;
  /** What is in force, as it was written. */
  #manifest: Stored['adopted'] = null;
  #adopted: Adopted | undefined;

  constructor(options: DesiredSourceOptions) {
    this.#options = options;
  }

  /** What is in force; undefined while there was never a good manifest. */
  get adopted(): Adopted | undefined {
    return this.#adopted;
  }

  /** Takes up the manifest that was in force when the agent last ran. */
  async restore(): Promise<void> {
    await this.#storedNow();
  }

  /** The journal was replaced: what it does not know any more is adopted again. What is in force stays in force. */
  forget(): void {
    this.#stored = undefined;
  }

  /** Looks whether HEAD has moved. Resolves once what changed is on record. Never rejects for a bad manifest. */
  async refresh(): Promise<void> {
    const { adopted, rejected } = await this.#storedNow();
    let commit: string | null = null;
    try {
      commit = await this.#options.repository.head();
      if (commit === adopted?.commit && rejected === null) return;
      const files = await readManifestFiles(this.#options.repository, commit);
      await this.#adopt({ commit, files: Object.fromEntries(files) });
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'validation.manifest') throw error;
      await this.#reject(commit, error);
    }
  }

  async #storedNow(): Promise<Stored> {
    if (this.#stored !== undefined) return this.#stored;
    const parsed = stored.safeParse((await this.#options.journal.state(stateKey)).get(stateKey));
    const found = parsed.success ? this.#usable(parsed.data) : nothingStored;
    this.#stored = found;
    return found;
  }

  /** A manifest that an earlier version adopted may be refused by this one; HEAD is then judged anew. */
  #usable(found: Stored): Stored {
    if (found.adopted === null) return found;
    try {
      this.#adopted = this.#compile(found.adopted);
      this.#manifest = found.adopted;
      return found;
    } catch (thrown) {
      this.#options.logger.error('desired.unusable', { commit: found.adopted.commit, error: toAppError(thrown) });
      return nothingStored;
    }
  }

  async #adopt(manifest: NonNullable<Stored['adopted']>): Promise<void> {
    const adopted = this.#compile(manifest);
    const { desired, commit } = adopted;
    const body = { commit, digest: desiredDigest(desired), containers: desired.containers.length };
    await this.#remember({ adopted: manifest, rejected: null }, [{ kind: 'desired.adopted', body }]);
    this.#adopted = adopted;
    this.#manifest = manifest;
    this.#options.logger.info('desired.adopted', { commit, containers: desired.containers.length });
  }

  #compile({ commit, files }: NonNullable<Stored['adopted']>): Adopted {
    const manifest = parseManifestFiles(new Map(Object.entries(files)));
    for (const warning of manifest.warnings) {
      this.#options.logger.debug('desired.key_without_effect', { warning: formatWarning(warning) });
    }
    return { commit, desired: compileDesired(manifest, this.#options.node) };
  }

  async #reject(commit: string | null, error: AppError): Promise<void> {
    const told = `${commit ?? ''} ${error.message}`;
    if (this.#stored?.rejected === told) return;
    const at = z
      .object({ file: z.string(), line: z.int(), column: z.int(), reason: z.string() })
      .catch({ file: manifestFile, line: 1, column: 1, reason: error.message })
      .parse(error.details);
    const body = { commit, ...at, file: clip(at.file), reason: clip(at.reason) };
    await this.#remember({ adopted: this.#manifest, rejected: told }, [{ kind: 'desired.rejected', body }]);
    this.#options.logger.error('desired.rejected', { commit, reason: error.message });
  }

  async #remember(next: Stored, statements: readonly Statement[]): Promise<void> {
    const change: StateChange = { key: stateKey, value: next };
    await this.#options.journal.append(statements, [change]);
    this.#stored = next;
  }
}
