import pLimit from 'p-limit';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import {
  authorsFor,
  type EventFilter,
  kindsFor,
  type LiveEvent,
  liveEvent,
  matches,
  ordersSpokenOf,
  readEvent,
} from './event.ts';
import type { EventStore, Stretch } from './ports.ts';
import type { EventSource, Subscription } from './subscription.ts';

export interface FeedOptions {
  readonly store: EventStore;
  readonly logger: Logger;
  readonly eventWindowEntries?: number;
  readonly recentEventsScanEntries?: number;
}

/** Where a subscriber begins: behind an entry, with so many of the latest that match, or with what comes next. */
export type Start = { readonly after: number } | { readonly recent: number } | 'now';

interface Page {
  readonly events: readonly LiveEvent[];
  readonly next: number;
}

/**
 * What is appended to the ledger, for all who follow it in this process: one reader, that gives each event to everybody. While
 * nobody follows nothing is read. The source of truth is the ledger: entries become visible in the order of their indexes, one commit
 * after the other, so reading on after the last index misses nothing, whoever appended them.
 *
 * Nothing is kept here that outlives the process: a subscriber goes on at its cursor anywhere else.
 */
export class Feed implements EventSource {
  readonly #options: FeedOptions;
  readonly #joined = new Set<Subscription>();
  readonly #pastReads = pLimit(limits.eventReadsAtOnce);
  readonly #window: number;
  /** Those who follow, joined or not. While there are none, where the ledger ends is not known here. */
  #followers = 0;
  #next: number | undefined;
  #beginning: Promise<number> | undefined;
  #reading: Promise<void> | undefined;
  #readAgain = false;
  #stopped = false;
  #failed = '';

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#window = options.eventWindowEntries ?? limits.eventWindowEntries;
  }

  get next(): number {
    return this.#next ?? 0;
  }

  /**
   * Begins to follow, for whoever calls {@link unfollow} in the end.
   * @returns the first index that is to be heard.
   * @throws AppError `validation.request` for a place beyond the end of the ledger.
   */
  async follow(start: Start, filter: EventFilter): Promise<number> {
    this.#followers += 1;
    try {
      const next = await this.#begin();
      if (start === 'now') return next;
      if ('recent' in start) return await this.#recent(start.recent, next, filter);
      if (start.after >= next) await this.#requirePlace(start.after);
      return start.after + 1;
    } catch (thrown) {
      this.unfollow();
      throw thrown;
    }
  }

  unfollow(): void {
    this.#followers -= 1;
    if (this.#followers > 0) return;
    this.#next = undefined;
    this.#beginning = undefined;
  }

  /** Entries may have been appended. Never throws or waits. */
  wake(): void {
    if (this.#stopped || this.#next === undefined) return;
    if (this.#reading !== undefined) {
      this.#readAgain = true;
      return;
    }
    this.#reading = this.#readOn().finally(() => {
      this.#reading = undefined;
      // It may have come between the last look and here.
      if (this.#readAgain) this.wake();
    });
  }

  join(subscription: Subscription): void {
    this.#joined.add(subscription);
  }

  leave(subscription: Subscription): void {
    this.#joined.delete(subscription);
  }

  async page(from: number, filter: EventFilter): Promise<Page> {
    const to = Math.min(from + this.#window, this.next);
    return this.#pastReads(() => this.#read({ from, to, ...askedFor(filter) }));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#reading;
  }

  async #begin(): Promise<number> {
    if (this.#next !== undefined) return this.#next;
    const beginning = this.#beginning ?? this.#options.store.size();
    this.#beginning = beginning;
    try {
      const size = await beginning;
      if (this.#next === undefined) {
        this.#next = size;
        // What was appended meanwhile was told to nobody.
        this.wake();
      }
      return this.#next;
    } finally {
      if (this.#beginning === beginning) this.#beginning = undefined;
    }
  }

  async #requirePlace(after: number): Promise<void> {
    const size = await this.#options.store.size();
    if (after < size) return;
    throw new AppError(
      'validation.request',
      `there is no entry ${after}: the ledger has ${size}. Is this the ledger that the index is from?`,
      { details: { parameter: 'after', entries: size } },
    );
  }

  /** Looks back step by step for as many as are wanted, as far as that is bounded. */
  async #recent(wanted: number, end: number, filter: EventFilter): Promise<number> {
    const scan = this.#options.recentEventsScanEntries ?? limits.recentEventsScanEntries;
    const earliest = Math.max(0, end - scan);
    const found: number[] = [];
    let from = end;
    while (from > earliest && found.length < wanted) {
      const to = from;
      from = Math.max(earliest, to - limits.eventPageEntries);
      const here: number[] = [];
      for (let at = from; at < to; ) {
        const stretch = { from: at, to, ...askedFor(filter) };
        const page = await this.#pastReads(() => this.#read(stretch));
        here.push(...page.events.filter((event) => matches(filter, event)).map(({ index }) => index));
        at = page.next;
      }
      found.unshift(...here);
    }
    return found.at(-wanted) ?? found[0] ?? end;
  }

  async #readOn(): Promise<void> {
    try {
      do {
        this.#readAgain = false;
        while (await this.#readPage());
      } while (this.#readAgain);
      this.#failed = '';
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      if (this.#failed !== code) this.#options.logger.warn('events.not_read', { code, message });
      this.#failed = code;
      // The next call tries again: those come all the time.
      this.#readAgain = false;
    }
  }

  /** @returns whether there may be more. */
  async #readPage(): Promise<boolean> {
    const from = this.#next;
    if (from === undefined || this.#stopped) return false;
    const { events, next } = await this.#read({ from, to: undefined, ...askedFor({}) });
    // Everybody left meanwhile, and others who came begin elsewhere.
    if (this.#next !== from) return this.#next !== undefined;
    for (const event of events) for (const subscription of this.#joined) subscription.offer(event);
    this.#next = next;
    return events.length > 0;
  }

  async #read(stretch: Stretch): Promise<Page> {
    const { store } = this.#options;
    const { events, next } = await store.page(stretch);
    const read = events.map(readEvent);
    const spoken = ordersSpokenOf(read);
    const orders = spoken.length === 0 ? noOrders : await store.nodesOfOrders(spoken);
    return { events: read.map((event) => liveEvent(event, { orders })), next };
  }
}

/** What the store can leave out itself. */
function askedFor(filter: EventFilter): Pick<Stretch, 'kinds' | 'authors'> {
  return { kinds: kindsFor(filter), authors: authorsFor(filter) };
}

const noOrders: ReadonlyMap<string, string> = new Map();
