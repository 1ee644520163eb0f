import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { z } from 'zod';
import { type Clock, rfc3339 } from '../../common/clock.ts';
import type { DesiredState } from '../../common/desired.ts';
import { type AppError, type ErrorCode, toAppError } from '../../common/errors.ts';
import { clip } from '../../common/fields.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { compileDesired, desiredDigest } from '../../common/manifest/compile.ts';
import { parseManifestFiles } from '../../common/manifest/files.ts';
import { type Manifest, manifestFile } from '../../common/manifest/manifest.ts';
import { formatWarning } from '../../common/manifest/warnings.ts';
import type { Journal } from '../ports.ts';
import { CommitCache } from './cache.ts';
import { DesiredFolder, type Release } from './folder.ts';
import type { Repository } from './git.ts';
import { isAncestor, judge } from './judge.ts';
import { isRefusal, refusal } from './refusal.ts';
import { demandsSignature, type Trust, trustStamp } from './signature.ts';
import type { Staged } from './staged.ts';
import { type BundleBound, localBundle, offeredBundle, stageBundle } from './staging.ts';
import { type InForce, nothingStands, type Origin, type Standing, standing } from './standing.ts';

/** The desired state in force, and the commit it comes from. */
export interface Adopted {
  readonly commit: string;
  readonly desired: DesiredState;
  readonly manifest: Manifest;
  /** Who signed the commit, with the fingerprint of the key; null when nobody had to. */
  readonly signer: string | null;
}

/**
 * What became of an offered bundle. `known`: that commit is in force already. `incomplete`: it builds on commits that are not
 * here; a whole bundle would do.
 */
export type OfferOutcome =
  | { readonly outcome: 'adopted' | 'known' | 'incomplete' }
  | { readonly outcome: 'refused'; readonly code: ErrorCode; readonly reason: string };

/** Key of the durable record of what is in force and what was refused. */
const stateKey = 'desired';

export interface DesiredSourceOptions {
  readonly node: string;
  /** The local repository to follow, if there is one. */
  readonly repository?: Repository | undefined;
  /** The agent's data directory. */
  readonly dataDir: string;
  readonly trust?: Trust;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A bundle file with a commit that may come into force. */
interface Candidate {
  readonly origin: Origin;
  readonly path: string;
  readonly commit?: string;
  readonly bound: BundleBound;
}

/**
 * Keeps what git says should run here. Commits come from a local repository, from bundles that the collector offers, and from
 * bundles that were brought; each is verified here, whoever brings it. One that is refused changes nothing: the last good
 * one stays in force, also across restarts, and an entry says file, line and reason.
 *
 * Crash points: the commit is in the cache before the journal says that it is in force, so that later bundles have what they
 * build on; a release counts as used in the same write.
 */
export class DesiredSource {
  readonly #options: DesiredSourceOptions;
  readonly #trust: Trust;
  readonly #folder: DesiredFolder;
  readonly #cache: CommitCache;
  readonly #oneAtATime = pLimit(1);
  /** As the journal holds it; undefined until it was read, and after the journal was replaced. */
  #standing: Standing | undefined;
  /** What is in force, as it was written. */
  #inForce: InForce | null = null;
  #adopted: Adopted | undefined;
  /** Everything that the last refusal of the local repository depended on: the same again needs no second look. */
  #judged: string | undefined;
  /** The last bundle that was refused for its descent alone; the operator may let it in yet. */
  #refusedOffer: { readonly commit: string; readonly bytes: Buffer } | undefined;

  constructor(options: DesiredSourceOptions) {
    this.#options = options;
    this.#trust = options.trust ?? {};
    this.#folder = new DesiredFolder(options.dataDir);
    this.#cache = new CommitCache(options.dataDir);
  }

  /** What is in force; undefined while there was never a good manifest. */
  get adopted(): Adopted | undefined {
    return this.#adopted;
  }

  /** Where that came from. */
  get origin(): Origin | undefined {
    return this.#inForce?.origin;
  }

  /** Whether {@link offerBundle} can lead to anything: the node knows who may sign. */
  get takesOffers(): boolean {
    return demandsSignature(this.#trust);
  }

  /** Takes up the manifest that was in force when the agent last ran. */
  restore(): Promise<void> {
    return this.#oneAtATime(async () => {
      await this.#standingNow();
      await this.#folder.tidy();
      await this.#show();
    });
  }

