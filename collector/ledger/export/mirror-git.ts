import { execFile } from 'node:child_process';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { AppError, errnoOf } from '../../../common/errors.ts';
import { limits } from '../../../common/limits.ts';

/** One name in a tree. */
export interface TreeItem {
  readonly mode: string;
  readonly type: string;
  readonly id: string;
  readonly name: string;
}

export interface NewCommit {
  /** Of the whole repository. */
  readonly tree: string;
  /** Undefined for the first commit of a branch. */
  readonly parent: string | undefined;
  readonly message: string;
}

/**
 * A branch of a git repository as the mirror needs it. Everything is written as objects first, which nobody sees; `advance` is
 * the one step that shows, and it happens whole or not at all.
 */
export interface MirrorBranch {
  /** Below the repository's own folder: never part of a commit. */
  readonly scratch: string;
  /** The commit that the branch stands at; undefined when there is none. */
  head(): Promise<string | undefined>;
  /** Names in a folder of a commit, '' for its top; empty when there is no such folder. */
  list(commit: string, folder: string): Promise<readonly TreeItem[]>;
  /** A small text file of a commit; undefined when it has none. */
  read(commit: string, path: string): Promise<string | undefined>;
  /** Stores a file's content, without any conversion. @returns its id. */
  storeFile(path: string): Promise<string>;
  storeText(text: string): Promise<string>;
  storeTree(items: readonly TreeItem[]): Promise<string>;
  commit(commit: NewCommit): Promise<string>;
  /** Moves the branch. @throws AppError `state.conflict` (retryable) when it does not stand at `from`: somebody else wrote. */
  advance(from: string | undefined, to: string): Promise<void>;
  /** Brings these paths of the work tree to where the branch is, if there is one and it is on this branch. */
  checkOut(paths: readonly string[]): Promise<void>;
  push(remote: string): Promise<void>;
}

export interface MirrorRepository {
  readonly repository: string;
  readonly branch: string;
}

const scratchFile = /^sigilwatch-[0-9]+\.jsonl/;

/** Where system commands live; the environment is read by the program's entry alone. */
const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** The author is the collector, whoever's machine this is; and nobody's hooks or conversions have a part in it. */
const fixedSettings = {
  'user.name': 'sigilwatch-collector',
  'user.email': 'sigilwatch-collector@localhost',
  'core.hooksPath': '/dev/null',
  'core.autocrlf': 'false',
  'core.fsmonitor': 'false',
  'gc.autoDetach': 'false',
};

/**
 * The branch, in a repository that is made when there is none.
 * @throws AppError `state.conflict` when `repository` is something else, `validation.config` when it cannot be used.
 */
export async function openMirrorBranch({ repository, branch }: MirrorRepository): Promise<MirrorBranch> {
  const root = resolve(repository);
  const settings = Object.entries({ ...fixedSettings, 'safe.directory': root });
  const fixed = settings.flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const git = (args: readonly string[], input?: string) => runGit(root, [...fixed, '-C', root, ...args], input);
  await mkdir(root, { recursive: true, mode: 0o755 }).catch((cause: unknown) => {
    throw new AppError('validation.config', `ledger.mirror.repository ${root}: ${errnoOf(cause)}`, { cause });
  });
  const folder = await gitFolder(root, git, () => git(['init', '--quiet', '-b', branch]));
  const ref = `refs/heads/${branch}`;
  await git(['check-ref-format', ref]);
  const bare = (await git(['rev-parse', '--is-bare-repository'])).trim() === 'true';
  await dropLeftovers(folder);
  return {
    scratch: folder,
    head: async () => (await git(['for-each-ref', '--format=%(objectname)', ref])).trim() || undefined,
    list: async (commit, path) => parseTree(await git(['ls-tree', '-z', '--full-tree', commit, ...inside(path)])),
    read: async (commit, path) => {
      const [item] = parseTree(await git(['ls-tree', '-z', '--full-tree', commit, path]));
      if (item?.type !== 'blob') return undefined;
      return Buffer.from(await git(['cat-file', 'blob', item.id]), 'latin1').toString('utf8');
    },
    storeFile: async (path) => (await git(['hash-object', '-w', '--no-filters', path])).trim(),
    storeText: async (text) => (await git(['hash-object', '-w', '--stdin'], octets(text))).trim(),
    storeTree: async (items) => (await git(['mktree', '-z'], formatTree(items))).trim(),
    commit: async ({ tree, parent, message }) => {
      return (await git(['commit-tree', tree, ...(parent === undefined ? [] : ['-p', parent])], message)).trim();
    },
    advance: async (from, to) => {
      await dropStaleLock(join(folder, `${ref}.lock`));
      try {
        await git(['update-ref', ref, to, from ?? '']);
      } catch (cause) {
        throw new AppError('state.conflict', `the branch ${branch} of ${root} was moved by somebody else`, {
          cause,
          retryable: true,
        });
      }
    },
    checkOut: async (paths) => {
      const on = bare ? '' : (await git(['symbolic-ref', '--quiet', 'HEAD'])).trim();
      if (on !== ref) return;
      // A branch that nothing was mirrored to yet has none of them.
      const there = await git(['ls-tree', '-z', '--name-only', ref, '--', ...paths]);
      const found = there.split('\0').filter((path) => path !== '');
      if (found.length > 0) await git(['checkout', '--quiet', ref, '--', ...found]);
    },
    push: async (remote) => {
      await git(['push', '--quiet', remote, `${ref}:${ref}`]);
    },
  };
}

