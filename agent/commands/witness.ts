import { setTimeout as delay } from 'node:timers/promises';
import { amount } from '../../common/amount.ts';
import { rfc3339 } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { formatVerifierKey } from '../../common/note.ts';
import { nodeWitnessKey } from '../../common/witnesses.ts';
import type { AgentSettings } from '../config.ts';
import { loadIdentity } from '../identity.ts';
import { releaseFork, type StandingFork, unreleasedForks } from '../link/fork-desk.ts';
import type { LinkStatus } from '../link/status.ts';
import { askStatus } from './status.ts';

/** What this node vouches for. */
export interface WitnessShown {
  /** `unknown` when no agent runs that could be asked. */
  readonly state: LinkStatus['state'] | 'unknown';
  /** The key it cosigns with, as a manifest pins it; null where there is none that could be read. */
  readonly key: string | null;
  readonly held: LinkStatus['witness']['held'];
  readonly cosigned: LinkStatus['witness']['cosigned'];
  /** Forks that nobody has released, by their evidence files. */
  readonly forks: readonly StandingFork[];
}

/** The checkpoint held, from the agent that runs here, and the forks that stand, from their files. Changes nothing. */
export async function showWitness(settings: AgentSettings): Promise<WitnessShown> {
  const forks = await unreleasedForks(settings.dataDir);
  const key = await ownKey(settings.dataDir);
  const status = await askStatus(settings).catch((thrown: unknown) => {
    if (toAppError(thrown).code === 'agent.unreachable') return undefined;
    throw thrown;
  });
  if (status === undefined) return { state: 'unknown', key, held: null, cosigned: null, forks };
  const { state, witness } = status.link;
  return { state, key, held: witness.held, cosigned: witness.cosigned, forks };
}

async function ownKey(dataDir: string): Promise<string | null> {
  const identity = await loadIdentity(dataDir).catch(() => undefined);
  if (identity === undefined) return null;
  const { node, keys, collector } = identity;
  return formatVerifierKey(nodeWitnessKey(collector.origin, node, keys.publicKey));
}

/** For a person; the note as it is, so that other tools can check it. */
export function formatWitness({ state, key, held, cosigned, forks }: WitnessShown): string {
  const lines = [
    state === 'unknown' ? 'no agent answers here; what follows is from its files' : `link: ${state}`,
    key === null ? '' : `cosigns with: ${key}`,
    held === null
      ? 'no checkpoint held'
      : `holds the checkpoint of ${amount(held.size, 'entry', 'entries')}:\n\n${held.note}`,
    cosigned === null ? '' : `cosigned size ${cosigned.size} at ${rfc3339(cosigned.atMs)}`,
    ...forks.map(
      ({ id, at, reason }) =>
        `FORK found ${at}: ${reason}\n  evidence: evidence/${id}.json\n  release: sigilwatch-agent witness release --reason TEXT`,
    ),
  ];
  return `${lines.filter((line) => line !== '').join('\n')}\n`;
}

export interface Released {
  readonly released: readonly string[];
  /** False when no agent runs: it goes on once it is started. */
  readonly effective: boolean;
}

/** How long a running agent may take to notice. */
const effectWithinMs = 5 * limits.witnessReleasePollMs;

/**
 * Lets the agent go on after a fork. It puts the reason on record before it does.
 * @throws AppError `resource.not_found` when no fork stands, `validation.request` for no reason.
 */
export async function releaseWitness(settings: AgentSettings, reason: string, nowMs: number): Promise<Released> {
  const text = reason.trim();
  if (text === '' || text.length > limits.maxOwnTextChars) {
    throw new AppError('validation.request', `--reason: 1 to ${limits.maxOwnTextChars} characters are expected`);
  }
  const forks = await unreleasedForks(settings.dataDir);
  if (forks.length === 0) {
    throw new AppError('resource.not_found', `no fork stands in ${settings.dataDir}; there is nothing to release`);
  }
  for (const { id } of forks) await releaseFork(settings.dataDir, { id, at: rfc3339(nowMs), reason: text });
  return { released: forks.map(({ id }) => id), effective: await takesEffect(settings) };
}

export function formatReleased({ released, effective }: Released): string {
  const what = `released: ${released.join(', ')}\n`;
  return effective ? `${what}The agent goes on.\n` : `${what}No agent answers here yet; it goes on once it runs.\n`;
}

async function takesEffect(settings: AgentSettings): Promise<boolean> {
  for (let waitedMs = 0; waitedMs < effectWithinMs; waitedMs += pollMs) {
    const status = await askStatus(settings).catch(() => undefined);
    if (status === undefined) return false;
    if (status.link.witness.fork === null) return true;
    await delay(pollMs);
  }
  return false;
}

const pollMs = 200;
