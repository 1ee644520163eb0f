import type { AppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type EventFilter, type LiveEvent, matches } from './event.ts';
import type { LastNote, Note } from './messages.ts';

/** One thing to send. */
export type Item = { readonly is: 'event'; readonly event: LiveEvent } | { readonly is: 'note'; readonly note: Note };

export interface SubscriptionBounds {
  readonly eventBufferEvents: number;
  readonly eventBufferBytes: number;
  readonly eventWriteBytes: number;
}

/** Where a subscription gets events from: the past in pages, and from the present on each as it is read. */
export interface EventSource {
  /** The first index that has not been given to those who have joined. */
  readonly next: number;
  /** Events from an index below `next` on that `filter` may let through, and the index that the next page begins with. */
  page(from: number, filter: EventFilter): Promise<{ readonly events: readonly LiveEvent[]; readonly next: number }>;
  /** From here on each event is given to {@link Subscription.offer}. */
  join(subscription: Subscription): void;
  leave(subscription: Subscription): void;
}

export interface SubscriptionOptions {
  readonly source: EventSource;
  readonly filter: EventFilter;
  /** The first index that it may hear of. */
  readonly from: number;
  readonly monotonicMs: () => number;
  /** What an error of the source is told as. Logs it. */
  readonly failed: (thrown: unknown) => AppError;
  readonly bounds?: SubscriptionBounds;
}

/**
 * What one subscriber is still to be sent. It reads pages of the past only as fast as they are taken; once it has reached
 * the present it has joined the others, and what comes then waits in a queue that is bounded in number and bytes. Beyond it the
 * queue is thrown away, and the last that is said is where to go on.
 *
 * Joining happens in the same turn in which nothing was missing, so nothing falls between the past and the present.
 */
export class Subscription {
  readonly #options: SubscriptionOptions;
  readonly #bounds: SubscriptionBounds;
  #filter: EventFilter;
  /** The first index that was not judged yet. */
  #next: number;
  #queue: Item[] = [];
  #bytes = 0;
  #joined = false;
  #filling = false;
  #last: LastNote | undefined;
  #isOver = false;
  #wake: (() => void) | undefined;
  /** Since when something has waited without anything being taken. */
  #waitingSinceMs: number | undefined;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
    this.#bounds = options.bounds ?? limits;
    this.#filter = options.filter;
    this.#next = options.from;
    this.note({ type: 'filtering', after: this.#next - 1 });
  }

  /** Nothing more comes after what waits now. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** What was said last, when it was ended from here. */
  get last(): LastNote | undefined {
    return this.#last;
  }

  /** For how long something has waited to be taken. */
  stalledMs(nowMs: number): number {
    return this.#waitingSinceMs === undefined ? 0 : nowMs - this.#waitingSinceMs;
  }

  /** What is to be sent next, as soon as there is something; undefined when nothing more will come. One call at a time. */
  async next(): Promise<readonly Item[] | undefined> {
    while (this.#queue.length === 0) {
      if (this.#isOver) return undefined;
      void this.#fill();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#take();
  }

  /** Events in order of their indexes; whoever has joined is given all of them. */
  offer(event: LiveEvent): void {
    if (event.index < this.#next || this.#isOver) return;
    this.#next = event.index + 1;
    if (matches(this.#filter, event)) this.#enqueue({ is: 'event', event });
  }

  /** From here on events are judged by `filter`; the answer says from where. */
  refilter(filter: EventFilter): void {
    this.#filter = filter;
    this.note({ type: 'filtering', after: this.#next - 1 });
  }

  /** A sign of life, and how far it has come, unless something is on its way anyway. */
  heartbeat(): void {
    if (this.#queue.length === 0) this.note({ type: 'heartbeat', after: this.#next - 1 });
  }

  note(note: Note): void {
    if (!this.#isOver) this.#enqueue({ is: 'note', note });
  }

  /** What waits is not sent any more, but read again by whoever goes on. */
  end({ code, message }: Pick<AppError, 'code' | 'message'>): void {
    if (!this.#isOver) this.#finish({ type: 'ended', error_code: code, message, after: this.#cursor() });
  }

  /** The other side has gone. */
  close(): void {
    this.#queue = [];
    this.#waitingSinceMs = undefined;
    this.#isOver = true;
    this.#options.source.leave(this);
    this.#wake?.();
  }

  #take(): readonly Item[] {
    let bytes = 0;
    const upTo = this.#queue.findIndex((item) => {
      bytes += sizeOf(item);
      return bytes >= this.#bounds.eventWriteBytes;
    });
    const taken = this.#queue.splice(0, upTo === -1 ? this.#queue.length : upTo + 1);
    this.#bytes -= taken.reduce((sum, item) => sum + sizeOf(item), 0);
    this.#waitingSinceMs = this.#queue.length === 0 ? undefined : this.#options.monotonicMs();
    return taken;
  }

  #enqueue(item: Item): void {
    const { eventBufferEvents, eventBufferBytes } = this.#bounds;
    const bytes = this.#bytes + sizeOf(item);
    if (this.#queue.length >= eventBufferEvents || (this.#queue.length > 0 && bytes > eventBufferBytes)) {
      // The one that did not fit has not been sent either.
      const after = this.#cursorBefore(item);
      this.#finish({ type: 'behind', after });
      return;
    }
    this.#hold(item);
  }

  #hold(item: Item): void {
    this.#queue.push(item);
    this.#bytes += sizeOf(item);
    this.#waitingSinceMs ??= this.#options.monotonicMs();
    this.#wake?.();
  }

  /** The last index that was sent, or passed over before the first that was not. */
  #cursor(): number {
    const first = this.#queue.find((item) => item.is === 'event');
    return first?.is === 'event' ? first.event.index - 1 : this.#next - 1;
  }

  #cursorBefore(item: Item): number {
    return Math.min(this.#cursor(), item.is === 'event' ? item.event.index - 1 : Number.POSITIVE_INFINITY);
  }

  #finish(last: LastNote): void {
    this.#queue = [{ is: 'note', note: last }];
    this.#bytes = 0;
    this.#last = last;
    this.#isOver = true;
    this.#waitingSinceMs ??= this.#options.monotonicMs();
    this.#options.source.leave(this);
    this.#wake?.();
  }

  /** Reads on in the past until there is something to send, or nothing is missing any more. */
  async #fill(): Promise<void> {
    if (this.#filling || this.#joined) return;
    this.#filling = true;
    try {
      while (!this.#isOver && !this.#joined && this.#queue.length === 0) await this.#fillOnce();
    } catch (thrown) {
      this.end(this.#options.failed(thrown));
    } finally {
      this.#filling = false;
    }
  }

  async #fillOnce(): Promise<void> {
    const { source } = this.#options;
    if (this.#next >= source.next) {
      this.#joined = true;
      source.join(this);
      return;
    }
    const filter = this.#filter;
    const page = await source.page(this.#next, filter);
    // Another filter may want what this page has left out.
    if (this.#isOver || filter !== this.#filter) return;
    // A page is bounded itself, and the next one is read when nothing of it waits any more.
    for (const event of page.events) if (matches(filter, event)) this.#hold({ is: 'event', event });
    this.#next = page.next;
  }
}

const noteBytes = 256;

function sizeOf(item: Item): number {
  return item.is === 'event' ? item.event.json.length : noteBytes;
}
