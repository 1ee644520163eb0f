import { hash } from 'node:crypto';
import { EngineRefusal } from './engine-refusal.ts';

/** As somebody asks for it, in the Engine API's words. */
export type FakeEndpoint = Readonly<Record<string, unknown>>;

/** What one container is attached to, by the network's name. */
export type Attachments = Map<string, FakeEndpoint>;

/** The networks of a simulated engine. Nothing is sent over them. */
export class NetworkStore {
  readonly #names = new Set(['bridge', 'host', 'none']);

  /** @returns its id. */
  create(name: string): string {
    if (this.#names.has(name)) throw new EngineRefusal(409, `network with name ${name} already exists`);
    this.#names.add(name);
    return networkId(name);
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** @param ref id or name; an id goes before a name, as with the real engine. */
  remove(ref: string): void {
    this.#names.delete(this.#find(ref));
  }

  /** Of a container that is being made. A network that is not there is found out when it is started. */
  attachmentsOf(mode: string, endpoints: Readonly<Record<string, FakeEndpoint>>): Attachments {
    if (mode.startsWith('container:')) return new Map();
    const name = mode === 'default' || mode === '' ? 'bridge' : mode;
    return new Map([[name, endpoints[name] ?? {}]]);
  }

  refuseStart(attachments: Attachments): void {
    for (const name of attachments.keys()) this.#find(name);
  }

  /** One that does not run takes the name of any network. */
  connect(ref: string, attachments: Attachments, endpoint: FakeEndpoint, runs: boolean): void {
    const name = runs ? this.#find(ref) : (this.#known(ref) ?? ref);
    if (attachments.has(name)) throw new EngineRefusal(403, `endpoint already exists in network ${name}`);
    if (attachments.has('none')) throw new EngineRefusal(400, 'one of the networks in private (none) mode');
    attachments.set(name, endpoint);
  }

  disconnect(ref: string, attachments: Attachments): void {
    const name = this.#known(ref) ?? ref;
    if (name === 'host') throw new EngineRefusal(400, 'container cannot be disconnected from host network');
    if (!attachments.delete(name)) throw new EngineRefusal(500, `container is not connected to network ${name}`);
  }

  #known(ref: string): string | undefined {
    const byId = [...this.#names].find((name) => networkId(name) === ref);
    return byId ?? (this.#names.has(ref) ? ref : undefined);
  }

  #find(ref: string): string {
    const name = this.#known(ref);
    if (name === undefined) throw new EngineRefusal(404, `network ${ref} not found`);
    return name;
  }
}

/** No name is used again for another network here, so the name will do. */
export function networkId(name: string): string {
  return hash('sha256', `network ${name}`, 'hex');
}
