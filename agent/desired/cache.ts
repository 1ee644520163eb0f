import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../../common/errors.ts';
import { syncFolder, syncTree } from '../data/durable-file.ts';
import { complaintOf, type GitOptions, runGit } from './git-command.ts';
import { type Staged, stagedRef } from './staged.ts';

/** A repository of the cache, and the commit that it was made for. */
export interface Held {
  readonly gitDir: string;
  readonly commit: string;
}

const syncing = { 'core.fsync': 'all' };
const fetching = { ...syncing, 'protocol.file.allow': 'always' };
/** A reference that moves to another folder could be in none for a moment. */
const tidying = { ...syncing, 'gc.autoPackLimit': '20', 'gc.packRefs': 'false' };

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
      // An `init` of what is there would write its settings anew, without syncing them.
      if ((await this.head())?.gitDir !== folder) {
        await succeeded(['init', '--quiet', '--bare', '--template=', `--object-format=${format}`, folder]);
      }
      const fetch = ['fetch', '--quiet', '--no-tags', '--no-write-fetch-head', '--no-auto-maintenance'];
      await succeeded([at(folder), ...fetch, staged.gitDir, stagedRef], { config: fetching });
      // git syncs files, but no names; and nothing may name a commit that a power cut can take.
      await syncTree(folder);
      await syncFolder(dirname(folder));
      await succeeded([at(folder), 'update-ref', adoptedRef, staged.commit], { config: syncing });
      await syncTree(join(folder, 'refs'));
    };
    await fill().catch(async () => {
      // Half a cache, after a power cut perhaps, is worth less than none.
      await rm(folder, { recursive: true, force: true });
      await fill();
    });
    await rm(other, { recursive: true, force: true });
    await syncFolder(dirname(other));
    await succeeded([at(folder), 'gc', '--auto', '--quiet'], { config: tidying });
  }
}

function at(gitDir: string): string {
  return `--git-dir=${gitDir}`;
}

async function succeeded(args: readonly string[], options: GitOptions = {}): Promise<void> {
  const answer = await runGit(args, options);
  if (answer.exitCode !== 0) throw new AppError('internal.error', `git: ${complaintOf(answer)}`);
}
