import { openCheckpoint } from '../../common/checkpoint.ts';
import type { VerifierKey } from '../../common/note.ts';
import type { PublishedCheckpoint } from '../ledger/publisher.ts';
import type { WitnessStore } from './ports.ts';
import type { PublishedWitnesses } from './published.ts';
import type { Roster } from './roster.ts';

export interface CoveringOptions {
  readonly logKey: VerifierKey;
  readonly store: Pick<WitnessStore, 'standing'>;
  readonly roster: () => Promise<Roster>;
  readonly published: Pick<PublishedWitnesses, 'note'>;
  /** The newest tree head, signed by the log alone. */
  readonly latest: () => Promise<PublishedCheckpoint>;
}

/** A checkpoint to prove things with. */
export interface CoveringCheckpoint extends PublishedCheckpoint {
  /** Whether enough of the witnesses have cosigned it; true when none are asked for. */
  readonly witnessed: boolean;
}

/**
 * The checkpoint to prove the first `size` entries with: the newest witnessed one that covers them, else, since a proof
 * without witnesses is better than none, the newest there is.
 */
export async function coveringCheckpoint(size: number, options: CoveringOptions): Promise<CoveringCheckpoint> {
  const { logKey, store, roster, published, latest } = options;
  const { required } = await roster();
  const { witnessed } = await store.standing();
  if (required !== undefined && required > 0 && witnessed !== undefined && witnessed.size >= size) {
    const note = await published.note();
    const { checkpoint } = openCheckpoint(note, logKey);
    // It goes over to the newest when that has waited for too long.
    if (checkpoint.size >= size) {
      return { ...checkpoint, note, witnessed: checkpoint.size <= witnessed.size };
    }
  }
  return { ...(await latest()), witnessed: required === 0 };
}

/** As {@link coveringCheckpoint}, asking again until it is a witnessed one or `tries` are used up. */
export async function awaitCovering(
  size: number,
  options: CoveringOptions,
  { tries, pause }: { readonly tries: number; readonly pause: () => Promise<void> },
): Promise<CoveringCheckpoint> {
  for (let left = tries; ; left--) {
    const found = await coveringCheckpoint(size, options);
    if (found.witnessed || left <= 0) return found;
    await pause();
  }
}

/**
 * The newest witnessed checkpoint if it goes beyond the first `from` entries. Else the newest there is, once what came after
 * the witnessed one is older than `sinceMs` (Unix milliseconds): what is only waiting for witnesses is worth waiting for.
 */
export async function checkpointBeyond(
  from: number,
  options: CoveringOptions,
  sinceMs: number,
): Promise<CoveringCheckpoint | undefined> {
  const { required } = await options.roster();
  const { witnessed, unwitnessedSinceMs } = await options.store.standing();
  const asked = required !== undefined && required > 0;
  if (asked && witnessed !== undefined && witnessed.size > from) return coveringCheckpoint(witnessed.size, options);
  if (asked && unwitnessedSinceMs !== undefined && unwitnessedSinceMs > sinceMs) return undefined;
  const latest = await options.latest();
  return latest.size > from ? { ...latest, witnessed: !asked } : undefined;
}
