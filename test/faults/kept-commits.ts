import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommitCache } from '../../agent/desired/cache.ts';
import { DesiredFolder } from '../../agent/desired/folder.ts';
import { gitRepository } from '../../agent/desired/git.ts';
import { runGit } from '../../agent/desired/git-command.ts';
import { localBundle, stageBundle } from '../../agent/desired/staging.ts';
import { toAppError } from '../../common/errors.ts';
import { agentIn, type Keeper } from './keeper.ts';

/** The commit in force with all before it, taken from bundles that build on the one before. */
export const commitKeepers: readonly Keeper[] = [
  {
    name: 'commit in force',
    keep: async (root, number) => {
      const repository = mkdtempSync(join(tmpdir(), 'sigilwatch-commits-'));
      try {
        const commits = history(repository, number);
        const [commit = ''] = commits.slice(-1);
        const cache = new CommitCache(agentIn(root));
        const held = (await cache.head())?.commit;
        const have = held !== undefined && commits.includes(held) ? held : undefined;
        await take(root, cache, { repository, commit, have }).catch(async (thrown: unknown) => {
          // What the agent does, too: it asks for a whole bundle.
          if (toAppError(thrown).code !== 'resource.not_found') throw thrown;
          await take(root, cache, { repository, commit, have: undefined });
        });
        return { number, detail: commit };
      } finally {
        rmSync(repository, { recursive: true });
      }
    },
    find: async (root) => {
      const held = await new CommitCache(agentIn(root)).head();
      if (held === undefined) return undefined;
      const at = `--git-dir=${held.gitDir}`;
      const whole = await runGit([at, 'fsck', '--connectivity-only', '--no-progress', '--no-dangling', held.commit]);
      if (whole.exitCode !== 0) throw new Error(`the cache has not all of ${held.commit}: ${whole.stderr}`);
      const { stdout } = await runGit([at, 'rev-list', '--count', held.commit]);
      return { number: Number(stdout.toString()), detail: held.commit };
    },
  },
];

interface Wanted {
  readonly repository: string;
  readonly commit: string;
  readonly have: string | undefined;
}

/** As for a commit of a local repository. @throws AppError `resource.not_found` when the cache has not what the bundle builds on */
async function take(root: string, cache: CommitCache, { repository, commit, have }: Wanted): Promise<void> {
  const folder = new DesiredFolder(agentIn(root));
  await folder.tidy();
  await folder.withScratch(async (scratch) => {
    const path = join(scratch, 'bundle');
    await gitRepository(repository).bundle(commit, have, path);
    const staging = join(scratch, 'stage');
    mkdirSync(staging);
    await cache.take(
      await stageBundle(path, { name: 'the bundle', bound: localBundle, cache, commit, folder: staging }),
    );
  });
}

/** So many commits, the same every time. @returns their ids, oldest first */
function history(dir: string, count: number): string[] {
  const git = (args: readonly string[], input = '') =>
    execFileSync('git', ['-C', dir, ...args], {
      encoding: 'utf8',
      input,
      env: { PATH: process.env.PATH, LC_ALL: 'C' },
    });
  git(['init', '-q', '-b', 'main']);
  const commits = Array.from({ length: count }, (_, at) => {
    const text = `containers: [{name: c${at}, image: x}]\n`;
    const header = `commit refs/heads/main\ncommitter t <t@example.org> ${1_700_000_000 + at} +0000\ndata 6\nchange\n`;
    return `${header}M 644 inline bloodline_manifest.yaml\ndata ${text.length}\n${text}\n`;
  });
  git(['fast-import', '--quiet'], commits.join(''));
  return git(['rev-list', '--reverse', 'main']).trim().split('\n');
}
