import pLimit from 'p-limit';
import { limits } from '../../common/limits.ts';
import type { Repository } from './git.ts';

/** A commit, and what a node needs to get to it, as a git bundle. */
export interface ManifestBundle {
  readonly commit: string;
  readonly bytes: Buffer;
}

/**
 * Makes bundles of a repository and keeps a few of the last commit ready, since all nodes ask for the same. What a node says
 * that it has is anybody's word: at worst its bundle is whole.
 */
export function createBundles(repository: Repository) {
  const atOnce = pLimit(bundlesAtOnce);
  let of = '';
  const ready = new Map<string, Promise<Buffer>>();

  function made(commit: string, base: string | undefined): Promise<Buffer> {
    const name = base ?? '';
    const found = ready.get(name);
    if (found !== undefined) return found;
    const making = repository.bundle(commit, base);
    ready.set(name, making);
    // What could not be made is tried again.
    making.catch(() => ready.delete(name));
    const [oldest] = ready.keys();
    if (ready.size > limits.maxReadyBundles && oldest !== undefined) ready.delete(oldest);
    return making;
  }

  return {
    /** @throws AppError `validation.manifest` when the repository cannot be read, or holds too much. */
    make: (commit: string, have: string | undefined): Promise<ManifestBundle> =>
      atOnce(async () => {
        if (of !== commit) ready.clear();
        of = commit;
        const isId = have !== undefined && have.length === commit.length && /^[0-9a-f]+$/.test(have);
        const isPart = isId && (ready.has(have) || (await repository.isAncestor(have, commit)));
        return { commit, bytes: await made(commit, isPart ? have : undefined) };
      }),
  };
}

const bundlesAtOnce = 2;
