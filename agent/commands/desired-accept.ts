import { randomUUID } from 'node:crypto';
import { rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { AgentSettings } from '../config.ts';
import { DesiredFolder } from '../desired/folder.ts';
import { requireDataDir } from './data-dir.ts';

export interface Accepted {
  readonly commit: string;
  readonly reason: string;
  /** Whether it is the commit that the agent refused last. */
  readonly was_refused: boolean;
}

/**
 * Lets one commit come into force although it is no descendant of the one that is. Everything else is still asked of it: its
 * signature, and files without mistakes. Takes write access to the agent's data directory, and nothing else does it.
 * @throws AppError `validation.request` for a commit that is not named whole, or no reason; `validation.config` when there is
 *   no data directory.
 */
export async function acceptCommit(
  { dataDir }: AgentSettings,
  wish: { readonly commit: string; readonly reason: string },
  nowMs: number,
): Promise<Accepted> {
  const [commit, reason] = [wish.commit.trim().toLowerCase(), wish.reason.trim()];
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(commit)) {
    throw new AppError('validation.request', 'the whole commit id is expected: 40 hex digits, or 64');
  }
  if (reason === '' || reason.length > limits.maxOwnTextChars) {
    throw new AppError('validation.request', `--reason: 1 to ${limits.maxOwnTextChars} characters are expected`);
  }
  await requireDataDir(dataDir);
  const folder = new DesiredFolder(dataDir);
  const shown = await folder.shown();
  await folder.writeRelease({ id: randomUUID(), commit, at: rfc3339(nowMs), reason });
  return { commit, reason, was_refused: shown?.lastRefused?.commit === commit };
}

/** For a person. */
export function formatAccepted({ commit, was_refused }: Accepted): string {
  const known = was_refused ? '' : 'It is not the one that was refused last: it counts once it comes.\n';
  return `${commit} may come into force.\n${known}The agent looks with its next scan; then: sigilwatch-agent desired show\n`;
}
