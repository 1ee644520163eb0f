import { createHash, randomBytes } from 'node:crypto';

/** As `POST /containers/create` takes it; kept as it came and shown again by inspect. */
export interface CreateBody {
  readonly Image: string;
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[] | undefined;
  readonly Env?: readonly string[];
  readonly User?: string | undefined;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly Healthcheck?: unknown;
  readonly HostConfig?: { readonly Binds?: readonly string[] | undefined } | undefined;
}

/** What an image brings along. */
export interface FakeImage {
  readonly id: string;
  readonly Cmd: readonly string[];
  readonly Env: readonly string[];
  readonly Labels: Readonly<Record<string, string>>;
  readonly User: string;
  readonly Volumes: Readonly<Record<string, object>>;
}

export interface FakeContainer {
  readonly id: string;
  readonly body: CreateBody;
  readonly imageId: string;
  readonly createdNs: bigint;
  name: string;
  status: 'created' | 'running' | 'paused' | 'exited';
  health: 'starting' | 'healthy' | 'unhealthy' | undefined;
  exitCode: number;
  startedNs: bigint | undefined;
  finishedNs: bigint | undefined;
}

export interface FakeEvent {
  readonly action: string;
  readonly container: {
    readonly id: string;
    readonly image: string;
    readonly labels: Readonly<Record<string, string>>;
  };
  readonly attributes: Readonly<Record<string, string>>;
  readonly timeNs: bigint;
}

/** An answer other than success, with the engine's status code. */
export class EngineRefusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** As many events as the real engine remembers. */
const rememberedEvents = 256;
const killedExitCode = 137;
const msToNs = 1_000_000n;

/**
 * The containers and events of a simulated engine. Programs do not run: `sh -c "exit N"` ends at once with N, anything else
 * runs until it is stopped. Events come in the order and with the attributes of Docker 20.10.
 */
export class EngineState {
  readonly containers = new Map<string, FakeContainer>();
  readonly #images = new Map<string, FakeImage>();
  readonly #listeners = new Set<(event: FakeEvent) => void>();
  #remembered: FakeEvent[] = [];
  #lastNs = 0n;

