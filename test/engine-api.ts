import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';

/** A static busybox: the only program in the images that tests make. */
export const busybox = '/bin/busybox';

export interface ContainerSpec {
  readonly name: string;
  readonly image: string;
  readonly cmd: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly env?: readonly string[];
  readonly restartPolicy?: 'no' | 'always' | 'on-failure';
  /** Checked every 100 ms. */
  readonly healthCmd?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly user?: string;
  /** More of the Engine API's `HostConfig`. */
  readonly host?: Readonly<Record<string, unknown>>;
}

/**
 * What tests and the demo do to an engine, real or fake. Deliberately not the agent's adapter: the agent only watches, and
 * what is under test should not stage its own evidence. Every call rejects with the engine's own message.
 */
export interface EngineApi {
  /**
   * An image holding nothing but busybox. `tag` is `name:tag`; different tags get different image ids.
   * @param changes instructions as in a Dockerfile: CMD, ENV, LABEL, USER, VOLUME.
   */
  importImage(tag: string, changes?: readonly string[]): Promise<void>;
  removeImage(tag: string): Promise<void>;
  create(spec: ContainerSpec): Promise<string>;
  start(id: string): Promise<void>;
  /** Creates and starts; the container's id. */
  run(spec: ContainerSpec): Promise<string>;
  stopContainer(id: string): Promise<void>;
  kill(id: string): Promise<void>;
  pause(id: string): Promise<void>;
  unpause(id: string): Promise<void>;
  rename(id: string, name: string): Promise<void>;
  /** Kills it when it runs. */
  remove(id: string): Promise<void>;
  /** Resolves with its exit code once it has ended. */
  wait(id: string): Promise<number>;
  /** Ids of all containers. */
  ids(): Promise<string[]>;
  /** A network of its own kernel bridge, cut off from everything else; its id. Kept after the engine, so it is to be removed. */
  createNetwork(name: string, subnet: string): Promise<string>;
  /** @param network its id, or a name that is nothing but letters, digits and hyphens. */
  removeNetwork(network: string): Promise<void>;
  /** Names of all volumes, sorted. */
  volumes(): Promise<string[]>;
  /** An archive of the image, as `docker save` writes it. */
  saveImage(reference: string): Promise<Buffer>;
  /** All containers that carry a label, with its value. */
  labelled(label: string): Promise<{ id: string; value: string }[]>;
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
  readonly tar?: NodeJS.ReadableStream;
}

export function engineApi(socketPath: string): EngineApi {
  const call = (method: string, path: string, body?: unknown) => send(socketPath, { method, path, body });
  const post = async (id: string, verb: string): Promise<void> => {
    await call('POST', `/containers/${id}/${verb}`);
  };
  const create = async (spec: ContainerSpec): Promise<string> => {
    const created = await call('POST', `/containers/create?name=${encodeURIComponent(spec.name)}`, createBody(spec));
    return stringField(created, 'Id');
  };
  const start = (id: string) => post(id, 'start');
  return {
    importImage: (tag, changes = []) => importBusybox(socketPath, tag, changes),
    removeImage: async (tag) => {
      await call('DELETE', `/images/${tag}?force=true`);
    },
    create,
    start,
    run: async (spec) => {
      const id = await create(spec);
      await start(id);
      return id;
    },
    stopContainer: (id) => post(id, 'stop?t=0'),
    kill: (id) => post(id, 'kill'),
    pause: (id) => post(id, 'pause'),
    unpause: (id) => post(id, 'unpause'),
    rename: (id, name) => post(id, `rename?name=${encodeURIComponent(name)}`),
    remove: async (id) => {
      await call('DELETE', `/containers/${id}?force=true&v=true`);
    },
    wait: async (id) => numberField(await call('POST', `/containers/${id}/wait`), 'StatusCode'),
    ids: async () => {
      const list = await call('GET', '/containers/json?all=true');
      return Array.isArray(list) ? list.map((item) => stringField(item, 'Id')) : [];
    },
    createNetwork: async (name, subnet) => {
      const body = { Name: name, Internal: true, IPAM: { Config: [{ Subnet: subnet }] } };
      return stringField(await call('POST', '/networks/create', body), 'Id');
    },
    removeNetwork: async (name) => {
      await call('DELETE', `/networks/${name}`);
    },
    volumes: async () => {
      const volumes = field(await call('GET', '/volumes'), 'Volumes');
      return Array.isArray(volumes) ? volumes.map((volume) => stringField(volume, 'Name')).sort() : [];
    },
    saveImage: (reference) => receive(socketPath, { method: 'GET', path: `/images/${reference}/get` }),
    labelled: async (label) => {
      const filters = encodeURIComponent(JSON.stringify({ label: [label] }));
      const list = await call('GET', `/containers/json?all=true&filters=${filters}`);
      if (!Array.isArray(list)) return [];
      return list.map((item) => ({ id: stringField(item, 'Id'), value: stringField(field(item, 'Labels'), label) }));
    },
  };
}

