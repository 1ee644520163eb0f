import pLimit from 'p-limit';
import type { Clock } from '../common/clock.ts';
import type { DesiredState } from '../common/desired.ts';
import { type Drift, diff, type ObservedState, undecided } from '../common/drift.ts';
import type { StandingDrift } from '../common/enforcement/permission.ts';
import { toAppError } from '../common/errors.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import type { ObservedContainer } from '../common/observed.ts';
import type { Adopted } from './desired/desired-source.ts';
import type { Engine, InspectedContainer } from './docker/engine.ts';
import { createImages, type Images, observedOf, stateToJudge } from './docker/images.ts';
import { createMountedFiles, type MountedFiles } from './docker/mounted-files.ts';
import { scanContainers } from './docker/scanner.ts';
import type { Journal } from './ports.ts';
import {
  driftsDigest,
  nothingTold,
  observedDigest,
  readTold,
  type Saying,
  sayDrifts,
  sayObserved,
  type Told,
} from './told/told.ts';

export interface ObserverOptions {
  readonly engine: Engine;
  readonly journal: Journal;
  /** What git wants; undefined while there is no manifest, and then nothing is judged. */
  readonly desired: () => Adopted | undefined;
  /** What somebody is at work on: nothing is concluded about it meanwhile. */
  readonly inHand?: () => InHand;
  /** Hears of every comparison, once what is new is on record. */
  readonly onCompared?: () => void;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
}

/** Containers that an order is being carried out on, or that one has put aside. */
export interface InHand {
  readonly names: ReadonlySet<string>;
  readonly ids: ReadonlySet<string>;
}

const nothingInHand: InHand = { names: new Set(), ids: new Set() };

/** Containers that were put aside stay so; names are in hand while somebody is at them. */
function both(before: InHand, { names, ids }: InHand): InHand {
  return { names: new Set([...before.names, ...names]), ids };
}

/** What a report says of the containers. */
export interface ContainerSummary {
  readonly containers: { readonly count: number; readonly unobserved: number; readonly digest: string };
  readonly drifts: { readonly open: number; readonly digest: string };
}

/**
 * Watches the containers: keeps the observed state, compares it with the desired one, and says what is new. One look at
 * a time; what arrives during a look is taken together into the next.
 */
export class ContainerObserver {
  readonly #options: ObserverOptions;
  readonly #oneAtATime = pLimit(1);
  readonly #inspections = pLimit(limits.inspectConcurrency);
  /** Undefined until it was read, and after the journal was replaced. */
  #told: Told | undefined;
  readonly #images: Images;
  readonly #files: MountedFiles;
  #looked = new Map<string, InspectedContainer>();
  /** Those that could not be inspected, with the names they had when the engine was last listed. */
  #unobserved = new Map<string, string | null>();
  /** Containers that an event named and that have not been looked at since. */
  readonly #dirty = new Set<string>();
  #nextLook: Promise<void> | undefined;
  /** Whether the engine has been listed in full since it last was away; before that absence means nothing. */
  #complete = false;
  /** How often the engine went away. A scan that it happened to is not complete. */
  #absences = 0;
  /** What was in hand when the last scan began, or a look since. */
  #handsAtLook = nothingInHand;

