import type { ConfigChecks } from './config-drift.ts';
import type { WantedConfig, WantedCreation, WantedFiles } from './container-config.ts';
import type { DriftKind } from './drift-kind.ts';
import type { ObservedContainer } from './observed.ts';

/** One container that git says should run on a node. */
export interface DesiredContainer {
  readonly name: string;
  readonly image: string;
  /** `sha256:<hex>` the manifest pins the image to, or null. */
  readonly imageId: string | null;
  readonly config: WantedConfig;
  /** What is not compared, and needed to make the container. */
  readonly creation: WantedCreation;
  readonly mountedFiles?: WantedFiles;
}

/** What git says should run on one node. */
export interface DesiredState {
  readonly containers: readonly DesiredContainer[];
  /** Kinds of drift that the manifest's rules say to ignore. */
  readonly ignored: ReadonlySet<DriftKind>;
  readonly checks: ConfigChecks;
  /** Whether a newer patch of the wanted image is as good. */
  readonly newerPatches: boolean;
  /** Whether the manifest lets this container run although it is not listed. */
  readonly exempt: (container: ObservedContainer) => boolean;
}
