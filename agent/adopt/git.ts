import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { ManifestFiles } from '../../common/manifest/files.ts';
import { type CommandAnswer, CommandFailed } from '../desired/command.ts';
import { complaintOf, type GitOptions, runGit } from '../desired/git-command.ts';

export interface Author {
  readonly name: string;
  readonly email: string;
}

export interface PatchOptions {
  /** Files that change, as they are; one that is not there yet is left out. */
  readonly before: ManifestFiles;
  readonly after: ManifestFiles;
  readonly message: string;
  readonly author: Author;
  /** Unix milliseconds. */
  readonly atMs: number;
  /** Of the repository that the patch is for. */
  readonly objectFormat: 'sha1' | 'sha256';
}

/**
 * A patch as `git format-patch` writes it, for `git am`. It is made in a repository of its own that is gone afterwards: the operator's
 * is neither written to, nor do its settings, attributes and hooks have a part in it.
 * @throws AppError `validation.config` when git cannot be run
 */
export async function formatPatch({
  before,
  after,
  message,
  author,
  atMs,
  objectFormat,
}: PatchOptions): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sigilwatch-adopt-'));
  try {
    const who = (role: 'AUTHOR' | 'COMMITTER') => ({
      [`GIT_${role}_NAME`]: author.name,
      [`GIT_${role}_EMAIL`]: author.email,
      [`GIT_${role}_DATE`]: `@${Math.floor(atMs / 1_000)} +0000`,
    });
    const env = { GIT_DIR: dir, ...who('AUTHOR'), ...who('COMMITTER') };
    const git = async (args: readonly string[], input = ''): Promise<string> => {
      // The old and the new text of everything, and the words of git around them.
      const answer = await asked(args, { env, input, maxOutputBytes: 4 * limits.maxManifestBytes });
      if (answer.exitCode !== 0) throw new AppError('validation.config', `git: ${complaintOf(answer)}`);
      return answer.stdout.toString('utf8');
    };
    await git(['init', '--quiet', '--bare', '--template=', `--object-format=${objectFormat}`]);
    const commit = async (files: ManifestFiles, parent: readonly string[]): Promise<string> => {
      for (const [path, text] of files) {
        const blob = (await git(['hash-object', '-w', '--stdin'], text)).trim();
        await git(['update-index', '--add', '--cacheinfo', `100644,${blob},${path}`]);
      }
      const tree = (await git(['write-tree'])).trim();
      return (await git(['commit-tree', tree, ...parent.flatMap((id) => ['-p', id])], message)).trim();
    };
    const parent = before.size === 0 ? [] : [await commit(before, [])];
    const adopted = await commit(after, parent);
    return await git(['format-patch', '--stdout', '--full-index', '--root', '-1', adopted]);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/**
 * Who makes commits in a repository: as its settings and those of `home` say, or undefined.
 * @param home whose own settings count beside the repository's; undefined for nobody's.
 */
export async function authorOf(repository: string, home: string | undefined): Promise<Author | undefined> {
  const own = home === undefined ? {} : { GIT_CONFIG_GLOBAL: join(home, '.gitconfig'), GIT_CONFIG_NOSYSTEM: '0' };
  const setting = async (name: string): Promise<string> => {
    const { exitCode, stdout } = await asked([...at(repository), 'config', '--get', name], { env: own });
    return exitCode === 0 ? stdout.toString('utf8').trim() : '';
  };
  const [name, email] = [await setting('user.name'), await setting('user.email')];
  return name === '' || email === '' ? undefined : { name, email };
}

/** Whether HEAD names a commit; in a new repository there is none. True for what is no repository, which asking for the commit will say. */
export async function hasCommit(repository: string): Promise<boolean> {
  const { exitCode } = await asked([...at(repository), 'rev-parse', '--verify', '--quiet', 'HEAD']);
  // Git's own answer; with anything else something is wrong.
  return exitCode !== 1;
}

function at(repository: string): readonly string[] {
  return ['-c', `safe.directory=${repository}`, '-C', repository];
}

async function asked(args: readonly string[], options?: GitOptions): Promise<CommandAnswer> {
  try {
    return await runGit(args, options);
  } catch (cause) {
    if (!(cause instanceof CommandFailed)) throw toAppError(cause);
    throw new AppError('validation.config', `git: ${cause.message}`, { cause });
  }
}
