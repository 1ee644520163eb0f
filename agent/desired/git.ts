import { isUtf8 } from 'node:buffer';
import { open } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { CommittedFiles } from '../../common/manifest/committed.ts';
import { bundleHeader } from './bundle-header.ts';
import { CommandFailed } from './command.ts';
import { complaintOf, type GitOptions, runGit } from './git-command.ts';
import { refusal } from './refusal.ts';

/** Reads what is committed in a local git repository: a work tree, or a bare repository. Never the network. */
export interface Repository extends CommittedFiles {
  /** Id of the commit that HEAD names. @throws AppError `validation.manifest` when there is none. */
  head(): Promise<string>;
  /**
   * Writes a commit and all before it as a git bundle to `file`; without what `have` and those before it hold, when `have` is
   * one of them.
   * @throws AppError `validation.manifest` when it cannot be read.
   */
  bundle(commit: string, have: string | undefined, file: string): Promise<void>;
}

/**
 * The repository at `path`, through the git command. What counts is what is committed: a changed work tree is nobody's
 * decision yet.
 */
export function gitRepository(path: string): Repository {
  const root = resolve(path);
  // The agent runs as another user than the checkout's owner; it reads objects only and runs no hooks.
  return repositoryOf(path, ['-c', `safe.directory=${root}`, '-C', root]);
}

/** A bare repository of our own, by its folder. */
export function ownRepository(gitDir: string): Repository {
  return repositoryOf(gitDir, [`--git-dir=${gitDir}`]);
}

function repositoryOf(name: string, where: readonly string[]): Repository {
  const ask = (args: readonly string[], options?: GitOptions) => runGit([...where, ...args], options);
  const git = async (what: string, otherwise: string, args: readonly string[]): Promise<string> => {
    const { exitCode, stdout, stderr } = await ask(args).catch((cause: unknown) => {
      throw notAnswered(what, cause);
    });
    if (exitCode !== 0) throw refusal('validation.manifest', complained(stderr) ?? otherwise, what);
    if (!isUtf8(stdout)) throw refusal('validation.manifest', 'not UTF-8', what);
    return stdout.toString('utf8');
  };
  return {
    head: async () => (await git(name, 'it has no commit yet', ['rev-parse', '--verify', 'HEAD^{commit}'])).trim(),
    read: (commit, file) => git(file, `commit ${commit} has no such file`, ['cat-file', 'blob', `${commit}:${file}`]),
    list: async (commit, folder) => {
      const args = ['ls-tree', '-r', '-z', '--full-tree', commit, '--', folder];
      const listed = await git(folder, `commit ${commit} cannot be listed`, args);
      const entries = [...listed.matchAll(/(\d+) \w+ [0-9a-f]+\t([^\0]*)\0/g)];
      return entries
        .map(([, mode, path = '']) => ({ path, isFile: mode === '100644' || mode === '100755' }))
        .sort((a, b) => (a.path < b.path ? -1 : 1));
    },
    bundle: async (commit, have, file) => {
      const shallow = (await git(name, 'not a git repository', ['rev-parse', '--is-shallow-repository'])).trim();
      if (shallow === 'true') throw refusal('validation.manifest', 'a shallow clone, which has no history', name);
      // One that the repository does not know, or that is not among those before it, is left out of it.
      const args = ['merge-base', '--is-ancestor', have ?? '', commit];
      const isPart = have !== undefined && have !== commit && (await ask(args)).exitCode === 0;
      const format = (await git(name, 'its format is not known', ['rev-parse', '--show-object-format'])).trim();
      const prerequisites = isPart ? [have] : [];
      await writeBundle(file, bundleHeader({ format, prerequisites, commit }), (fd) => {
        const wanted = [commit, ...prerequisites.map((id) => `^${id}`)];
        const pack = ['pack-objects', '--quiet', '--revs', '--thin', '--delta-base-offset', '--stdout'];
        return ask(pack, { input: `${wanted.join('\n')}\n`, outputTo: fd });
      }).catch((cause: unknown) => {
        throw notAnswered(name, cause);
      });
    },
  };
}

/** A bundle is its header and a pack: no reference is needed that somebody else could move meanwhile. */
async function writeBundle(
  path: string,
  header: string,
  pack: (fd: number) => Promise<{ readonly exitCode: number; readonly stderr: string }>,
): Promise<void> {
  const file = await open(path, 'ax', 0o600);
  try {
    await file.writeFile(header);
    const answer = await pack(file.fd);
    if (answer.exitCode !== 0) throw new CommandFailed(complaintOf(answer));
  } finally {
    await file.close();
  }
}

function notAnswered(what: string, cause: unknown): unknown {
  return cause instanceof CommandFailed ? refusal('validation.manifest', cause.message, what, cause) : cause;
}

/** What went wrong, when it is about more than a missing object. */
function complained(stderr: string): string | undefined {
  if (/not a git repository|cannot change to/.test(stderr)) return 'not a git repository';
  if (/dubious ownership|Permission denied/.test(stderr)) return stderr.trim().split('\n')[0];
  return undefined;
}
