import pLimit from 'p-limit';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { EventQuery } from '../api/events-contract.ts';
import type { EventFilter } from './event.ts';
import { Feed, type Start } from './feed.ts';
import type { Admission, Ending, EventMetrics, EventStore } from './ports.ts';
import { Subscription, type SubscriptionBounds } from './subscription.ts';

export interface EventStreamsOptions {
  readonly store: EventStore;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly metrics?: EventMetrics;
  readonly bounds?: Partial<EventStreamBounds>;
}

export interface EventStreamBounds extends SubscriptionBounds {
  readonly maxEventStreams: number;
  readonly maxEventStreamsPerCaller: number;
  readonly eventHeartbeatMs: number;
  readonly eventStallMs: number;
  readonly eventPollMs: number;
}

/** One subscriber's stream, whatever it travels on. */
export interface EventStream {
  readonly subscription: Subscription;
  /** So many events have left. */
  sent(events: number): void;
  /** Gives the place back; the first word on why counts. */
  close(why: Ending): void;
  /** Set by whoever carries it: cuts the connection. */
  onCut: () => void;
  /** Set by whoever carries it: called with each heartbeat. */
  onBeat: () => void;
}

export interface EventStreams {
  /**
   * Begins a stream; the caller closes it.
   * @throws AppError `state.busy` or `rate_limit.exceeded` where there are too many; `validation.request` for a place that is not in the ledger.
   */
  open(admission: Admission, filter: EventFilter, start: Start): Promise<EventStream>;
  /** Entries may have been appended, by whichever collector. */
  wake(): void;
  /** Ends all streams with the last word that the collector stops. */
  stop(): Promise<void>;
}

const noMetrics: EventMetrics = { opened: () => {}, closed: () => {}, sent: () => {} };

/** The filter and the beginning that a request names. `Last-Event-ID` counts more than what was asked for when the stream began. */
export function wantedIn(query: EventQuery, lastEventId?: number): { filter: EventFilter; start: Start } {
  const { node, kind, severity, after, recent } = query;
  if (after !== undefined && recent !== undefined) {
    const message = 'give "after" to go on from an entry, or "recent" to begin with the latest; not both';
    throw new AppError('validation.request', message, { details: { parameter: 'recent' } });
  }
  const filter = { node, kinds: kind, severity };
  const from = lastEventId ?? after;
  if (from !== undefined) return { filter, start: { after: from } };
  return { filter, start: recent === undefined ? 'now' : { recent } };
}

interface Open extends EventStream {
  readonly admission: Admission;
}

/** All streams of this process, over one feed. */
export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const { store, logger, clock, metrics = noMetrics } = options;
  const bounds = { ...limits, ...options.bounds };
  const feed = new Feed({ store, logger });
  const open = new Set<Open>();
  /** Streams by caller, those included that are about to begin. */
  const places = new Map<string, number>();
  const rightsLooks = pLimit(limits.eventReadsAtOnce);
  let stopping = false;

  const begin = (admission: Admission, filter: EventFilter, from: number): EventStream => {
    const { actor } = admission.caller;
    const monotonicMs = () => clock.monotonicMs();
    const failed = (thrown: unknown) => told(thrown, logger);
    const subscription = new Subscription({ source: feed, filter, from, monotonicMs, failed, bounds });
    const stream: Open = {
      ...{ admission, subscription, onCut: () => {}, onBeat: () => {} },
      sent: (events) => metrics.sent(events),
      close: (why) => {
        if (!open.delete(stream)) return;
        const last = subscription.last;
        subscription.close();
        feed.unfollow();
        leave(places, actor);
        const ending = last === undefined ? why : last.type === 'behind' ? 'behind' : last.error_code;
        metrics.closed(ending);
        logger.info('events.closed', { actor, why: ending });
      },
    };
    open.add(stream);
    metrics.opened();
    logger.info('events.opened', { actor, from, ...filter });
    return stream;
  };

  const beat = (): void => {
    for (const stream of open) {
      stream.subscription.heartbeat();
      stream.onBeat();
      void rightsLooks(() => endUnlessAllowed(stream, logger));
    }
  };
  const cutStalled = (): void => {
    for (const stream of open) {
      if (stream.subscription.stalledMs(clock.monotonicMs()) < bounds.eventStallMs) continue;
      stream.onCut();
      stream.close('stalled');
    }
  };
  const timers = [
    setInterval(beat, bounds.eventHeartbeatMs),
    setInterval(cutStalled, Math.min(1_000, bounds.eventStallMs / 2)),
    setInterval(() => feed.wake(), bounds.eventPollMs),
  ];

  return {
    open: async (admission, filter, start) => {
      const { actor } = admission.caller;
      if (stopping) throw goingAway();
      takePlace(places, actor, bounds);
      try {
        const from = await feed.follow(start, filter);
        const stream = begin(admission, filter, from);
        if (stopping) stream.subscription.end(goingAway());
        return stream;
      } catch (thrown) {
        leave(places, actor);
        throw thrown;
      }
    },
    wake: () => feed.wake(),
    stop: async () => {
      stopping = true;
      for (const timer of timers) clearInterval(timer);
      for (const { subscription } of open) subscription.end(goingAway());
      await feed.stop();
    },
  };
}

function goingAway(): AppError {
  return new AppError('state.busy', 'the collector is stopping; go on at another one, or in a moment', {
    retryable: true,
  });
}

/** What a fault of ours is told as; the whole of it is in the log. */
function told(thrown: unknown, logger: Logger): AppError {
  const error = toAppError(thrown);
  logger.error('events.failed', { error });
  return error.code === 'internal.error' ? new AppError('internal.error', 'internal error') : error;
}

/** Whoever cannot be looked up is let go: they come back, and are looked at then. */
async function endUnlessAllowed({ admission, subscription }: Open, logger: Logger): Promise<void> {
  if (subscription.isOver) return;
  try {
    if (await admission.stillAllowed()) return;
    subscription.end(new AppError('auth.revoked', 'you may not follow events any more; sign in again'));
  } catch (thrown) {
    subscription.end(told(thrown, logger));
  }
}

function takePlace(places: Map<string, number>, actor: string, bounds: EventStreamBounds): void {
  const all = [...places.values()].reduce((sum, count) => sum + count, 0);
  if (all >= bounds.maxEventStreams) {
    const message = `this collector serves ${bounds.maxEventStreams} streams of events and no more; try again later`;
    throw new AppError('state.busy', message, { retryable: true });
  }
  const own = places.get(actor) ?? 0;
  if (own >= bounds.maxEventStreamsPerCaller) {
    const message = `${actor} has ${own} streams of events open, which is as many as one may have`;
    throw new AppError('rate_limit.exceeded', message, { retryable: true });
  }
  places.set(actor, own + 1);
}

function leave(places: Map<string, number>, actor: string): void {
  const left = (places.get(actor) ?? 1) - 1;
  if (left === 0) places.delete(actor);
  else places.set(actor, left);
}