  /** The journal was replaced: what it does not know any more is adopted again. What is in force stays in force. */
  forget(): void {
    this.#standing = undefined;
    this.#judged = undefined;
  }

  /** The commit that a bundle may build on; undefined when only a whole one will do. */
  async have(): Promise<string | undefined> {
    const commit = this.#adopted?.commit;
    if (commit === undefined) return undefined;
    return (await this.#cache.holding([commit])) === undefined ? undefined : commit;
  }

  /**
   * Looks at the local repository, and for bundles that were brought. Resolves once what changed is on record. Never rejects
   * for a bad commit.
   */
  refresh(): Promise<void> {
    return this.#oneAtATime(async () => {
      await this.#sayAgain();
      const release = await this.#releaseNow();
      await this.#lookAtRepository(release);
      for (const path of await this.#folder.waiting()) {
        await this.#take({ origin: 'stick', path, bound: localBundle }, release);
        await rm(path, { force: true });
      }
      const offer = this.#refusedOffer;
      if (offer !== undefined && offer.commit === release?.commit) await this.#takeOffer(offer.commit, offer.bytes);
    });
  }

  /**
   * Takes a bundle that the collector hands over, with the commit that it is about. Resolves once what became of it is on
   * record. The collector is not trusted with it: without a setting that says who may sign, none is taken.
   */
  offerBundle(commit: string, bytes: Buffer): Promise<OfferOutcome> {
    return this.#oneAtATime(() => this.#takeOffer(commit, bytes));
  }

  async #takeOffer(commit: string, bytes: Buffer): Promise<OfferOutcome> {
    await this.#sayAgain();
    if (commit === this.#adopted?.commit) return { outcome: 'known' };
    this.#refusedOffer = undefined;
    const isId = /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(commit);
    const refused = await this.#attempt('collector', isId ? commit : null, async () => {
      if (!this.takesOffers) {
        throw refusal(
          'validation.config',
          'a commit from the collector counts only where manifest.allowedSigners or manifest.gpgHome says who may sign',
        );
      }
      if (!isId) throw refusal('validation.manifest', 'it names no commit');
      if (bytes.length > offeredBundle.maxBytes) {
        throw refusal('validation.too_large', `a bundle larger than ${offeredBundle.maxBytes} bytes`);
      }
      await this.#folder.withScratch(async (scratch) => {
        const path = join(scratch, 'offered.bundle');
        await writeFile(path, bytes, { mode: 0o600 });
        const release = await this.#releaseNow();
        await this.#adoptFrom({ origin: 'collector', path, commit, bound: offeredBundle }, release, scratch);
      });
    });
    if (refused === undefined) return { outcome: 'adopted' };
    if (refused.code === 'resource.not_found') return { outcome: 'incomplete' };
    if (refused.code === 'state.conflict') this.#refusedOffer = { commit, bytes };
    return { outcome: 'refused', code: refused.code, reason: refused.message };
  }

  async #take(candidate: Candidate, release: Release | undefined): Promise<void> {
    await this.#attempt(candidate.origin, candidate.commit ?? null, () =>
      this.#folder.withScratch((scratch) => this.#adoptFrom(candidate, release, scratch)),
    );
  }

  async #lookAtRepository(release: Release | undefined): Promise<void> {
    const { repository, clock } = this.#options;
    if (repository === undefined) return;
    let commit: string | undefined;
    const head = await this.#attempt('repository', null, async () => {
      commit = await repository.head();
    });
    if (head !== undefined || commit === undefined || (await this.#isSettled(commit))) return;
    const hours = Math.floor(clock.now() / limits.refusedCommitMs);
    const on = [await this.#floor(), release?.id, await trustStamp(this.#trust), hours];
    const circumstances = [commit, ...on].join(' ');
    if (circumstances === this.#judged) return;
    const found = commit;
    const refused = await this.#attempt('repository', found, () =>
      this.#folder.withScratch(async (scratch) => {
        const local = { origin: 'repository', commit: found, bound: localBundle } as const;
        const [part, whole] = [join(scratch, 'part'), join(scratch, 'whole')];
        await repository.bundle(found, await this.have(), part);
        await this.#adoptFrom({ ...local, path: part }, release, scratch).catch(async (thrown: unknown) => {
          // The cache was not what it seemed.
          if (toAppError(thrown).code !== 'resource.not_found') throw thrown;
          await repository.bundle(found, undefined, whole);
          await this.#adoptFrom({ ...local, path: whole }, release, scratch);
        });
      }),
    );
    this.#judged = refused === undefined ? undefined : circumstances;
  }

  /** Whether HEAD of the local repository needs no look. Once it is well again, what was wrong with it is over. */
  async #isSettled(commit: string): Promise<boolean> {
    const { adopted, rejected, localHead } = await this.#standingNow();
    if (this.#adopted === undefined || (commit !== adopted?.commit && commit !== localHead)) return false;
    if (rejected.repository === undefined) return true;
    if (commit === adopted?.commit) await this.#sayAdopted(this.#adopted, { adopted, localHead: commit }, 'repository');
    else await this.#remember(this.#without('repository'), []);
    return true;
  }

  /** Unpacks a bundle, judges its commit and puts it into force. @throws AppError as {@link judge} and `stageBundle`. */
  async #adoptFrom(candidate: Candidate, release: Release | undefined, scratch: string): Promise<void> {
    const { origin, path, commit, bound } = candidate;
    const name = origin === 'repository' ? 'the local repository' : 'the bundle';
    const options = { name, bound, cache: this.#cache, ...(commit !== undefined && { commit }) };
    const staged = await stageBundle(path, { ...options, folder: await mkdtemp(join(scratch, 'stage-')) });
    const now = await this.#standingNow();
    if (staged.commit === this.#adopted?.commit) return this.#remember(this.#without(origin), []);
    if (origin === 'repository' && (await this.#lagsBehind(staged, now))) {
      return this.#remember({ ...this.#without(origin), localHead: staged.commit }, []);
    }
    const floor = await this.#floor();
    const requiresSignedCommits = this.#adopted?.manifest.audit.require_signed_commits === true;
    const released = release?.commit;
    const standard = { inForce: floor, requiresSignedCommits, trust: this.#trust, released };
    const { files, signer } = await judge(staged, standard, await mkdtemp(join(scratch, 'keys-')));
    const used = staged.commit === released ? release : undefined;
    const inForce: InForce = {
      ...{ commit: staged.commit, files: Object.fromEntries(files), signer, origin },
      at: rfc3339(this.#options.clock.now()),
      release: used?.reason ?? null,
    };
    const adopted = this.#compile(inForce);
    await this.#cache.take(staged);
    const change = {
      adopted: inForce,
      localHead: origin === 'repository' ? staged.commit : now.localHead,
      ...(used !== undefined && { usedRelease: used.id }),
    };
    await this.#sayAdopted(adopted, change, origin);
  }

  /** A clone that follows more slowly than bundles arrive takes nothing back, as long as it goes forward itself. */
  async #lagsBehind({ gitDir, commit }: Staged, { localHead }: Standing): Promise<boolean> {
    if (this.#adopted === undefined) return false;
    const held = await this.#cache.holding([commit, this.#adopted.commit]);
    if (held === undefined || !(await isAncestor(held.gitDir, commit, this.#adopted.commit))) return false;
    return localHead === null || isAncestor(gitDir, localHead, commit);
  }

  /** The commit that others have to be descendants of. An outbox that was lost does not open the door to any. */
  async #floor(): Promise<string | undefined> {
    const { adopted } = await this.#standingNow();
    return this.#inForce?.commit ?? adopted?.commit ?? (await this.#cache.head())?.commit;
  }

  async #releaseNow(): Promise<Release | undefined> {
    const { usedRelease } = await this.#standingNow();
    return this.#folder.release(usedRelease);
  }

  async #standingNow(): Promise<Standing> {
    if (this.#standing !== undefined) return this.#standing;
    const parsed = standing.safeParse((await this.#options.journal.state(stateKey)).get(stateKey));
    const found = parsed.success ? parsed.data : nothingStands;
    if (found.adopted !== null) this.#takeUp(found.adopted);
    this.#standing = found;
    return found;
  }

  /** A manifest that an earlier version adopted may be refused by this one; what comes next is judged anew. */
  #takeUp(inForce: InForce): void {
    try {
      this.#adopted = this.#compile(inForce);
      this.#inForce = inForce;
    } catch (thrown) {
      this.#options.logger.error('desired.unusable', { commit: inForce.commit, error: toAppError(thrown) });
    }
  }

  /** Says what is in force to a journal that does not know it. */
  async #sayAgain(): Promise<void> {
    const { adopted } = await this.#standingNow();
    if (adopted !== null || this.#inForce === null || this.#adopted === undefined) return;
    await this.#sayAdopted(this.#adopted, { adopted: this.#inForce }, this.#inForce.origin);
  }

  async #sayAdopted(adopted: Adopted, change: Partial<Standing> & Pick<Standing, 'adopted'>, origin: Origin) {
    const { desired, commit, signer } = adopted;
    const body = { commit, digest: desiredDigest(desired), containers: desired.containers.length };
    await this.#remember({ ...this.#without(origin), ...change }, [{ kind: 'desired.adopted', body }]);
    this.#adopted = adopted;
    this.#inForce = change.adopted;
    const release = change.adopted?.release ?? undefined;
    const { containers } = body;
    this.#options.logger.info('desired.adopted', { commit, containers, origin, signer, ...(release && { release }) });
    await this.#show();
  }

  #compile({ commit, files, signer }: InForce): Adopted {
    const manifest = parseManifestFiles(new Map(Object.entries(files)));
    for (const warning of manifest.warnings) {
      this.#options.logger.debug('desired.key_without_effect', { warning: formatWarning(warning) });
    }
    return { commit, desired: compileDesired(manifest, this.#options.node), manifest, signer };
  }

  /** The boundary of every look at a commit: puts on record why it is refused. @returns that; undefined when it is not. */
  async #attempt(origin: Origin, commit: string | null, look: () => Promise<void>): Promise<AppError | undefined> {
    try {
      await look();
      return undefined;
    } catch (thrown) {
      const error = toAppError(thrown);
      if (!isRefusal(error)) throw error;
      // Asking for more is part of handing over, unless nobody can be asked.
      if (error.code !== 'resource.not_found' || origin !== 'collector') await this.#reject(origin, commit, error);
      return error;
    }
  }

  async #reject(origin: Origin, commit: string | null, error: AppError): Promise<void> {
    const now = await this.#standingNow();
    // A setting that is missing is missing for every commit.
    const about = error.code === 'validation.config' ? '' : (commit ?? '');
    const words = `${about} ${error.message}`;
    if (now.rejected[origin] === words) return;
    const at = placed.catch({ file: manifestFile, line: 1, column: 1, reason: error.message }).parse(error.details);
    const place = { ...at, file: clip(at.file), reason: clip(at.reason) };
    const lastRefused = { commit, origin, at: rfc3339(this.#options.clock.now()), code: error.code, ...place };
    const next = { ...now, adopted: this.#inForce ?? now.adopted, lastRefused };
    await this.#remember({ ...next, rejected: { ...now.rejected, [origin]: words } }, [
      { kind: 'desired.rejected', body: { commit, ...place } },
    ]);
    this.#options.logger.error('desired.rejected', { commit, origin, code: error.code, reason: error.message });
    await this.#show();
  }

  /** What stands, with nothing said against an origin any more. */
  #without(origin: Origin): Standing {
    const now = this.#standing ?? nothingStands;
    const { [origin]: _, ...rejected } = now.rejected;
    return { ...now, rejected };
  }

  async #remember(next: Standing, statements: readonly Statement[]): Promise<void> {
    await this.#options.journal.append(statements, [{ key: stateKey, value: next }]);
    this.#standing = next;
  }

  /** For people; that it cannot be written stops nothing. */
  async #show(): Promise<void> {
    const { adopted: inForce, lastRefused, usedRelease } = await this.#standingNow();
    const { files: _, ...adopted } = inForce ?? { files: {} };
    const requiresSignedCommits = this.#adopted?.manifest.audit.require_signed_commits === true;
    const shown = 'commit' in adopted ? { ...adopted, requiresSignedCommits } : null;
    await this.#folder.show({ adopted: shown, lastRefused, usedRelease }).catch((thrown: unknown) => {
      this.#options.logger.warn('desired.not_shown', { error: toAppError(thrown) });
    });
  }
}

const placed = z.object({ file: z.string(), line: z.int(), column: z.int(), reason: z.string() });
