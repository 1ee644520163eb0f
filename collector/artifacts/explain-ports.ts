import type { StoredOrder } from '../enforcement/ports.ts';
import type { DriftRow } from '../postgres/query-store.ts';
import type { Registration, StoredArtifact, StoredScore } from './ports.ts';

/** A container as its node saw it last. */
export interface SeenContainer {
  readonly node: string;
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly imageId: string;
  readonly state: string;
  /** Of the entry that tells of it so. */
  readonly index: number;
  readonly atMs: number | null;
}

/** One that a story is about; `seen` is null where it is not there any more. */
export interface StoryContainer {
  readonly node: string;
  readonly name: string;
  readonly seen: SeenContainer | null;
}

/** How a container and an artifact belong together: by the id of the image, or only by what it was called. */
export type MatchedBy = 'image_id' | 'image';

export interface RunningArtifact {
  readonly artifact: string;
  readonly by: MatchedBy;
  readonly container: SeenContainer;
}

/** A node said that it follows a commit from then on. */
export interface Adoption {
  readonly index: number;
  readonly atMs: number;
  readonly node: string;
  readonly commit: string;
}

/** What was said of an enforcement: that it was asked for, and what became of it. */
export interface EnforcementStep {
  readonly index: number;
  readonly atMs: number;
  readonly kind: string;
  readonly id: string;
  readonly artifact: string;
  readonly what: string;
}

/** What a story is read from: each of them bounded, the newest, and found by an index. */
export interface ExplainPorts {
  /** @param name its name; or at least 12 digits of its id, where the node is given */
  containers(name: string, node: string | undefined): Promise<readonly SeenContainer[]>;
  /** Artifacts that a container with this image runs. */
  artifactsOf(image: Pick<SeenContainer, 'image' | 'imageId'>): Promise<readonly StoredArtifact[]>;
  artifacts(ids: readonly string[]): Promise<readonly StoredArtifact[]>;
  runs(ids: readonly string[]): Promise<readonly RunningArtifact[]>;
  registrations(id: string): Promise<readonly Registration[]>;
  scores(ids: readonly string[]): Promise<readonly StoredScore[]>;
  drifts(container: Pick<SeenContainer, 'node' | 'name'>): Promise<readonly DriftRow[]>;
  orders(container: Pick<SeenContainer, 'node' | 'name'>): Promise<readonly StoredOrder[]>;
  adoptions(node: string): Promise<readonly Adoption[]>;
  enforcements(ids: readonly string[]): Promise<readonly EnforcementStep[]>;
}
