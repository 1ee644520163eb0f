import { setTimeout as delay, setInterval as every } from 'node:timers/promises';
import { type BackoffBounds, backoffDelayMs } from '../../common/backoff.ts';
import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { Engine, EngineEvent } from './engine.ts';

/** The engine answers again. Times are Unix milliseconds by the node's clock. */
export interface EngineUp {
  readonly atMs: number;
  /**
   * Last sign of life before the engine was away, or when the watch began if it was away then: with `atMs`, the missed
   * period. Absent when it was up from the beginning.
   */
  readonly missedSinceMs?: number;
}

/** The engine stopped answering. */
export interface EngineDown {
  readonly atMs: number;
  /** Last sign of life; absent when there was none yet. */
  readonly lastSeenMs?: number;
  readonly error: AppError;
}

export interface WatchOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1), as `Math.random`. */
  readonly random: () => number;
  readonly backoff: BackoffBounds;
  readonly pingIntervalMs?: number;
  readonly onEvent: (event: EngineEvent) => void;
  /** See `EventsOptions.onUnreadable`: a change may have been missed, scan everything. */
  readonly onUnreadable: (reason: string) => void;
  readonly onUp: (up: EngineUp) => void;
  readonly onDown: (down: EngineDown) => void;
  readonly signal: AbortSignal;
}

/**
 * Keeps one event stream open for as long as the process lives, and tells each change between up and down exactly once,
 * beginning with whichever is found first. After a break the events since the last one are asked for again and told once.
 * `onUp` is called after the subscription stands, so a scan begun then misses nothing.
 * Resolves once `signal` aborts; never rejects, whatever the engine does.
 */
export async function watchEngine(engine: Engine, options: WatchOptions): Promise<void> {
  const liveness = livenessOf(options);
  const fresh = freshEvents(limits.engineEventsRemembered);
  let sinceMs: number | undefined;
  let failures = 0;

  const onOpen = (): void => {
    failures = 0;
    sinceMs ??= options.clock.now();
    liveness.up();
  };
  const onEvent = (event: EngineEvent): void => {
    liveness.seen();
    sinceMs = event.timeMs;
    if (fresh(event)) options.onEvent(event);
  };

  while (!options.signal.aborted) {
    const error = await holdStream(engine, { ...options, sinceMs, onOpen, onEvent, onAlive: liveness.seen });
    if (options.signal.aborted) return;
    liveness.down(error);
    await sleep(backoffDelayMs(failures, options.backoff, options.random), options.signal);
    failures += 1;
  }
}

interface StreamOptions extends Omit<WatchOptions, 'onUp' | 'onDown'> {
  readonly sinceMs: number | undefined;
  readonly onOpen: () => void;
  readonly onAlive: () => void;
}

/** One stream from opening to its end, however it ends. A frozen engine keeps the socket open, hence the pings. */
async function holdStream(engine: Engine, options: StreamOptions): Promise<AppError> {
  const stream = new AbortController();
  const stop = (): void => stream.abort();
  options.signal.addEventListener('abort', stop, { once: true });
  const ended = engine.events({
    ...(options.sinceMs === undefined ? {} : { sinceMs: options.sinceMs }),
    signal: stream.signal,
    onOpen: options.onOpen,
    onEvent: options.onEvent,
    onUnreadable: options.onUnreadable,
  });
  try {
    await Promise.race([ended, pingUntilSilent(engine, options, stream.signal)]);
    return new AppError('engine.unreachable', 'the Docker engine closed its event stream', { retryable: true });
  } catch (thrown) {
    return toAppError(thrown);
  } finally {
    options.signal.removeEventListener('abort', stop);
    stream.abort();
    // So that nothing is told after the next stream began, or after the watch ended.
    await Promise.allSettled([ended]);
  }
}

/** @throws the error of the first ping that fails; resolves once `signal` aborts. */
async function pingUntilSilent(engine: Engine, options: StreamOptions, signal: AbortSignal): Promise<void> {
  const intervalMs = options.pingIntervalMs ?? limits.enginePingIntervalMs;
  try {
    for await (const _ of every(intervalMs, undefined, { signal })) {
      await engine.ping();
      options.onAlive();
    }
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  }
}

/** Turns signs of life and errors into the transitions between them. */
function livenessOf({ clock, onUp, onDown }: WatchOptions) {
  const beganMs = clock.now();
  let state: 'unknown' | 'up' | 'down' = 'unknown';
  let lastSeenMs: number | undefined;
  const seen = (): void => {
    lastSeenMs = clock.now();
  };
  return {
    seen,
    up: (): void => {
      const atMs = clock.now();
      if (state === 'unknown') onUp({ atMs });
      if (state === 'down') onUp({ atMs, missedSinceMs: lastSeenMs ?? beganMs });
      state = 'up';
      lastSeenMs = atMs;
    },
    down: (error: AppError): void => {
      const atMs = clock.now();
      if (state !== 'down') onDown(lastSeenMs === undefined ? { atMs, error } : { atMs, lastSeenMs, error });
      state = 'down';
    },
  };
}

/** Whether an event is told for the first time; remembers as many as the engine can repeat. */
function freshEvents(remembered: number): (event: EngineEvent) => boolean {
  const told = new Set<string>();
  return (event) => {
    const key = `${event.timeMs} ${event.action} ${event.containerId}`;
    if (told.has(key)) return false;
    told.add(key);
    for (const oldest of told) {
      if (told.size <= remembered) break;
      told.delete(oldest);
    }
    return true;
  };
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch (thrown) {
    if (!signal.aborted) throw thrown;
  }
}