  constructor(options: ObserverOptions) {
    this.#options = options;
    this.#files = createMountedFiles(options);
    this.#images = createImages(options.engine, (imageId, { message }) => {
      options.logger.warn('image.unobserved', { imageId, reason: message });
    });
  }

  get summary(): ContainerSummary {
    const told = this.#told ?? nothingTold;
    return {
      containers: {
        count: this.#looked.size,
        unobserved: this.#unobserved.size,
        digest: observedDigest(told),
      },
      drifts: { open: told.drifts.size, digest: driftsDigest(told) },
    };
  }

  /** Drifts that stand, by id, as they were told; undefined while nothing could be compared in full. */
  get standing(): ReadonlyMap<string, StandingDrift> | undefined {
    if (!this.#complete || this.#options.desired() === undefined) return undefined;
    const { drifts, since } = this.#told ?? nothingTold;
    const nowMs = this.#options.clock.now();
    return new Map([...drifts].map(([id, drift]) => [id, { drift, sinceMs: since.get(id) ?? nowMs }]));
  }

  get observed(): ReadonlyMap<string, ObservedContainer> {
    return observedOf(this.#looked);
  }

  /** Takes up what was told before. */
  async restore(): Promise<void> {
    await this.#toldSoFar();
  }

  /** The journal was replaced: what was told is read again before anything more is said. */
  forget(): void {
    this.#told = undefined;
  }

  /** An event named this container: look at it soon. Resolves when what was seen is on record. */
  look(id: string): Promise<void> {
    this.#dirty.add(id);
    // One look takes everything that has gathered by the time it is its turn.
    this.#nextLook ??= this.#oneAtATime(() => {
      this.#nextLook = undefined;
      return this.#lookAtDirty();
    });
    return this.#nextLook;
  }

  /**
   * Lists and inspects everything.
   * @throws AppError `engine.unreachable` or `engine.answer`; what was told stays as it was.
   */
  scan(): Promise<void> {
    return this.#oneAtATime(async () => {
      const absences = this.#absences;
      this.#handsAtLook = this.#inHand();
      const { containers, unobserved } = await scanContainers(this.#options.engine, {
        concurrency: limits.inspectConcurrency,
      });
      this.#looked = new Map(containers);
      this.#unobserved = new Map(unobserved.map(({ id, name }) => [id, name]));
      this.#complete = absences === this.#absences;
      for (const { id, error } of unobserved) {
        this.#options.logger.warn('container.unobserved', { id, reason: error.message });
      }
      await this.#say();
    });
  }

  /** The engine is away: nothing that follows from what is not there may be concluded until the next scan. */
  engineAway(): void {
    this.#complete = false;
    this.#absences += 1;
  }

  /** Does something while nothing is being said, so that `summary` is the sum of the entries before. */
  settled<T>(work: () => Promise<T>): Promise<T> {
    return this.#oneAtATime(work);
  }

  /** Compares again, since what git wants has changed. */
  compare(): Promise<void> {
    return this.#oneAtATime(() => this.#say());
  }

  #inHand(): InHand {
    return this.#options.inHand?.() ?? nothingInHand;
  }

  async #lookAtDirty(): Promise<void> {
    const ids = [...this.#dirty];
    this.#dirty.clear();
    this.#handsAtLook = both(this.#handsAtLook, this.#inHand());
    await Promise.all(ids.map((id) => this.#inspections(() => this.#inspect(id))));
    if (ids.some((id) => this.#unobserved.has(id))) await this.#nameUnobserved();
    await this.#say();
  }

  async #inspect(id: string): Promise<void> {
    try {
      const inspected = await this.#options.engine.inspect(id);
      this.#unobserved.delete(id);
      if (inspected === undefined) this.#looked.delete(id);
      else this.#looked.set(id, inspected);
    } catch (thrown) {
      // It exists, as far as we know, and nobody has seen how it is.
      this.#looked.delete(id);
      this.#unobserved.set(id, null);
      this.#options.logger.warn('container.unobserved', { id, reason: toAppError(thrown).message });
    }
  }

  /** What could not be inspected is listed all the same, by a name that may have changed. Without one it could be any that is missing. */
  async #nameUnobserved(): Promise<void> {
    try {
      const listed = await this.#options.engine.list();
      for (const id of this.#unobserved.keys()) this.#unobserved.set(id, listed.get(id) ?? null);
    } catch (thrown) {
      for (const id of this.#unobserved.keys()) this.#unobserved.set(id, null);
      this.#options.logger.warn('containers.unlisted', { reason: toAppError(thrown).message });
    }
  }

  /** Says what is new, in one durable write; when that fails nothing has been told and the next look tries again. */
  async #say(): Promise<void> {
    const told = await this.#toldSoFar();
    // Before the first full list, containers that were told but not yet seen again are not gone.
    const held = this.#complete ? this.#unobserved : new Set(told.containers.keys());
    const seen = sayObserved(told, this.observed, held);
    const drifted = await this.#judge(seen.after);
    const statements = [...drifted.statements, ...seen.statements];
    if (statements.length > 0)
      await this.#tell(told, { statements, changes: [...drifted.changes, ...seen.changes], after: drifted.after });
    this.#options.onCompared?.();
  }

  async #tell(told: Told, { statements, changes, after }: Saying): Promise<void> {
    await this.#options.journal.append(statements, changes);
    // Unless the journal was replaced meanwhile: then nobody knows what this has become.
    if (this.#told === told) this.#told = after;
    for (const { kind, body } of statements)
      if (kind.startsWith('drift.')) this.#options.logger.info(kind, { said: body });
  }

  async #toldSoFar(): Promise<Told> {
    this.#told ??= readTold(await this.#options.journal.state());
    return this.#told;
  }

  async #judge(told: Told): Promise<Saying> {
    const adopted = this.#options.desired();
    if (adopted === undefined || !this.#complete) return { statements: [], changes: [], after: told };
    const { desired, commit, manifest } = adopted;
    const looked = { containers: this.#looked, unobserved: this.#unobserved, atMs: this.#options.clock.now() };
    const state = await stateToJudge(looked, desired, this.#images, this.#files);
    // What was seen may be work half done, also if that has ended since; a scan comes after all of it.
    const inHand = both(this.#handsAtLook, this.#inHand());
    const grace = {
      graceMs: manifest.drift_rules.unauthorized_containers.grace_period_ms,
      wantedImages: desired.containers.map(({ image }) => image),
    };
    return sayDrifts(told, { ...compared(told, { desired, state, inHand }), commit, nowMs: looked.atMs, grace });
  }
}

/** What stands, and which told drifts may still stand. */
function compared(
  told: Told,
  {
    desired,
    state,
    inHand,
  }: { readonly desired: DesiredState; readonly state: ObservedState; readonly inHand: InHand },
) {
  // One that was put aside and runs again is somebody's doing.
  const isPutAside = (id: string) => inHand.ids.has(id) && state.containers.get(id)?.state !== 'running';
  const isInHand = ({ kind, container, containerId }: Drift) =>
    inHand.names.has(container) ||
    (kind === 'UNAUTHORIZED_CONTAINER' && containerId !== null && isPutAside(containerId));
  const open = [...told.drifts.values()];
  const unsure = open.filter((drift) => isInHand(drift) || undecided(drift, desired, state));
  const held = new Set(unsure.map(({ id }) => id));
  // One that has been told may change while it is in hand; that would be an account of our own work.
  return { standing: diff(desired, state).filter((drift) => !isInHand(drift)), held };
}
