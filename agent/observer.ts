import pLimit from 'p-limit';
import { diff, undecided } from '../common/drift.ts';
import { toAppError } from '../common/errors.ts';
import { limits } from '../common/limits.ts';
import type { Logger } from '../common/log.ts';
import type { ObservedContainer } from '../common/observed.ts';
import type { Adopted } from './desired/desired-source.ts';
import type { Engine } from './docker/engine.ts';
import { scanContainers } from './docker/scanner.ts';
import type { Journal } from './ports.ts';
import {
  baseline,
  baselineKey,
  driftsDigest,
  nothingTold,
  observedDigest,
  readTold,
  type Saying,
  sayDrifts,
  sayObserved,
  type Told,
} from './told.ts';

export interface ObserverOptions {
  readonly engine: Engine;
  readonly journal: Journal;
  /** What git wants; undefined while there is no manifest, and then nothing is judged. */
  readonly desired: () => Adopted | undefined;
  readonly logger: Logger;
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
  #told = nothingTold;
  #observed = new Map<string, ObservedContainer>();
  #unobserved = new Set<string>();
  /** Containers that an event named and that have not been looked at since. */
  readonly #dirty = new Set<string>();
  #nextLook: Promise<void> | undefined;
  /** Whether the engine has been listed in full since it last was away; before that absence means nothing. */
  #complete = false;

  constructor(options: ObserverOptions) {
    this.#options = options;
  }

  get summary(): ContainerSummary {
    return {
      containers: {
        count: this.#observed.size,
        unobserved: this.#unobserved.size,
        digest: observedDigest(this.#told),
      },
      drifts: { open: this.#told.drifts.size, digest: driftsDigest(this.#told) },
    };
  }

  get observed(): ReadonlyMap<string, ObservedContainer> {
    return this.#observed;
  }

  /** Takes up what was told before; the very first time, says that the account begins here. */
  async restore(): Promise<void> {
    const { journal } = this.#options;
    const state = await journal.state();
    this.#told = readTold(state);
    if (!state.has(baselineKey)) await journal.append(baseline.statements, baseline.changes);
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
      const { containers, unobserved } = await scanContainers(this.#options.engine, {
        concurrency: limits.inspectConcurrency,
      });
      this.#observed = new Map(containers);
      this.#unobserved = new Set(unobserved.map(({ id }) => id));
      this.#complete = true;
      for (const { id, error } of unobserved) {
        this.#options.logger.warn('container.unobserved', { id, reason: error.message });
      }
      await this.#say();
    });
  }

  /** The engine is away: nothing that follows from what is not there may be concluded until the next scan. */
  engineAway(): void {
    this.#complete = false;
  }

  /** Compares again, since what git wants has changed. */
  compare(): Promise<void> {
    return this.#oneAtATime(() => this.#say());
  }

  async #lookAtDirty(): Promise<void> {
    const ids = [...this.#dirty];
    this.#dirty.clear();
    await Promise.all(ids.map((id) => this.#inspections(() => this.#inspect(id))));
    await this.#say();
  }

  async #inspect(id: string): Promise<void> {
    try {
      const container = await this.#options.engine.inspect(id);
      this.#unobserved.delete(id);
      if (container === undefined) this.#observed.delete(id);
      else this.#observed.set(id, container);
    } catch (thrown) {
      // It exists, as far as we know, and nobody has seen how it is.
      this.#observed.delete(id);
      this.#unobserved.add(id);
      this.#options.logger.warn('container.unobserved', { id, reason: toAppError(thrown).message });
    }
  }

  /** Says what is new, in one durable write; when that fails nothing has been told and the next look tries again. */
  async #say(): Promise<void> {
    // Before the first full list, containers that were told but not yet seen again are not gone.
    const held = this.#complete ? this.#unobserved : new Set(this.#told.containers.keys());
    const seen = sayObserved(this.#told, this.#observed, held);
    const drifted = this.#judge(seen.after);
    const statements = [...drifted.statements, ...seen.statements];
    if (statements.length === 0) return;
    await this.#options.journal.append(statements, [...drifted.changes, ...seen.changes]);
    this.#told = drifted.after;
    for (const statement of drifted.statements) this.#options.logger.info(statement.kind, { said: statement.body });
  }

  #judge(told: Told): Saying {
    const adopted = this.#options.desired();
    if (adopted === undefined || !this.#complete) return { statements: [], changes: [], after: told };
    const state = { containers: this.#observed, unobserved: this.#unobserved };
    const held = new Set([...told.drifts.values()].filter((drift) => undecided(drift, state)).map(({ id }) => id));
    return sayDrifts(told, diff(adopted.desired, state), held, adopted.commit);
  }
}
