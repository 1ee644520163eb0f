import { isUtf8 } from 'node:buffer';
import { resolve } from 'node:path';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { CommittedFiles } from '../../common/manifest/committed.ts';
import { CommandFailed, type GitAnswer, runGit } from './git-command.ts';

/** What is committed in a local git repository: a work tree, or a bare one. Never the network. */
export interface Repository extends CommittedFiles {
  /** Id of the commit that HEAD names. @throws AppError `validation.manifest` when it cannot be read. */
  head(): Promise<string>;
  /** Whether `older` is `newer` or one of those before it; false for what is not known here. */
  isAncestor(older: string, newer: string): Promise<boolean>;
  /**
   * A commit and all before it as a git bundle; without what `have`, one of those before it, holds.
   * @throws AppError `validation.manifest` when it cannot be read, or is larger than a node would take.
   */
  bundle(commit: string, have: string | undefined): Promise<Buffer>;
}

/** The repository at `path`, through the git command. */
export function gitRepository(path: string): Repository {
  const root = resolve(path);
  // Another user may own the checkout; only objects are read, and no hooks run.
  const where = ['-c', `safe.directory=${root}`, '-C', root];
  const ask = async (what: string, args: readonly string[], input = '', maxBytes: number = limits.maxManifestBytes) => {
    const answer = await runGit([...where, ...args], { input, maxBytes }).catch((cause: unknown) => {
      throw cause instanceof CommandFailed ? refuse(what, cause.message, cause) : cause;
    });
    if (answer.exitCode !== 0) throw refuse(what, complaintOf(answer));
    return answer.stdout;
  };
  const text = async (what: string, ...args: readonly string[]): Promise<string> => {
    const stdout = await ask(what, args);
    if (!isUtf8(stdout)) throw refuse(what, 'not UTF-8');
    return stdout.toString('utf8');
  };
  return {
    head: async () => (await text(path, 'rev-parse', '--verify', 'HEAD^{commit}')).trim(),
    read: (commit, file) => text(file, 'cat-file', 'blob', `${commit}:${file}`),
    list: async (commit, folder) => {
      const listed = await text(folder, 'ls-tree', '-r', '-z', '--full-tree', commit, '--', folder);
      return [...listed.matchAll(/(\d+) \w+ [0-9a-f]+\t([^\0]*)\0/g)]
        .map(([, mode, name = '']) => ({ path: name, isFile: mode === '100644' || mode === '100755' }))
        .sort((a, b) => (a.path < b.path ? -1 : 1));
    },
    isAncestor: async (older, newer) => {
      const { exitCode } = await runGit([...where, 'merge-base', '--is-ancestor', older, newer], {});
      return exitCode === 0;
    },
    bundle: async (commit, have) => {
      const format = (await text(path, 'rev-parse', '--show-object-format')).trim();
      const wanted = `${commit}\n${have === undefined ? '' : `^${have}\n`}`;
      const args = ['pack-objects', '--quiet', '--revs', '--thin', '--delta-base-offset', '--stdout'];
      const header = bundleHeader({ format, commit, have });
      return Buffer.concat([header, await ask(path, args, wanted, limits.maxOfferedBundleBytes - header.length)]);
    },
  };
}

/** Version 2 (gitformat-bundle), and 3 where the hash is another one. A commit needs no reference of the repository to be sent. */
function bundleHeader(of: { format: string; commit: string; have: string | undefined }): Buffer {
  const first = of.format === 'sha1' ? ['# v2 git bundle'] : ['# v3 git bundle', `@object-format=${of.format}`];
  const needed = of.have === undefined ? [] : [`-${of.have} `];
  return Buffer.from(`${[...first, ...needed, `${of.commit} refs/heads/main`].join('\n')}\n\n`);
}

function refuse(what: string, reason: string, cause?: unknown): AppError {
  return new AppError('validation.manifest', `${what}: ${reason}`, {
    cause,
    details: { file: what, line: 1, column: 1, reason },
  });
}

/** The first line of what git said is for people already; its advice is about something else. */
function complaintOf({ stderr }: GitAnswer): string {
  const [line = ''] = stderr.split('\n').filter((said) => said.trim() !== '' && !said.startsWith('hint:'));
  return line.slice(0, limits.maxForeignTextChars) || 'git failed without saying why';
}
