import { z } from 'zod';
import { type ConfigChecks, configDifferences, type MadeContainer } from './config-drift.ts';
import type { DesiredContainer, DesiredState } from './desired.ts';
import { type DriftKind, driftKinds } from './drift-kind.ts';
import { clip, foreignText } from './fields.ts';
import { isNewerPatch, sameImage } from './image.ts';
import type { ObservedContainer } from './observed.ts';
import { standstill } from './standing.ts';

/** One difference between desired and observed state. Both sides of every differing field are carried. */
export const driftSchema = z.strictObject({
  /** Stable while the difference stands: kind and container name, or container id where no name is desired. */
  id: foreignText,
  kind: z.enum(driftKinds),
  container: foreignText,
  containerId: foreignText.nullable(),
  differences: z.array(
    z.strictObject({ field: foreignText, desired: foreignText.nullable(), observed: foreignText.nullable() }),
  ),
});

export type Drift = z.infer<typeof driftSchema>;

/** What the last complete scan saw. Containers that could not be inspected are named, never guessed. */
export interface ObservedState {
  readonly containers: ReadonlyMap<string, ObservedContainer>;
  /**
   * Ids that are known to exist but could not be inspected, each with its name, or null where that is not known: nothing is concluded
   * about them, and none of the names is missing.
   */
  readonly unobserved: ReadonlyMap<string, string | null>;
  /** When it was seen, Unix milliseconds. */
  readonly atMs: number;
  /** How containers were made, by id, as far as it is known. */
  readonly made: ReadonlyMap<string, MadeContainer>;
}

/**
 * Every difference between what should run and what was seen. Pure and complete: the same two states give the same
 * drifts in the same order (by id).
 */
