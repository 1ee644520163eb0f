import type { Body } from '../../common/kinds.ts';
import type { Lineage } from '../../common/lineage.ts';
import type { ArtifactKind } from './artifact.ts';
import type { ScoreFacts, ScorePart } from './score.ts';
import type { ThresholdAction } from './settings.ts';
import type { TimedScore } from './trend.ts';

/** An artifact as it is known now: its last registration, and its last score. */
export interface StoredArtifact {
  /** Hex SHA-256. */
  readonly id: string;
  /** Of the first registration. */
  readonly firstIndex: number;
  readonly firstAtMs: number;
  /** Of the registration that counts. */
  readonly index: number;
  readonly atMs: number;
  readonly name: string | null;
  readonly kind: ArtifactKind | null;
  readonly lineage: Lineage;
  readonly driftScore: number | null;
  readonly scorecardScore: number | null;
  readonly score: TimedScore | null;
}

/** One time that somebody registered it. */
export interface Registration extends Pick<StoredArtifact, 'index' | 'atMs' | 'name' | 'kind' | 'lineage'> {
  readonly driftScore: number | null;
  readonly scorecardScore: number | null;
  readonly actor: string;
}

export interface StoredScore extends TimedScore {
  readonly artifact: string;
  readonly previous: number | null;
  readonly metric: string;
  readonly parts: Body<'artifact.scored'>['parts'];
}

/** A member that is undefined does not filter. Times are RFC 3339, of the first registration; `from` and `scoreFrom` are inclusive, the others are not. */
export interface ArtifactFilter {
  readonly name: string | undefined;
  readonly image: string | undefined;
  readonly commit: string | undefined;
  readonly scoreBelow: number | undefined;
  readonly scoreFrom: number | undefined;
  readonly from: string | undefined;
  readonly to: string | undefined;
}

export interface ArtifactPage {
  /** Index of the first registration of the last one that was seen. */
  readonly before: number | undefined;
  readonly limit: number;
}

/** Artifacts as they follow from the ledger: what `Ledger.record` has resolved for is seen. */
export interface ArtifactStore {
  /**
   * Runs `work` while nobody else does so for the same artifact, on any collector of the database. Takes one connection of the pool
   * meanwhile, so whoever calls this for many at once lines them up first.
   */
  alone<T>(id: string, work: () => Promise<T>): Promise<T>;
  artifact(id: string): Promise<StoredArtifact | undefined>;
  /** Newest first, by the first registration. */
  list(filter: ArtifactFilter, page: ArtifactPage): Promise<readonly StoredArtifact[]>;
  /** Newest first. */
  registrations(id: string): Promise<readonly Registration[]>;
  /** In the order of the ledger: of each those since then, and the last one before. Of very many the newest. */
  scoresOf(ids: readonly string[], sinceMs: number): Promise<readonly StoredScore[]>;
}

/** What an artifact is scored by now. */
export interface SweptArtifact {
  readonly id: string;
  readonly facts: Omit<ScoreFacts, 'ageMs'>;
  readonly firstAtMs: number;
  /** Its last score; null where there is none. */
  readonly before: { readonly total: number; readonly parts: Body<'artifact.scored'>['parts'] } | null;
  /** That run it. */
  readonly nodes: readonly string[];
}

/**
 * How far the sweeper has come, over all collectors of the database. Only one of them uses it at a time. What is lost of it by a crash
 * is looked at again, and finds nothing new.
 */
export interface SweepStore {
  /** Looks at the entries since the last time: artifacts that they are about, or whose nodes they are of, are due from `nowMs` on. */
  markDue(nowMs: number): Promise<void>;
  /** Those that are due for the longest, first. */
  due(nowMs: number, limit: number): Promise<readonly string[]>;
  facts(ids: readonly string[]): Promise<readonly SweptArtifact[]>;
  /** They were looked at, and are due again at `dueMs` unless something changes before. */
  swept(artifacts: readonly Pick<SweptArtifact, 'id' | 'nodes'>[], dueMs: number): Promise<void>;
  /** Scores that were not held against the thresholds yet, in the order of the ledger. */
  unanswered(limit: number): Promise<readonly StoredScore[]>;
  /** Scores up to and with this index were. */
  answered(index: number): Promise<void>;
}

export interface EnforcementWish {
  /** 64 hex digits; the same for the same crossing of the same threshold, however often it is asked for. */
  readonly key: string;
  readonly artifact: string;
  readonly action: ThresholdAction;
  /** As the action understands it; null for one that needs none. */
  readonly target: string | null;
  readonly reason: string;
  readonly actor: string;
}

/**
 * Asks for an enforcement. When it resolves the request is durable; the same key again makes no second one. It is asked again after an
 * error that is retryable, and never after another one.
 */
export type RequestEnforcement = (wish: EnforcementWish) => Promise<unknown>;

export type { ScorePart };
