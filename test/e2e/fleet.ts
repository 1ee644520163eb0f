import { join } from 'node:path';
import { z } from 'zod';
import { type EngineApi, engineApi } from '../engine-api.ts';
import { type ChaosProxy, type ConnectionFate, chaosProxy } from '../fakes/chaos-proxy.ts';
import { type FakeEngine, startFakeEngine } from '../fakes/engine.ts';
import {
  enrolNode,
  type ManifestRepository,
  makeManifestRepository,
  makeStore,
  manifestText,
  type Programs,
  type RunningCollector,
  type RunningNode,
  removeLeftovers,
  startCollector,
  startNode,
  takeCareOf,
  type WantedContainer,
} from '../system.ts';

/** Of every store of a fleet. */
export const secret = 'an event secret';
export const storeRecords = 200;
export const [wantedImage, otherImage] = ['app:1', 'app:2'];
export const scanIntervalMs = 1_000;

export interface FleetOptions {
  /** A folder that others may pass through. */
  readonly dir: string;
  readonly nodes: readonly string[];
  /** Containers that are wanted on each node and run from the beginning, by name. */
  readonly wanted: readonly string[];
  /** Of the connections between node and collector. */
  readonly fateOf?: (node: string, connection: number) => ConnectionFate;
  /** Sockets of engines that are there already, by node; the others get a simulated one. */
  readonly engines?: Readonly<Record<string, string>>;
  /** More settings of the collector, as environment variables. */
  readonly collectorEnv?: Readonly<Record<string, string>>;
  /** Of collector and agents, where it is not this one. */
  readonly build?: Programs;
}

/** One node: a simulated engine unless it was given one, a sigil store, and an agent behind a wire that can be cut. */
export interface FleetNode {
  readonly name: string;
  readonly dir: string;
  readonly socketPath: string;
  readonly api: EngineApi;
  /** Undefined when the engine was given. */
  readonly engine: FakeEngine | undefined;
  readonly wire: ChaosProxy;
  /** Lets new connections end at another port than the collector's. */
  redirect(port: number | undefined): void;
  readonly storeDir: string;
  readonly agent: RunningNode;
}

export interface Fleet {
  readonly collector: RunningCollector;
  readonly manifest: ManifestRepository;
  readonly nodes: readonly FleetNode[];
  /** Enrols and starts one more. */
  add(name: string, extra?: NodeExtra): Promise<FleetNode>;
  /** @throws for a name it does not have. */
  node(name: string): FleetNode;
}

/** What is different on one node. */
export interface NodeExtra {
  /** Sigil stores beside `main`, folders by name. */
  readonly stores?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Data directory; one below the fleet's folder unless given. */
  readonly dir?: string;
}

/** Starts a collector and agents on all nodes, as the built programs, and waits until every agent watches. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { dir, nodes: names, wanted, collectorEnv: env, build } = options;
  const collector = await startCollector({ dir: join(dir, 'collector'), ...(env && { env }), ...(build && { build }) });
  const containers = names.flatMap((node) => wanted.map((name) => wantedOn(node, name)));
  const manifest = makeManifestRepository(join(dir, 'manifest'), manifestText(containers));
  const needs = { ...options, collector, manifest };
  const nodes = await Promise.all(names.map((name) => startFleetNode(name, needs, {})));
  return {
    collector,
    manifest,
    nodes,
    add: (name, extra = {}) => startFleetNode(name, needs, extra),
    node: (name) => {
      const found = nodes.find((node) => node.name === name);
      if (found === undefined) throw new Error(`no node ${name}`);
      return found;
    },
  };
}

export function wantedOn(node: string, name: string): WantedContainer {
  return { node, name: `${node}-${name}`, image: wantedImage };
}

interface NodeNeeds extends FleetOptions {
  readonly collector: RunningCollector;
  readonly manifest: ManifestRepository;
}

async function startFleetNode(name: string, needs: NodeNeeds, extra: NodeExtra): Promise<FleetNode> {
  const { collector, manifest, wanted, fateOf = () => ({}), build } = needs;
  const dir = extra.dir ?? join(needs.dir, name);
  const storeDir = join(needs.dir, `${name}-sigils`);
  const given = needs.engines?.[name];
  const socketPath = given ?? join(needs.dir, `${name}.sock`);
  const engine = given === undefined ? await keepEngine(socketPath) : undefined;
  const api = engine ?? engineApi(socketPath);
  for (const image of [wantedImage, otherImage]) await importImage(engine, api, image);
  for (const container of wanted) await api.run(running(wantedOn(name, container).name));
  await makeStore(storeDir, { records: storeRecords, tenant: name, secret });
  let elsewhere: number | undefined;
  const target = () => elsewhere ?? Number(new URL(collector.url).port);
  const wire = await keepProxy(await chaosProxy(target, (connection) => fateOf(name, connection)));
  const redirect = (port: number | undefined) => {
    elsewhere = port;
  };
  await enrolNode(collector, name, dir, `http://127.0.0.1:${wire.port}`, build);
  const agent = await startNode({
    ...{ node: name, dir, socketPath, manifest: manifest.path, secrets: [secret], scanIntervalMs },
    stores: { main: storeDir, ...extra.stores },
    ...(extra.env && { env: extra.env }),
    ...(build && { build }),
  });
  return { name, dir, socketPath, api, engine, wire, redirect, storeDir, agent };
}

/** A container that stays up, of the wanted image. */
export function running(name: string, image = wantedImage) {
  return { name, image, cmd: ['/bin/busybox', 'sleep', '100000'] };
}

/** Behind a simulated image is nothing that would have to be made. */
async function importImage(engine: FakeEngine | undefined, api: EngineApi, image: string): Promise<void> {
  if (engine === undefined) await api.importImage(image);
  else engine.state.importImage(image);
}

export async function keepEngine(socketPath: string): Promise<FakeEngine> {
  const engine = await startFakeEngine(socketPath);
  takeCareOf({ remove: engine.stop, removeNow: () => {} });
  return engine;
}

export async function keepProxy(proxy: ChaosProxy): Promise<ChaosProxy> {
  let closed: Promise<void> | undefined;
  const remove = () => {
    closed ??= proxy.close();
    return closed;
  };
  takeCareOf({ remove, removeNow: () => {} });
  return proxy;
}

/** For `after`: everything that a test file started. */
export const tearDown = removeLeftovers;

/** What the collector's API shows of these lists, as far as tests look at it. */
export const shown = {
  container: z.object({ node: z.string(), id: z.string(), name: z.string(), image: z.string(), state: z.string() }),
  drift: z.object({
    node: z.string(),
    id: z.string(),
    kind: z.string(),
    container: z.string(),
    container_id: z.string().nullable(),
    state: z.string(),
  }),
  finding: z.object({
    node: z.string(),
    store: z.string(),
    check: z.string(),
    state: z.string(),
    finding: z.object({
      key: z.string().nullable(),
      file: z.string().nullable(),
      offset: z.number().nullable(),
      detail: z.string(),
    }),
  }),
  entry: z.object({
    index: z.number(),
    author: z.string(),
    seq: z.number(),
    kind: z.string(),
    entry: z.object({ body: z.record(z.string(), z.unknown()) }),
  }),
};