/** Whether an engine answers at `socketPath`. */
export async function answers(socketPath: string): Promise<boolean> {
  try {
    await send(socketPath, { method: 'GET', path: '/_ping' });
    return true;
  } catch {
    return false;
  }
}

function createBody(spec: ContainerSpec): unknown {
  const healthcheck =
    spec.healthCmd === undefined ? {} : { Healthcheck: { Test: ['CMD', ...spec.healthCmd], Interval: 100_000_000 } };
  return {
    Image: spec.image,
    Cmd: spec.cmd,
    Labels: spec.labels ?? {},
    Env: spec.env ?? [],
    // What runs in tests ignores SIGTERM as process 1 of its container; the engine would wait ten seconds for it.
    StopSignal: 'SIGKILL',
    ...(spec.entrypoint === undefined ? {} : { Entrypoint: spec.entrypoint }),
    ...(spec.user === undefined ? {} : { User: spec.user }),
    ...healthcheck,
    HostConfig: { NetworkMode: 'none', RestartPolicy: { Name: spec.restartPolicy ?? 'no' }, ...spec.host },
  };
}

async function importBusybox(socketPath: string, tag: string, changes: readonly string[]): Promise<void> {
  const rootfs = await mkdtemp(path.join(tmpdir(), 'sgw-rootfs-'));
  try {
    await mkdir(path.join(rootfs, 'bin'));
    await cp(busybox, path.join(rootfs, 'bin/busybox'));
    // The tag inside makes the layer, and so the image id, differ from those of other tags.
    await mkdir(path.join(rootfs, 'image', encodeURIComponent(tag)), { recursive: true });
    const tar = spawn('tar', ['-C', rootfs, '-c', '.'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = once(tar, 'close');
    const [repo, version] = splitTag(tag);
    await send(socketPath, {
      method: 'POST',
      path: `/images/create?fromSrc=-&repo=${encodeURIComponent(repo)}&tag=${version}${changes.map((change) => `&changes=${encodeURIComponent(change)}`).join('')}`,
      tar: tar.stdout,
    });
    await ended;
  } finally {
    await rm(rootfs, { recursive: true, force: true });
  }
}

function splitTag(tag: string): [repo: string, version: string] {
  const colon = tag.lastIndexOf(':');
  return colon === -1 ? [tag, 'latest'] : [tag.slice(0, colon), tag.slice(colon + 1)];
}

async function send(socketPath: string, call: Call): Promise<unknown> {
  const { response, bytes } = await exchange(socketPath, call);
  const text = bytes.toString('utf8');
  return response.headers['content-type']?.startsWith('application/json') === true ? lenientJson(text) : text;
}

async function receive(socketPath: string, call: Call): Promise<Buffer> {
  return (await exchange(socketPath, call)).bytes;
}

async function exchange(
  socketPath: string,
  call: Call,
): Promise<{ readonly response: http.IncomingMessage; readonly bytes: Buffer }> {
  const body = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers = {
    ...(body === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }),
    ...(call.tar === undefined ? {} : { 'Content-Type': 'application/x-tar' }),
  };
  const request = http.request({ socketPath, method: call.method, path: call.path, headers, agent: false });
  const answered: Promise<http.IncomingMessage> = new Promise((resolve, reject) => {
    request.once('response', resolve);
    request.once('error', reject);
  });
  if (call.tar === undefined) request.end(body);
  else call.tar.pipe(request);
  const response = await answered;
  const bytes = await buffer(response);
  if ((response.statusCode ?? 500) < 400) return { response, bytes };
  throw new Error(`${call.method} ${call.path}: ${bytes.toString('utf8').trim()}`);
}

/** Image import answers with several documents, one per line; nobody reads those. */
function lenientJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function field(json: unknown, name: string): unknown {
  return typeof json === 'object' && json !== null ? Reflect.get(json, name) : undefined;
}

function stringField(json: unknown, name: string): string {
  const value = field(json, name);
  if (typeof value !== 'string') throw new Error(`the engine's answer has no ${name}`);
  return value;
}

function numberField(json: unknown, name: string): number {
  const value = field(json, name);
  if (typeof value !== 'number') throw new Error(`the engine's answer has no ${name}`);
  return value;
}
