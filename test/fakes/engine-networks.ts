import { EngineRefusal } from './engine-refusal.ts';

/** As somebody asks for it, in the Engine API's words. */
export type FakeEndpoint = Readonly<Record<string, unknown>>;

/** What one container is attached to, by the network's name. */
export type Attachments = Map<string, FakeEndpoint>;

/** The networks of a simulated engine. Nothing is sent over them. */
export class NetworkStore {
  readonly #names = new Set(['bridge', 'host', 'none']);

  create(name: string): void {
    if (this.#names.has(name)) throw new EngineRefusal(409, `network with name ${name} already exists`);
    this.#names.add(name);
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  remove(name: string): void {
    this.#refuseMissing(name);
    this.#names.delete(name);
  }

  /** Of a container that is being made. A network that is not there is found out when it is started. */
  attachmentsOf(mode: string, endpoints: Readonly<Record<string, FakeEndpoint>>): Attachments {
    if (mode.startsWith('container:')) return new Map();
    const name = mode === 'default' || mode === '' ? 'bridge' : mode;
    return new Map([[name, endpoints[name] ?? {}]]);
  }

  refuseStart(attachments: Attachments): void {
    for (const name of attachments.keys()) this.#refuseMissing(name);
  }

  /** One that does not run takes the name of any network. */
  connect(name: string, attachments: Attachments, endpoint: FakeEndpoint, runs: boolean): void {
    if (runs) this.#refuseMissing(name);
    if (attachments.has(name)) throw new EngineRefusal(403, `endpoint already exists in network ${name}`);
    if (attachments.has('none')) throw new EngineRefusal(400, 'one of the networks in private (none) mode');
    attachments.set(name, endpoint);
  }

  disconnect(name: string, attachments: Attachments): void {
    if (name === 'host') throw new EngineRefusal(400, 'container cannot be disconnected from host network');
    if (!attachments.delete(name)) throw new EngineRefusal(500, `container is not connected to network ${name}`);
  }

  #refuseMissing(name: string): void {
    if (!this.#names.has(name)) throw new EngineRefusal(404, `network ${name} not found`);
  }
}