  /** @param changes `CMD ["a","b"]`, `ENV A=b`, `LABEL a=b`, `USER u`, `VOLUME /v`. */
  importImage(tag: string, changes: readonly string[] = []): void {
    const said = (instruction: string) =>
      changes
        .filter((change) => change.startsWith(`${instruction} `))
        .map((change) => change.slice(instruction.length + 1));
    this.#images.set(tag, {
      id: `sha256:${createHash('sha256').update(tag).digest('hex')}`,
      Cmd: said('CMD').flatMap((json): string[] => JSON.parse(json)),
      Env: said('ENV'),
      Labels: Object.fromEntries(said('LABEL').map((label) => label.split('=', 2))),
      User: said('USER')[0] ?? '',
      Volumes: Object.fromEntries(said('VOLUME').map((path) => [path, {}])),
    });
  }

  /** By id. */
  image(id: string): FakeImage {
    const found = [...this.#images.values()].find((image) => image.id === id);
    if (found === undefined) throw new EngineRefusal(404, `No such image: ${id}`);
    return found;
  }

  removeImage(tag: string): readonly { readonly Untagged: string }[] {
    if (!this.#images.delete(tag)) throw new EngineRefusal(404, `No such image: ${tag}`);
    return [{ Untagged: tag }];
  }

  create(name: string, body: CreateBody): FakeContainer {
    const image = this.#images.get(body.Image);
    if (image === undefined) throw new EngineRefusal(404, `No such image: ${body.Image}`);
    this.#refuseTaken(name);
    const container: FakeContainer = {
      id: randomBytes(32).toString('hex'),
      name,
      body: merged(body, image),
      imageId: image.id,
      status: 'created',
      health: body.Healthcheck === undefined ? undefined : 'starting',
      exitCode: 0,
      createdNs: this.#nowNs(),
      startedNs: undefined,
      finishedNs: undefined,
    };
    this.containers.set(container.id, container);
    this.#tell(container, 'create');
    return container;
  }

  start(ref: string): void {
    const container = this.find(ref);
    if (container.status === 'running') throw new EngineRefusal(304, 'already running');
    container.status = 'running';
    container.startedNs = this.#nowNs();
    this.#tell(container, 'start');
    const exitCode = /^exit (\d+)$/.exec(container.body.Cmd?.at(-1) ?? '')?.[1];
    if (exitCode !== undefined) this.exit(ref, Number(exitCode));
  }

  /** The program inside ends by itself. */
  exit(ref: string, exitCode: number): void {
    const container = this.find(ref);
    container.status = 'exited';
    container.exitCode = exitCode;
    container.finishedNs = this.#nowNs();
    this.#tell(container, 'die', { exitCode: String(exitCode) });
  }

  kill(ref: string): void {
    const container = this.find(ref);
    if (!isRunning(container)) throw new EngineRefusal(409, `Container ${container.id} is not running`);
    this.#tell(container, 'kill', { signal: '9' });
    this.exit(ref, killedExitCode);
  }

  stop(ref: string): void {
    const container = this.find(ref);
    if (!isRunning(container)) throw new EngineRefusal(304, 'already stopped');
    this.kill(ref);
    this.#tell(container, 'stop');
  }

  pause(ref: string): void {
    const container = this.find(ref);
    if (container.status !== 'running') throw new EngineRefusal(409, `Container ${container.id} is not running`);
    container.status = 'paused';
    this.#tell(container, 'pause');
  }

  unpause(ref: string): void {
    const container = this.find(ref);
    if (container.status !== 'paused') throw new EngineRefusal(409, `Container ${container.id} is not paused`);
    container.status = 'running';
    this.#tell(container, 'unpause');
  }

  rename(ref: string, name: string): void {
    const container = this.find(ref);
    this.#refuseTaken(name);
    const oldName = container.name;
    container.name = name;
    this.#tell(container, 'rename', { oldName: `/${oldName}` });
  }

  remove(ref: string): void {
    const container = this.find(ref);
    if (isRunning(container)) this.kill(ref);
    this.containers.delete(container.id);
    this.#tell(container, 'destroy');
  }

  setHealth(ref: string, health: 'starting' | 'healthy' | 'unhealthy'): void {
    const container = this.find(ref);
    container.health = health;
    this.#tell(container, `health_status: ${health}`);
  }

  /** By id or name. */
  find(ref: string): FakeContainer {
    const found = this.containers.get(ref) ?? [...this.containers.values()].find(({ name }) => name === ref);
    if (found === undefined) throw new EngineRefusal(404, `No such container: ${ref}`);
    return found;
  }

  /** Remembered events from `sinceNs` on, itself included. */
  since(sinceNs: bigint): readonly FakeEvent[] {
    return this.#remembered.filter(({ timeNs }) => timeNs >= sinceNs);
  }

  subscribe(listener: (event: FakeEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What the daemon's end does: its containers end, and its memory of events goes. */
  shutDown(): void {
    for (const container of this.containers.values()) if (isRunning(container)) this.kill(container.id);
    this.#remembered = [];
  }

  #refuseTaken(name: string): void {
    const taken = [...this.containers.values()].find((container) => container.name === name);
    if (taken === undefined) return;
    throw new EngineRefusal(
      409,
      `Conflict. The container name "/${name}" is already in use by container "${taken.id}".`,
    );
  }

  #tell(container: FakeContainer, action: string, extra: Readonly<Record<string, string>> = {}): void {
    const labels = container.body.Labels ?? {};
    const image = container.body.Image;
    const event: FakeEvent = {
      action,
      container: { id: container.id, image, labels },
      attributes: { ...labels, ...extra, image, name: container.name },
      timeNs: this.#nowNs(),
    };
    this.#remembered = [...this.#remembered, event].slice(-rememberedEvents);
    for (const listener of this.#listeners) listener(event);
  }

  /** Unix nanoseconds, never the same twice, and apart by more than a JSON number loses at this size. */
  #nowNs(): bigint {
    const nowNs = BigInt(Date.now()) * msToNs;
    this.#lastNs = nowNs > this.#lastNs ? nowNs : this.#lastNs + 1_000n;
    return this.#lastNs;
  }
}

/** As the engine keeps it: what the container does not say is the image's. */
function merged(body: CreateBody, image: FakeImage): CreateBody {
  const named = (entry: string) => entry.split('=', 1)[0];
  const said = new Set((body.Env ?? []).map(named));
  const ownCommand = (body.Cmd ?? []).length > 0 || body.Entrypoint !== undefined;
  return {
    ...body,
    Cmd: ownCommand ? (body.Cmd ?? []) : image.Cmd,
    Env: [...(body.Env ?? []), ...image.Env.filter((entry) => !said.has(named(entry)))],
    Labels: { ...image.Labels, ...body.Labels },
    User: body.User ?? image.User,
  };
}

function isRunning(container: FakeContainer): boolean {
  return container.status === 'running' || container.status === 'paused';
}
