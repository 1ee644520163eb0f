import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../common/errors.ts';
import { complaintOf, type GitOptions, runGit } from './git-command.ts';
import { type Staged, stagedRef } from './staged.ts';

/** A repository of the cache, and the commit that it was made for. */
export interface Held {
  readonly gitDir: string;
  readonly commit: string;
}

/** The reference of the commit in force. */
const adoptedRef = 'refs/heads/adopted';

/**
 * The agent's own bare repository: the commit in force and all before it, which later bundles build on. What is in force is
 * said by the journal alone; if this is lost, a whole bundle makes it anew.
 *
 * Concurrency: one writer, the running agent; others may read beside it.
 */
export class CommitCache {
  /** One folder for each hash that repositories name their objects by; only one of them is there. */
  readonly #folders: readonly string[];

  constructor(dataDir: string) {
    this.#folders = [join(dataDir, 'desired.git'), join(dataDir, 'desired-sha256.git')];
  }

  /** The repository with all of these commits in it; undefined when there is none. */
  async holding(commits: readonly string[]): Promise<Held | undefined> {
    const held = await this.head();
    if (held === undefined) return undefined;
    for (const commit of commits) {
      const { exitCode } = await runGit([at(held.gitDir), 'merge-base', '--is-ancestor', commit, held.commit]);
      if (exitCode !== 0) return undefined;
    }
    return held;
  }

  /** The commit that was taken last; undefined before the first, and when the cache is lost. */
  async head(): Promise<Held | undefined> {
    for (const gitDir of this.#folders) {
      const { exitCode, stdout } = await runGit([at(gitDir), 'rev-parse', '--verify', '--quiet', adoptedRef]);
      if (exitCode === 0) return { gitDir, commit: stdout.toString('latin1').trim() };
    }
    return undefined;
  }

  /**
   * Takes a staged commit with all before it, durably. Crash points: before it nothing has changed; after it, while the
   * journal does not say so yet, the commit in force is an earlier one and still here.
   */
  async take(staged: Staged): Promise<void> {
    const [sha1 = '', sha256 = ''] = this.#folders;
    const [folder, other, format] = staged.commit.length === 40 ? [sha1, sha256, 'sha1'] : [sha256, sha1, 'sha256'];
    const fill = async () => {
      await succeeded(['init', '--quiet', '--bare', '--template=', `--object-format=${format}`, folder]);
      const fetch = [at(folder), 'fetch', '--quiet', '--no-tags', '--no-write-fetch-head'];
      const config = { 'protocol.file.allow': 'always', 'core.fsync': 'all', 'gc.autoPackLimit': '20' };
      await succeeded([...fetch, staged.gitDir, `+${stagedRef}:${adoptedRef}`], { config });
    };
    await fill().catch(async () => {
      // Half a cache, after a power cut perhaps, is worth less than none.
      await rm(folder, { recursive: true, force: true });
      await fill();
    });
    await rm(other, { recursive: true, force: true });
  }
}

function at(gitDir: string): string {
  return `--git-dir=${gitDir}`;
}

async function succeeded(args: readonly string[], options: GitOptions = {}): Promise<void> {
  const answer = await runGit(args, options);
  if (answer.exitCode !== 0) throw new AppError('internal.error', `git: ${complaintOf(answer)}`);
}
