import { rfc3339 } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { foreignBytes } from '../../common/sigil-text.ts';
import type { AgentSettings } from '../config.ts';
import { AcceptanceFolder } from '../integrity/acceptances.ts';
import { requireDataDir } from './data-dir.ts';

export interface AcceptWish {
  readonly store: string;
  readonly key: string;
  readonly reason: string;
}

/**
 * Tells the running agent that a sigil was deleted, or set back, on purpose. It puts that on record, and finds the same change no more.
 * Takes write access to the agent's data directory, and nothing else does it.
 * @throws AppError `validation.request` for a store that the settings do not name, a key that was cut, or no reason; `validation.config`
 *   when there is no data directory; `state.busy` when too many wait already
 */
export async function acceptChange(
  { dataDir, sigils }: AgentSettings,
  { store, key, reason }: AcceptWish,
  nowMs: number,
): Promise<AcceptWish> {
  const text = reason.trim();
  if (text === '' || text.length > limits.maxOwnTextChars) {
    throw new AppError('validation.request', `--reason: 1 to ${limits.maxOwnTextChars} characters are expected`);
  }
  if (!Object.hasOwn(sigils.stores, store)) {
    const accepted = Object.keys(sigils.stores).join(', ') || 'none';
    throw new AppError(
      'validation.request',
      `the settings name no sigil store ${JSON.stringify(store)}; there is ${accepted}`,
    );
  }
  if (key === '' || key.length > limits.maxForeignTextChars || foreignBytes(key) === null) {
    throw new AppError('validation.request', '--key: the whole key is expected, as a report shows it');
  }
  await requireDataDir(dataDir);
  const folder = new AcceptanceFolder(dataDir);
  if ((await folder.count()) >= limits.maxWaitingAcceptances) {
    const waiting = `${limits.maxWaitingAcceptances} acceptances wait already; is the agent running?`;
    throw new AppError('state.busy', waiting);
  }
  await folder.leave({ store, key, at: rfc3339(nowMs), reason: text });
  return { store, key, reason: text };
}

/** For a person. */
export function formatAcceptance({ store, key }: AcceptWish): string {
  return [
    `The agent is told that ${key} of ${store} was changed on purpose.`,
    'It looks with its next scan, within a minute, and says so in the ledger (sigil.accepted) if such a finding is open;',
    'if none is, nothing changes, and its log says sigil.acceptance_refused.\n',
  ].join('\n');
}