export function diff(desired: DesiredState, observed: ObservedState): Drift[] {
  const byName = new Map([...observed.containers.values()].map((container) => [container.name, container]));
  const wanted = new Set(desired.containers.map((container) => container.name));
  const drifts = [
    ...desired.containers.flatMap((container) => judgeDesired(container, byName, { ...observed, ...desired })),
    ...[...observed.containers.values()]
      .filter((container) => !wanted.has(container.name) && !desired.exempt(container))
      .map(unauthorized),
  ];
  return drifts.filter((drift) => !desired.ignored.has(drift.kind)).sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Of these nothing runs, nor will by itself. */
const ended: ReadonlySet<ObservedContainer['state']> = new Set(['exited', 'dead', 'removing']);

function judgeDesired(
  desired: DesiredContainer,
  byName: ReadonlyMap<string, ObservedContainer>,
  {
    unobserved,
    made,
    checks,
    newerPatches,
    atMs,
  }: Pick<ObservedState, 'unobserved' | 'made' | 'atMs'> & Pick<DesiredState, 'checks' | 'newerPatches'>,
): Drift[] {
  const observed = byName.get(desired.name);
  // A container we could not inspect might be this one: not seen is not the same as not there.
  if (observed === undefined) return mayBeUnseen(desired.name, unobserved) ? [] : missing(desired, undefined, null);
  const stands = standstill(observed, atMs);
  if (stands !== undefined && ended.has(observed.state)) return missing(desired, observed, stands);
  // One that is paused or crashes again and again is judged all the same for what it is made of.
  return [
    ...(stands === undefined ? [] : missing(desired, observed, stands)),
    ...(newerPatches && isLaterPatch(desired, observed) ? [] : imageDrift(desired, observed)),
    ...configDrift(desired, observed, { made: made.get(observed.id), checks }),
  ];
}

/** Whoever makes a container that cannot be inspected must not hide by it that others are missing: only names that it may have count. */
function mayBeUnseen(name: string, unobserved: ObservedState['unobserved']): boolean {
  return [...unobserved.values()].some((its) => its === null || clip(its) === clip(name));
}

/** A drift of a container that is wanted by its name; none without a difference. */
function driftOf(
  kind: DriftKind,
  desired: DesiredContainer,
  observed: ObservedContainer | undefined,
  differences: Drift['differences'],
): Drift[] {
  if (differences.length === 0) return [];
  const [id, container] = [clip(`${kind}/${desired.name}`), clip(desired.name)];
  return [{ id, kind, container, containerId: observed?.id ?? null, differences }];
}

function missing(desired: DesiredContainer, observed: ObservedContainer | undefined, state: string | null): Drift[] {
  return driftOf('MISSING_CONTAINER', desired, observed, [{ field: 'state', desired: 'running', observed: state }]);
}

function unauthorized(observed: ObservedContainer): Drift {
  return {
    // By id, not name: another container under the same name is another drift.
    id: `UNAUTHORIZED_CONTAINER/${observed.id}`,
    kind: 'UNAUTHORIZED_CONTAINER',
    container: clip(observed.name),
    containerId: observed.id,
    differences: [
      { field: 'image', desired: null, observed: clip(observed.image) },
      { field: 'state', desired: null, observed: observed.state },
    ],
  };
}

/** An image that is pinned by its id is meant exactly. */
export function isLaterPatch(
  { image, imageId }: DesiredContainer,
  observed: Pick<ObservedContainer, 'image'>,
): boolean {
  return imageId === null && isNewerPatch(image, observed.image);
}

function imageDrift(desired: DesiredContainer, observed: ObservedContainer): Drift[] {
  const differences = [];
  // Whoever makes a container of the pinned id names no reference.
  const byId = desired.imageId !== null && desired.imageId === observed.image;
  if (!byId && !sameImage(desired.image, observed.image)) {
    differences.push({ field: 'image', desired: clip(desired.image), observed: clip(observed.image) });
  }
  if (desired.imageId !== null && desired.imageId !== observed.imageId) {
    differences.push({ field: 'image_sha', desired: desired.imageId, observed: clip(observed.imageId) });
  }
  return driftOf('IMAGE_DRIFT', desired, observed, differences);
}

function configDrift(
  desired: DesiredContainer,
  observed: ObservedContainer,
  { made, checks }: { readonly made: MadeContainer | undefined; readonly checks: ConfigChecks },
): Drift[] {
  const differences = made === undefined ? [] : configDifferences(desired.config, made, checks, desired.mountedFiles);
  return driftOf('CONFIG_DRIFT', desired, observed, differences);
}

/** How the open drifts move from one comparison to the next. */
export interface DriftChanges {
  readonly opened: readonly Drift[];
  readonly changed: readonly Drift[];
  readonly resolved: readonly string[];
}

/**
 * Whether nothing can be concluded about a drift: its own container could not be inspected, nobody knows how it was made, or one
 * that could not be inspected may be the one that is desired. What was not observed never counts as compliant.
 */
export function undecided(drift: Drift, desired: DesiredState, observed: ObservedState): boolean {
  if (drift.kind === 'UNAUTHORIZED_CONTAINER') {
    return drift.containerId !== null && observed.unobserved.has(drift.containerId);
  }
  const isIts = ({ name }: { readonly name: string }) => clip(name) === drift.container;
  const its = [...observed.containers.values()].find(isIts);
  if (its !== undefined) return drift.kind === 'CONFIG_DRIFT' && !observed.made.has(its.id);
  return mayBeUnseen(drift.container, observed.unobserved) && desired.containers.some(isIts);
}

/** Compares the drifts already told with those that stand now; `held` are told drifts that may still stand. */
export function driftChanges(
  told: ReadonlyMap<string, Drift>,
  current: readonly Drift[],
  held: ReadonlySet<string>,
): DriftChanges {
  const standing = new Set(current.map((drift) => drift.id));
  return {
    opened: current.filter((drift) => !told.has(drift.id)),
    changed: current.filter((drift) => {
      const before = told.get(drift.id);
      return before !== undefined && JSON.stringify(before) !== JSON.stringify(drift);
    }),
    resolved: [...told.keys()].filter((id) => !standing.has(id) && !held.has(id)),
  };
}
