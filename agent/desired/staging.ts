import { createReadStream } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { limits } from '../../common/limits.ts';
import { type BundleHeader, readBundleHeader } from './bundle-header.ts';
import type { CommitCache } from './cache.ts';
import { CommandFailed } from './command.ts';
import { complaintOf, type GitOptions, runGit } from './git-command.ts';
import { refusal } from './refusal.ts';
import { type Staged, stagedRef } from './staged.ts';

export interface StagingOptions {
  /** An empty folder, which is the caller's to remove. */
  readonly folder: string;
  /** What the bundle is called in reasons. */
  readonly name: string;
  /** The commit to look at; without one, the only one that the bundle brings, or that of its HEAD. */
  readonly commit?: string;
  /** Where commits are that the bundle builds on. */
  readonly cache: CommitCache;
  readonly bound: BundleBound;
}

/** How much of a bundle is read. */
export interface BundleBound {
  readonly maxBytes: number;
  readonly maxObjectBytes: number;
}

export const offeredBundle: BundleBound = {
  maxBytes: limits.maxOfferedBundleBytes,
  maxObjectBytes: limits.maxOfferedObjectBytes,
};

export const localBundle: BundleBound = {
  maxBytes: limits.maxLocalBundleBytes,
  maxObjectBytes: limits.maxLocalObjectBytes,
};

/**
 * Unpacks one commit of a bundle file, apart from everything: a bad bundle leaves nothing behind but the folder. Who made it
 * may be anybody, so every object is checked (`git fsck`), and no setting, hook or address in it has an effect.
 * @throws AppError `validation.too_large`; `validation.manifest` for what is no sound bundle with that commit;
 *   `resource.not_found` when it builds on commits that the cache does not hold.
 */
export async function stageBundle(path: string, options: StagingOptions): Promise<Staged> {
  const { folder, name, cache, bound } = options;
  const { size } = await stat(path);
  if (size > bound.maxBytes) throw refusal('validation.too_large', `larger than ${bound.maxBytes} bytes`, name);
  const header = await readBundleHeader(path, name);
  const head = headOf(header, options);
  const gitDir = join(folder, 'staged.git');
  const builds = header.prerequisites.length > 0;
  const git = (args: readonly string[], more: GitOptions = {}) =>
    sound([`--git-dir=${gitDir}`, ...args], { ...more, maxObjectBytes: bound.maxObjectBytes }, name).catch((cause) => {
      // Either of the two may be what is broken; a whole bundle tells.
      throw builds ? notHere(name, cause) : cause;
    });
  await sound(['init', '--quiet', '--bare', '--template=', `--object-format=${header.format}`, gitDir], {}, name);
  if (builds) {
    const isSane = header.prerequisites.length <= limits.maxBundlePrerequisites;
    const base = isSane ? await cache.holding(header.prerequisites) : undefined;
    if (base === undefined) throw notHere(name);
    await writeFile(join(gitDir, 'objects/info/alternates'), `${base.gitDir}/objects\n`);
    await git(['update-ref', baseRef, base.commit]);
  }
  await git(['bundle', 'verify', '--quiet', path]);
  // Not `fetch`: before version 2.46 git does not check the objects of a bundle that it fetches.
  const unpack = ['index-pack', '--stdin', '--fix-thin', '--strict', `--max-input-size=${bound.maxBytes}`];
  await git(unpack, { input: createReadStream(path, { start: header.packOffset }) });
  await git(['update-ref', stagedRef, head.commit]);
  // All that it is made of is there, back to the beginning or to what was there before.
  await git(['rev-list', '--objects', '--quiet', stagedRef, ...(builds ? ['--not', baseRef] : [])]);
  return { gitDir, commit: head.commit };
}

const baseRef = 'refs/heads/base';

function headOf({ heads }: BundleHeader, { commit, name }: StagingOptions): BundleHeader['heads'][number] {
  const named = commit === undefined ? heads : heads.filter((head) => head.commit === commit);
  const head = named.find(({ ref }) => ref === 'HEAD') ?? named[0];
  if (head === undefined) throw refusal('validation.manifest', `it does not bring ${commit ?? 'any commit'}`, name);
  if (head.ref !== 'HEAD' && named.some((other) => other.commit !== head.commit)) {
    throw refusal('validation.manifest', 'it brings several commits; make it of one branch', name);
  }
  return head;
}

function notHere(name: string, cause?: unknown) {
  const reason = 'it does not go with the commits that are here: a whole bundle is needed';
  return refusal('resource.not_found', reason, name, cause);
}

async function sound(args: readonly string[], options: GitOptions, name: string) {
  const answer = await runGit(args, options).catch((cause: unknown) => {
    throw cause instanceof CommandFailed ? refusal('validation.manifest', cause.message, name, cause) : cause;
  });
  if (answer.exitCode === 0) return answer;
  throw refusal('validation.manifest', `no sound bundle: ${complaintOf(answer)}`, name);
}
