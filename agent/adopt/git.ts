import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { ManifestFiles } from '../../common/manifest/files.ts';

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

/** Where system commands live; the environment is read by the program's entry alone. */
const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

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
    const env = { ...nobodys, GIT_DIR: dir, ...who('AUTHOR'), ...who('COMMITTER') };
    const git = (args: readonly string[], input?: string) => runGit(args, { env, input });
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
  const env = { PATH: commandPath, LC_ALL: 'C', ...(home !== undefined && { HOME: home }) };
  const setting = async (name: string): Promise<string> => {
    const args = ['-c', `safe.directory=${repository}`, '-C', repository, 'config', '--get', name];
    return (await runGit(args, { env }).catch(() => '')).trim();
  };
  const [name, email] = [await setting('user.name'), await setting('user.email')];
  return name === '' || email === '' ? undefined : { name, email };
}

/** Whether HEAD names a commit; in a new repository there is none. False for what is no repository, too. */
export async function hasCommit(repository: string): Promise<boolean> {
  const args = ['-c', `safe.directory=${repository}`, '-C', repository, 'rev-parse', '--verify', '--quiet', 'HEAD'];
  try {
    await runGit(args, { env: nobodys });
    return true;
  } catch (thrown) {
    // 1 is git's answer; with anything else, asking for the commit will say what is wrong.
    const { cause } = thrown instanceof AppError ? thrown : { cause: undefined };
    return !(cause instanceof Error && 'code' in cause && cause.code === 1);
  }
}

/** Nobody's own settings: what a patch looks like depends on many. */
const nobodys = {
  PATH: commandPath,
  LC_ALL: 'C',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_TERMINAL_PROMPT: '0',
  GIT_OPTIONAL_LOCKS: '0',
};

interface Run {
  readonly env: Readonly<Record<string, string>>;
  readonly input?: string | undefined;
}

function runGit(args: readonly string[], { env, input = '' }: Run): Promise<string> {
  return new Promise((done, fail) => {
    const options = {
      encoding: 'utf8',
      timeout: limits.gitTimeoutMs,
      // The old and the new text of everything, and the words of git around them.
      maxBuffer: 4 * limits.maxManifestBytes,
      env,
    } as const;
    const child = execFile('git', args, options, (cause, stdout, stderr) => {
      if (cause === null) return done(stdout);
      fail(new AppError('validation.config', `git: ${reasonOf(cause, stderr)}`, { cause }));
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

function reasonOf(cause: Error, stderr: string): string {
  if (errnoOf(cause) === 'ENOENT') return 'the command is not installed';
  if ('killed' in cause && cause.killed === true) return `no answer within ${limits.gitTimeoutMs} ms`;
  return stderr.trim().split('\n')[0]?.slice(0, limits.maxForeignTextChars) || 'it failed without saying why';
}