/** Absolute path of the repository's own folder, made by `init` when `root` is empty. */
async function gitFolder(root: string, git: (args: readonly string[]) => Promise<string>, init: () => Promise<string>) {
  // Not the repository of a folder above: commits would land among somebody else's.
  const own = async () => {
    const [folder = '', top = ''] = (await git(['rev-parse', '--absolute-git-dir', '--show-cdup'])).split('\n');
    return top === '' ? folder : undefined;
  };
  const found = await own().catch(() => undefined);
  if (found !== undefined) return found;
  await init();
  const made = await own();
  if (made !== undefined) return made;
  throw new AppError(
    'state.conflict',
    `${root} lies in another repository; give ledger.mirror.repository its own folder`,
  );
}

/** Batches that a process was killed over. */
async function dropLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!scratchFile.test(name)) continue;
    const path = join(folder, name);
    const found = await stat(path).catch(() => undefined);
    if (found !== undefined && Date.now() - found.mtimeMs > limits.mirrorLeftoverMs) await rm(path, { force: true });
  }
}

function inside(folder: string): readonly string[] {
  return folder === '' ? [] : [`${folder}/`];
}

/** Git's output and input go through as octets, since names in a repository need not be UTF-8. */
function octets(text: string): string {
  return Buffer.from(text).toString('latin1');
}

/** Whoever left it is gone: git itself takes milliseconds for what it locks. */
async function dropStaleLock(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found !== undefined && Date.now() - found.mtimeMs > limits.gitTimeoutMs) await rm(path, { force: true });
}

function parseTree(text: string): TreeItem[] {
  return text
    .split('\0')
    .filter((item) => item !== '')
    .map((item) => {
      const [, mode = '', type = '', id = '', path = ''] = /^(\d+) (\w+) ([0-9a-f]+)\t(.*)$/s.exec(item) ?? [];
      return { mode, type, id, name: path.slice(path.lastIndexOf('/') + 1) };
    });
}

function formatTree(items: readonly TreeItem[]): string {
  return items.map(({ mode, type, id, name }) => `${mode} ${type} ${id}\t${name}\0`).join('');
}

function runGit(root: string, args: readonly string[], input = ''): Promise<string> {
  return new Promise((done, fail) => {
    const child = execFile(
      'git',
      args,
      {
        encoding: 'latin1',
        timeout: limits.gitTimeoutMs,
        maxBuffer: limits.maxMirrorListBytes,
        env: { PATH: commandPath, LC_ALL: 'C', GIT_TERMINAL_PROMPT: '0', GIT_OPTIONAL_LOCKS: '0' },
      },
      (cause, stdout, stderr) => {
        if (cause === null) return done(stdout);
        fail(
          new AppError('validation.config', `ledger.mirror.repository ${root}: ${reasonOf(cause, stderr)}`, { cause }),
        );
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input, 'latin1');
  });
}

function reasonOf(cause: Error, stderr: string): string {
  if (errnoOf(cause) === 'ENOENT') return 'the git command is not installed';
  if ('killed' in cause && cause.killed === true) return `git did not answer within ${limits.gitTimeoutMs} ms`;
  return stderr.trim().split('\n')[0]?.slice(0, limits.maxForeignTextChars) || 'git failed without saying why';
}
