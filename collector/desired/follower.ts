import { hash } from 'node:crypto';
import pLimit from 'p-limit';
import { z } from 'zod';
import { canonicalText } from '../../common/canonical.ts';
import type { Clock } from '../../common/clock.ts';
import { driftKinds } from '../../common/drift-kind.ts';
import { enforcementPolicy } from '../../common/enforcement/policy.ts';
import { type AppError, toAppError } from '../../common/errors.ts';
import { clip } from '../../common/fields.ts';
import type { StatementOf } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { readCommitted } from '../../common/manifest/committed.ts';
import { type ManifestFiles, parseManifestFiles } from '../../common/manifest/files.ts';
import { type Manifest, manifestFile } from '../../common/manifest/manifest.ts';
import { answeredKinds, type EarlierManifest } from '../enforcement/freeze.ts';
import { createBundles, type ManifestBundle } from './bundles.ts';
import type { Repository } from './git.ts';
import type { Look, RefusedLook } from './look.ts';

/** The manifest in force at the collector, and the commit it comes from. */
export interface AdoptedManifest {
  readonly commit: string;
  readonly manifest: Manifest;
  readonly adoptedAtMs: number;
  /** What was in force before, newest first. */
  readonly earlier: readonly EarlierManifest[];
}

/** What the collector keeps of the manifest over restarts. */
export const keptManifest = z.strictObject({
  /** As it was written; null while there was never a good one. */
  adopted: z
    .strictObject({
      commit: z.string(),
      files: z.record(z.string(), z.string()),
      adoptedAtMs: z.int(),
      earlier: z
        .array(z.strictObject({ commit: z.string(), answered: z.array(z.enum(driftKinds)).readonly() }))
        .readonly()
        .default([]),
    })
    .nullable(),
  /** What was wrong the last time, so that it is said once; null when the last one was good. */
  rejected: z.string().nullable(),
});
export type KeptManifest = z.infer<typeof keptManifest>;

/**
 * The manifest that is kept as the one in force; undefined when there was never one.
 * @throws AppError `validation.manifest` for one that a version wrote which was less strict.
 */
export function readAdopted({ adopted }: KeptManifest): AdoptedManifest | undefined {
  if (adopted === null) return undefined;
  const { commit, files, adoptedAtMs, earlier } = adopted;
  return { commit, manifest: parseManifestFiles(new Map(Object.entries(files))), adoptedAtMs, earlier };
}

/** Keeps it durably: resolved means on disk. One writer. */
export interface ManifestStore {
  /** Undefined when there is nothing, or nothing that can be read. */
  load(): Promise<KeptManifest | undefined>;
  save(kept: KeptManifest): Promise<void>;
}

/** What the follower has to say. */
export type ManifestStatement = StatementOf<'desired.adopted'> | StatementOf<'desired.rejected'>;

/** Told about each manifest that comes into force; again, when it rejects, with the next look. */
export type ManifestListener = (adopted: AdoptedManifest) => Promise<void> | void;

export interface FollowerOptions {
  readonly repository: Repository;
  readonly store: ManifestStore;
  /** Puts a statement on record; resolved means that it is. */
  readonly record: (statement: ManifestStatement) => Promise<unknown>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Follows the manifest and its compose files in a local repository. A commit with a mistake changes nothing: the last good one
 * stays in force, also across restarts, and the ledger and the log say file, line and reason. Signatures are not looked at
 * here: that is for each node to do, which need not trust the collector.
 *
 * Crash points: a commit is on record before it is in force; after a crash in between it is put on record once more.
 */
export class ManifestFollower {
  readonly #options: FollowerOptions;
  readonly #oneAtATime = pLimit(1);
  readonly #bundles: ReturnType<typeof createBundles>;
  /** Each with the manifest that it was told about last. */
  readonly #listeners = new Map<ManifestListener, AdoptedManifest | undefined>();
  #kept: KeptManifest = { adopted: null, rejected: null };
  #adopted: AdoptedManifest | undefined;
  /** The commit that was looked at last; a repository that cannot be read may be back at any time. */
  #judged: string | undefined;
  /** What was wrong with it. */
  #refused: RefusedLook | undefined;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#bundles = createBundles(options.repository);
  }

  /** What is in force; undefined while there was never a good manifest. */
  get adopted(): AdoptedManifest | undefined {
    return this.#adopted;
  }

  /** Calls `listener` with what is in force from the next look on. @returns the function that ends it. */
  onChange(listener: ManifestListener): () => void {
    this.#listeners.set(listener, undefined);
    return () => void this.#listeners.delete(listener);
  }

  /** Takes up what was in force before. */
  async restore(): Promise<void> {
    const kept = await this.#options.store.load();
    if (kept === undefined) return;
    this.#kept = kept;
    try {
      this.#adopted = readAdopted(kept);
      if (kept.rejected === null) this.#judged = this.#adopted?.commit;
    } catch (thrown) {
      this.#options.logger.error('manifest.unusable', { commit: kept.adopted?.commit, error: toAppError(thrown) });
    }
  }

