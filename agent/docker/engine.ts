import type { ImageConfig } from '../../common/config-drift.ts';
import type { ContainerConfig } from '../../common/container-config.ts';
import type { ObservedContainer } from '../../common/observed.ts';

/**
 * Engine events after which a container may look different. Left out on purpose: `kill`, which only says that a signal
 * was sent (a death follows as `die`), and `exec_*`, which health checks produce by the thousand.
 */
export const engineActions = [
  'create',
  'start',
  'restart',
  'die',
  'stop',
  'oom',
  'pause',
  'unpause',
  'rename',
  'update',
  'health_status',
  'destroy',
] as const;

export type EngineAction = (typeof engineActions)[number];

/** One change the engine announced. It says that something happened, not what is true now: inspect to know. */
export interface EngineEvent {
  readonly action: EngineAction;
  readonly containerId: string;
  /** Without the leading slash; after a rename, the new name. */
  readonly name: string;
  /** Reference the container was created from. */
  readonly image: string;
  /** Unix milliseconds by the engine's clock, with the fraction that its nanoseconds leave (about 0.0003 ms steps). */
  readonly timeMs: number;
}

/** What inspecting tells: what may be said of a container, and how it was made, with whatever secrets that holds. */
export interface InspectedContainer {
  readonly container: ObservedContainer;
  readonly config: ContainerConfig;
}

export interface EngineVersion {
  readonly version: string;
  readonly apiVersion: string;
}

export interface EventsOptions {
  /** Unix milliseconds, may have a fraction. Remembered events from this moment on, itself included, come first. */
  readonly sinceMs?: number;
  /** Ends the stream; the promise then resolves. */
  readonly signal: AbortSignal;
  /** The subscription stands: whatever changes from now on will be told. */
  readonly onOpen?: () => void;
  readonly onEvent: (event: EngineEvent) => void;
  /** Something was announced that could not be read, so a change may have been missed: scan everything. */
  readonly onUnreadable?: (reason: string) => void;
}

/**
 * The container engine of this node, as the agent's cycle needs it. Only reads.
 *
 * Durability: none. The engine remembers its last 256 events, and none across its own restart, so a reader that was
 * away must scan. Concurrency: all calls may run at the same time; the caller bounds how many. Retry: no call retries by
 * itself. Every call but `events` ends within a bounded time; `events` may stay silent forever on a frozen engine,
 * so whoever holds a stream must ping beside it.
 *
 * Errors: `engine.unreachable` (retryable: nobody answered, or not in time) and `engine.answer` (an answer that is an
 * error or that cannot be read).
 */
export interface Engine {
  /** Resolves when the engine answers. */
  ping(): Promise<void>;
  version(): Promise<EngineVersion>;
  /** Ids (64 hex) of all containers in scope, running or not, each with its name; null for one that has none at this moment. */
  list(): Promise<ReadonlyMap<string, string | null>>;
  /** The container as it is now, or undefined when it is gone. */
  inspect(containerId: string): Promise<InspectedContainer | undefined>;
  /** What the image with this id (`sha256:<64 hex>`) brings along, which never changes; undefined when it is gone. */
  image(imageId: string): Promise<ImageConfig | undefined>;
  /** Whether the engine has a network of this name. Where an executor in between does not pass the question on, `engine.answer` with status 403. */
  hasNetwork(name: string): Promise<boolean>;
  /** Streams events until the signal or the engine ends it (resolves), or the connection breaks (rejects). */
  events(options: EventsOptions): Promise<void>;
  /** Ends the calls under way, which reject, so that nobody waits for a frozen engine. Nothing is asked afterwards. */
  close(): void;
}
