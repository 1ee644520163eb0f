import { randomBytes } from 'node:crypto';
import { type FakeImage, ImageStore } from './engine-images.ts';
import { type Attachments, type FakeEndpoint, NetworkStore } from './engine-networks.ts';
import { type ProgramRun, runProgram } from './engine-program.ts';
import { EngineRefusal } from './engine-refusal.ts';

/** As `POST /containers/create` takes it; kept as it came and shown again by inspect. */
export interface CreateBody {
  readonly Image: string;
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[] | undefined;
  readonly Env?: readonly string[];
  readonly User?: string | undefined;
  readonly Labels?: Readonly<Record<string, string>>;
  readonly Healthcheck?: unknown;
  readonly HostConfig?: FakeHostConfig | undefined;
  readonly NetworkingConfig?:
    | { readonly EndpointsConfig?: Readonly<Record<string, FakeEndpoint>> | undefined }
    | undefined;
}

interface FakeHostConfig {
  readonly Binds?: readonly string[] | undefined;
  readonly Mounts?: readonly { readonly Target: string; readonly ReadOnly?: boolean | undefined }[] | undefined;
  readonly NetworkMode?: string | undefined;
  readonly RestartPolicy?: Readonly<Record<string, unknown>> | undefined;
}

export interface FakeMount {
  readonly Type: 'bind' | 'volume';
  readonly Name?: string;
  readonly Source?: string;
  readonly Destination: string;
  readonly RW: boolean;
}

export interface FakeContainer {
  readonly id: string;
  body: CreateBody;
  readonly imageId: string;
  readonly createdNs: bigint;
  readonly mounts: readonly FakeMount[];
  readonly networks: Attachments;
  /** What its program has left behind. */
  ran: ProgramRun;
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

/** As many events as the real engine remembers. */
const rememberedEvents = 256;
const killedExitCode = 137;
const msToNs = 1_000_000n;

/**
 * The containers and events of a simulated engine. Events come in the order and with the attributes of Docker 20.10.
 */
export class EngineState {
  readonly containers = new Map<string, FakeContainer>();
  readonly images = new ImageStore();
  readonly networks = new NetworkStore();
  readonly volumes = new Set<string>();
  readonly #listeners = new Set<(event: FakeEvent) => void>();
  #remembered: FakeEvent[] = [];
  #lastNs = 0n;

  /** See {@link ImageStore.import}. */
  importImage(tag: string, changes: readonly string[] = []): void {
    this.images.import(tag, changes);
  }

  create(name: string, body: CreateBody): FakeContainer {
    const image = this.images.find(body.Image);
    this.#refuseTaken(name);
    const mounts = mountsOf(body, image);
    for (const { Name } of mounts) if (Name !== undefined) this.volumes.add(Name);
    const container: FakeContainer = {
      id: randomBytes(32).toString('hex'),
      name,
      body: merged(body, image),
      imageId: image.id,
      status: 'created',
      health: body.Healthcheck === undefined ? undefined : 'starting',
      exitCode: 0,
      createdNs: this.#nowNs(),
      mounts,
      networks: this.networks.attachmentsOf(
        body.HostConfig?.NetworkMode ?? 'default',
        body.NetworkingConfig?.EndpointsConfig ?? {},
      ),
      ran: runProgram([]),
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
    this.networks.refuseStart(container.networks);
    container.status = 'running';
    container.startedNs = this.#nowNs();
    this.#tell(container, 'start');
    container.ran = runProgram(container.body.Cmd ?? []);
    if (container.ran.exitCode !== undefined) this.exit(ref, container.ran.exitCode);
  }

  setRestart(ref: string, policy: Readonly<Record<string, unknown>>): void {
    const container = this.find(ref);
    container.body = { ...container.body, HostConfig: { ...container.body.HostConfig, RestartPolicy: policy } };
    this.#tell(container, 'update');
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
    if (container.status === 'paused') throw new EngineRefusal(409, `Container ${container.id} is already paused`);
    if (container.status !== 'running') throw new EngineRefusal(409, `Container ${container.id} is not running`);
    container.status = 'paused';
    this.#tell(container, 'pause');
  }

  unpause(ref: string): void {
    const container = this.find(ref);
    if (container.status !== 'paused') throw new EngineRefusal(500, `Container ${container.id} is not paused`);
    container.status = 'running';
    this.#tell(container, 'unpause');
  }

  rename(ref: string, name: string): void {
    const container = this.find(ref);
    if (container.name === name) throw new EngineRefusal(400, 'Renaming a container with the same name');
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
  // An entrypoint of one's own leaves no command of the image; an empty one only takes the image's entrypoint away.
  const ownCommand = (body.Cmd ?? []).length > 0 || (body.Entrypoint ?? []).length > 0;
  return {
    ...body,
    Cmd: ownCommand ? (body.Cmd ?? []) : image.Cmd,
    Entrypoint: body.Entrypoint ?? image.Entrypoint,
    Env: [...(body.Env ?? []), ...image.Env.filter((entry) => !said.has(named(entry)))],
    Labels: { ...image.Labels, ...body.Labels },
    User: (body.User ?? '') === '' ? image.User : body.User,
  };
}

function isRunning(container: FakeContainer): boolean {
  return container.status === 'running' || container.status === 'paused';
}

/** `source:target[:ro]`, where a source that is no path is a volume's name; then anonymous volumes, those of the image too. */
function mountsOf({ HostConfig = {} }: CreateBody, image: FakeImage): readonly FakeMount[] {
  const bound = (HostConfig.Binds ?? []).map((bind): FakeMount => {
    const [source = '', Destination = '', mode] = bind.split(':');
    const rest = { Destination, RW: !mode?.split(',').includes('ro') };
    return source.startsWith('/')
      ? { Type: 'bind', Source: source, ...rest }
      : { Type: 'volume', Name: source, ...rest };
  });
  const anonymous = (Destination: string, RW: boolean): FakeMount => {
    return { Type: 'volume', Name: randomBytes(32).toString('hex'), Destination, RW };
  };
  const own = [...bound, ...(HostConfig.Mounts ?? []).map(({ Target, ReadOnly }) => anonymous(Target, !ReadOnly))];
  const targets = new Set(own.map(({ Destination }) => Destination));
  const brought = Object.keys(image.Volumes).filter((path) => !targets.has(path));
  return [...own, ...brought.map((path) => anonymous(path, true))];
}