  /**
   * Looks now whether HEAD has moved. Never rejects for a bad manifest: what came of the look is its result.
   * @throws AppError of the record, the store and the listeners: nothing is skipped, the next look does what is left.
   */
  refresh(): Promise<Look> {
    return this.#oneAtATime(async () => {
      const look = await this.#look();
      await this.#tell();
      return look;
    });
  }

  /** Resolves when no look is under way. */
  settled(): Promise<void> {
    return this.#oneAtATime(async () => {});
  }

  /**
   * The commit in force as a git bundle; undefined when there is none, when it cannot be made, or when `have` is that commit.
   * @param have a commit that the other side says it has: what it and those before it hold is left out, when they are part of
   *   the history of the one in force. Else the bundle is whole.
   */
  async bundleFor(have: string | undefined): Promise<ManifestBundle | undefined> {
    const commit = this.#adopted?.commit;
    if (commit === undefined || commit === have) return undefined;
    try {
      return await this.#bundles.make(commit, have);
    } catch (thrown) {
      this.#options.logger.error('manifest.no_bundle', { commit, reason: toAppError(thrown).message });
      return undefined;
    }
  }

  async #look(): Promise<Look> {
    const { repository } = this.#options;
    const before = this.#adopted?.commit;
    let commit: string | null = null;
    try {
      commit = await repository.head();
      if (commit === this.#judged) return this.#refused ?? { outcome: 'unchanged', commit };
      await this.#adopt(commit, await readCommitted(repository, commit));
      [this.#refused, this.#judged] = [undefined, commit];
      return { outcome: commit === before ? 'unchanged' : 'adopted', commit };
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code !== 'validation.manifest') throw error;
      const refused = await this.#reject(commit, error);
      [this.#refused, this.#judged] = [refused, commit ?? undefined];
      return refused;
    }
  }

  async #adopt(commit: string, files: ManifestFiles): Promise<void> {
    const { store, record, clock, logger } = this.#options;
    const manifest = parseManifestFiles(files);
    const isBack = commit === this.#adopted?.commit;
    const body = { commit, digest: filesDigest(files), containers: containersOf(manifest) };
    // After trouble with the repository itself, what was in force all the time is nothing new.
    if (!isBack) await record({ kind: 'desired.adopted', body });
    const adoptedAtMs = isBack ? (this.#adopted?.adoptedAtMs ?? clock.now()) : clock.now();
    const earlier = isBack ? (this.#adopted?.earlier ?? []) : earlierThan(this.#adopted);
    const kept = { adopted: { commit, files: Object.fromEntries(files), adoptedAtMs, earlier }, rejected: null };
    await store.save(kept);
    this.#kept = kept;
    if (isBack) return;
    this.#adopted = { commit, manifest, adoptedAtMs, earlier };
    logger.info('manifest.adopted', { commit, containers: body.containers });
  }

  async #reject(commit: string | null, error: AppError): Promise<RefusedLook> {
    const { store, record, logger } = this.#options;
    const told = `${commit ?? ''} ${error.message}`;
    const at = placed.catch({ file: manifestFile, line: 1, column: 1, reason: error.message }).parse(error.details);
    const body = { commit, ...at, file: clip(at.file), reason: clip(at.reason) };
    const refused: RefusedLook = { outcome: 'refused', ...body, inForce: this.#adopted?.commit ?? null };
    if (this.#kept.rejected === told) return refused;
    await record({ kind: 'desired.rejected', body });
    const kept = { ...this.#kept, rejected: told };
    await store.save(kept);
    this.#kept = kept;
    logger.error('manifest.rejected', { ...body, message: error.message });
    return refused;
  }

  async #tell(): Promise<void> {
    const adopted = this.#adopted;
    if (adopted === undefined) return;
    for (const [listener, told] of this.#listeners) {
      if (told === adopted) continue;
      await listener(adopted);
      if (this.#listeners.has(listener)) this.#listeners.set(listener, adopted);
    }
  }
}

const placed = z.object({ file: z.string(), line: z.int(), column: z.int(), reason: z.string() });

/** With what comes after it, newest first; enough for whoever mends one bad commit after the other. */
function earlierThan(adopted: AdoptedManifest | undefined): EarlierManifest[] {
  if (adopted === undefined) return [];
  const { commit, manifest, earlier } = adopted;
  const last = { commit, answered: [...answeredKinds(enforcementPolicy(manifest))] };
  return [last, ...earlier].slice(0, limits.earlierManifestsKept);
}

/** Hex SHA-256 over the paths and hashes of all files, in order of the paths. */
export function filesDigest(files: ManifestFiles): string {
  const sorted = [...files].sort(([a], [b]) => (a < b ? -1 : 1));
  const listed = sorted.map(([file, text]) => ({ file, sha256: hash('sha256', text, 'hex') }));
  return hash('sha256', canonicalText(listed), 'hex');
}

/** Containers that are looked for; one that is wanted on every node counts once. */
function containersOf({ containers, services }: Manifest): number {
  return containers.filter(({ type }) => type === 'docker').length + services.length;
}
