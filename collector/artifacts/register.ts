import pLimit from 'p-limit';
import { AppError } from '../../common/errors.ts';
import type { Body } from '../../common/kinds.ts';
import { type Lineage, lineageText } from '../../common/lineage.ts';
import type { Recorder } from '../enforcement/ports.ts';
import type { ArtifactKind } from './artifact.ts';
import type { ArtifactStore, StoredArtifact } from './ports.ts';

/** What somebody says of an artifact. */
export interface ArtifactWish {
  /** Hex SHA-256. */
  readonly id: string;
  readonly name: string | null;
  readonly kind: ArtifactKind | null;
  readonly lineage: Lineage;
  readonly driftScore: number | null;
  readonly scorecardScore: number | null;
}

export interface Registered {
  readonly artifact: StoredArtifact;
  /** False when it was registered with just this before, and nothing went on record. */
  readonly isNews: boolean;
}

export type RegisterArtifact = (wish: ArtifactWish, actor: string) => Promise<Registered>;

/**
 * Puts artifacts on record. The same said again is answered with what is there, also when it is said twice at once; something else
 * said of the same artifact is another entry, and the ones before stay as its history.
 */
export function createRegister(ports: {
  readonly store: Pick<ArtifactStore, 'alone' | 'artifact'>;
  readonly ledger: Recorder;
}): RegisterArtifact {
  const { store, ledger } = ports;
  // Each holds a connection of the pool, and the ledger needs some of it.
  const oneAtATime = pLimit(1);

  async function register(wish: ArtifactWish, actor: string): Promise<Registered> {
    const known = await store.artifact(wish.id);
    if (known !== undefined && says(known, wish)) return { artifact: known, isNews: false };
    const body: Body<'artifact.registered'> = { ...wish, actor };
    await ledger.record({ kind: 'artifact.registered', body });
    return { artifact: await requireArtifact(store, wish.id), isNews: true };
  }

  return (wish, actor) => oneAtATime(() => store.alone(wish.id, () => register(wish, actor)));
}

/** The name in the lineage counts where no other is given, so it is compared as it was stored. */
function says(known: StoredArtifact, wish: ArtifactWish): boolean {
  return (
    lineageText(known.lineage) === lineageText(wish.lineage) &&
    known.kind === wish.kind &&
    known.driftScore === wish.driftScore &&
    known.scorecardScore === wish.scorecardScore &&
    (wish.name === null || known.name === wish.name)
  );
}

/** @throws AppError `resource.not_found`. */
export async function requireArtifact(store: Pick<ArtifactStore, 'artifact'>, id: string): Promise<StoredArtifact> {
  const found = await store.artifact(id);
  if (found !== undefined) return found;
  throw new AppError('resource.not_found', `there is no artifact ${id}`, { details: { artifact: id } });
}
