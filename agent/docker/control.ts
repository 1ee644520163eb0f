import type { CreateBody, Endpoint } from '../../common/container-spec.ts';

/**
 * What became of a call that wants something to be so: `done` by this call, `already` so before it, or `gone`, since the engine has
 * no such thing (any more). None of them is an error: whoever was killed between a call and its note of it asks again.
 */
export type Outcome = 'done' | 'already' | 'gone';

/** How a container is attached to a network that the engine has given an id; without one while the container has never run. */
export interface Attachment extends Endpoint {
  readonly NetworkID?: string;
}

/** In the words of the Engine API; `Name` is empty or `no` for never. */
export interface RestartPolicy {
  readonly Name: string;
  readonly MaximumRetryCount: number;
}

/** One path in which a container's own layer differs from its image. */
export interface FileChange {
  readonly path: string;
  readonly kind: 'modified' | 'added' | 'deleted';
}

/**
 * The hands on the container engine of this node, as whoever carries out orders needs them. Containers are named by their ids
 * (64 hex) and never by name: another container may have the name by now. What is no id is `gone`.
 *
 * Durability: what a call that resolved has done is the engine's to keep, across its own restart too; nothing is kept here.
 * Concurrency: all calls may run at the same time; those about one container take effect in the order the engine picks, so the
 * caller awaits one before the next. Retry: no call retries by itself. Every call ends within a bounded time, and one that
 * rejected as unreachable may have taken effect all the same: ask again, every call but `create` can be repeated, and a
 * `create` that did take effect is refused for its name.
 *
 * Errors: `engine.unreachable` (retryable: nobody answered, or not in time) and `engine.answer` (a refusal, whose HTTP status is
 * in `details.status`, or an answer that cannot be read).
 */
export interface EngineControl {
  /** SIGKILL, and waits for the end; paused or not. Resolves to whether it was running: false also when it is gone. */
  kill(id: string): Promise<boolean>;
  /** Asks the program to end, and kills it after `graceMs`, which the engine counts in whole seconds. */
  stop(id: string, graceMs: number): Promise<Outcome>;
  /** What keeps it from starting (a taken port, a missing network or program) is `engine.answer`. */
  start(id: string): Promise<Outcome>;
  /** Also while it runs, which kills it. Volumes stay, anonymous ones too: they may hold what somebody wants back. */
  remove(id: string): Promise<Outcome>;
  /** A name that another container has is `engine.answer`, status 409. */
  rename(id: string, name: string): Promise<Outcome>;
  /** Whether the engine starts it again by itself; nothing else of it is changed. What may not have another one is `engine.answer`. */
  setRestart(id: string, policy: RestartPolicy): Promise<Outcome>;
  /** A container that does not run cannot be paused: `engine.answer`, status 409. */
  pause(id: string): Promise<Outcome>;
  unpause(id: string): Promise<Outcome>;
  /** Resolves to the id. A name that is taken is `engine.answer`, status 409; an image that is not there, status 404. */
  create(name: string, body: CreateBody): Promise<string>;

  /** The engine's own JSON about it, for evidence, with whatever secrets that holds; undefined when it is gone. */
  rawInspect(id: string): Promise<unknown>;
  /**
   * The last `lines` of what it wrote to stdout and stderr, as they came, of that at most the last `limits.maxEvidenceLogBytes`
   * of UTF-8. Empty for one that is gone, or of which the engine keeps no log.
   */
  logs(id: string, lines: number): Promise<string>;
  /** In the engine's order, at most `limits.maxEvidenceChanges`; none for one that is gone. */
  changes(id: string): Promise<readonly FileChange[]>;

  /** The networks it is attached to, by name, each as `connect` takes it to attach it again; none for one that is gone. */
  networks(id: string): Promise<Readonly<Record<string, Attachment>>>;
  /**
   * A running container cannot be taken from the network of the host: `engine.answer`. From one that nobody has it is taken `already`.
   * @param network its id, which is one network's alone; or its name, which may hold any character, and be another one's id.
   */
  disconnect(network: string, id: string): Promise<Outcome>;
  /**
   * `gone` when there is no such container or no such network; `network` as for `disconnect`. One that does not run takes any network's name, and without the
   * network does not start.
   */
  connect(network: string, id: string, endpoint: Endpoint): Promise<Outcome>;

  /** The id (`sha256:<64 hex>`) of the image that the engine has under a reference or an id; undefined when it has none. */
  findImage(reference: string): Promise<string | undefined>;
  /**
   * Takes in an archive as `docker save` writes it. The stream is read to its end, or destroyed; an error of its own rejects as it is.
   * What an archive that is no good leaves behind is the engine's affair, so ask `findImage` for what was hoped for.
   */
  loadImage(tar: NodeJS.ReadableStream): Promise<void>;
  tagImage(imageId: string, repository: string, tag: string): Promise<Outcome>;
  /**
   * Takes away a tag (`<repository>:<tag>`; anything else is `gone`), and with the last one the image, unless a container needs it:
   * then both stay, `engine.answer` with status 409.
   */
  untag(reference: string): Promise<Outcome>;

  /** Ends the calls under way, which reject, so that nobody waits for a frozen engine. Nothing is asked afterwards. */
  close(): void;
}
