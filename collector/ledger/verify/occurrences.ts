/**
 * Things that open, may change and end again: drifts and findings. At most one of a name stands at a time; opening it
 * again ends the one before.
 */
export type OccurrenceEvent<T> =
  | ({ readonly type: 'open' | 'change'; readonly id: string; readonly value: T } & When)
  | ({ readonly type: 'end'; readonly id: string } & When)
  /** Everything of the node that stood before no longer does. */
  | ({ readonly type: 'baseline' } & When);

/** The entry an event comes from. */
export interface When {
  readonly node: string;
  readonly index: number;
  /** RFC 3339. */
  readonly at: string;
}

/** One occurrence that opened in this run, as it stands at the end of the run. */
export interface Occurrence<T> {
  readonly node: string;
  readonly id: string;
  readonly value: T;
  readonly openedIndex: number;
  readonly openedAt: string;
  readonly changedIndex: number;
  readonly endedIndex: number | null;
  readonly endedAt: string | null;
}

/** What this run does to an occurrence that stood before it; null leaves a column as it is. */
export interface StandingChange<T> {
  readonly node: string;
  readonly id: string;
  readonly value: T | null;
  readonly changedIndex: number | null;
  readonly endedIndex: number | null;
  readonly endedAt: string | null;
}

/** To be applied in this order: changes to what stood, ends by baseline, then what opened. */
export interface OccurrenceChanges<T> {
  readonly standing: readonly StandingChange<T>[];
  readonly baselines: readonly When[];
  readonly opened: readonly Occurrence<T>[];
}

/** Folds a run of events, in index order, so that any way of cutting it into runs leaves the same rows. Pure. */
export function foldOccurrences<T>(events: readonly OccurrenceEvent<T>[]): OccurrenceChanges<T> {
  const fold = new Fold<T>();
  for (const event of events) fold.apply(event);
  return fold.changes();
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

class Fold<T> {
  /** Effects on occurrences from before the run, by node and id. */
  readonly #standing = new Map<string, Writable<StandingChange<T>>>();
  /** The first baseline of each node ends what stood before the run; later ones only what opened in it. */
  readonly #baselines = new Map<string, When>();
  readonly #opened: Writable<Occurrence<T>>[] = [];
  /** The occurrence of this run that stands now, by node and id. */
  readonly #current = new Map<string, Writable<Occurrence<T>>>();

  apply(event: OccurrenceEvent<T>): void {
    switch (event.type) {
      case 'open':
        this.#end(event, event.id);
        this.#open(event, event.id, event.value);
        break;
      case 'change':
        this.#change(event, event.id, event.value);
        break;
      case 'end':
        this.#end(event, event.id);
        break;
      case 'baseline':
        this.#endAll(event);
        break;
      default:
        event satisfies never;
    }
  }

  changes(): OccurrenceChanges<T> {
    return { standing: [...this.#standing.values()], baselines: [...this.#baselines.values()], opened: this.#opened };
  }

  #open({ node, index, at }: When, id: string, value: T): void {
    const occurrence = {
      node,
      id,
      value,
      openedIndex: index,
      openedAt: at,
      changedIndex: index,
      endedIndex: null,
      endedAt: null,
    };
    this.#opened.push(occurrence);
    this.#current.set(key(node, id), occurrence);
  }

  #change({ node, index }: When, id: string, value: T): void {
    const target = this.#current.get(key(node, id)) ?? this.#fromBefore(node, id);
    if (target === undefined) return;
    target.value = value;
    target.changedIndex = index;
  }

  #end({ node, index, at }: When, id: string): void {
    const target = this.#current.get(key(node, id)) ?? this.#fromBefore(node, id);
    this.#current.delete(key(node, id));
    if (target === undefined) return;
    target.endedIndex = index;
    target.endedAt = at;
  }

  /** The change to what may stand from before the run; undefined once this run has ended it, by name or by baseline. */
  #fromBefore(node: string, id: string): Writable<StandingChange<T>> | undefined {
    if (this.#baselines.has(node)) return undefined;
    const known = this.#standing.get(key(node, id));
    if (known !== undefined) return known.endedIndex === null ? known : undefined;
    const fresh = { node, id, value: null, changedIndex: null, endedIndex: null, endedAt: null };
    this.#standing.set(key(node, id), fresh);
    return fresh;
  }

  #endAll(when: When): void {
    for (const occurrence of [...this.#current.values()]) {
      if (occurrence.node === when.node) this.#end(when, occurrence.id);
    }
    const { node, index, at } = when;
    if (!this.#baselines.has(node)) this.#baselines.set(node, { node, index, at });
  }
}

function key(node: string, id: string): string {
  return `${node}\n${id}`;
}
