import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ChaosProxy, chaosProxy } from '../../test/fakes/chaos-proxy.ts';
import {
  enrolNode,
  makeManifestRepository,
  makeStore,
  manifestText,
  type RunningCollector,
  type RunningNode,
  type RunningWriter,
  startNode,
  startWriter,
  takeCareOf,
} from '../../test/system.ts';
import { type Api, apiOf } from './api.ts';
import type { Engines, NodeEngine } from './engines.ts';

export const nodes = ['lyra', 'node1', 'node2', 'node3'] as const;
export type NodeName = (typeof nodes)[number];

/** Shortened, so that nobody has to wait a minute; the only setting that differs from the defaults. */
export const scanIntervalMs = 2_000;
export const images = { web: 'demo/web:1', queue: 'demo/queue:1', stranger: 'demo/stranger:1' } as const;
/** What the manifest wants on every node. */
export const wantedRoles = ['web', 'queue'] as const;
export const storeName = 'main';

/** How long an unauthorized container may stand in this fleet; the default is five minutes. */
export const graceSeconds = 3;
const rules = `
config: {enforcement_mode: active}
drift_rules: {unauthorized_containers: {action: terminate, grace_period: ${graceSeconds}}}
governance: {settling_time: 0}
`;

const secret = 'demo-event-secret';
const storeRecords = 5_000;
const writerRate = 20;

/** One node with everything on it. */
export interface Member {
  readonly node: NodeName;
  readonly engine: NodeEngine;
  /** Ids of the wanted containers, by name. */
  readonly containers: ReadonlyMap<string, string>;
  readonly storeDir: string;
  readonly writer: RunningWriter;
  readonly agent: RunningNode;
  /** SHA-256 of the file with what is left of the container that an order was about. */
  evidenceOf(order: string): Promise<string>;
}

/** Everything that runs. */
export interface Fleet {
  readonly collector: RunningCollector;
  readonly api: Api;
  /** The only way from lyra to the collector. */
  readonly lyraLink: ChaosProxy;
  member(node: NodeName): Member;
}

/** A node before its agent starts. */
export type Prepared = Omit<Member, 'agent' | 'evidenceOf'> & { readonly dir: string; readonly manifest: string };

/** The git repository with the manifest of the whole fleet. @returns its path */
export function makeManifest(dir: string): string {
  const wanted = nodes.flatMap((node) =>
    wantedRoles.map((role) => ({ node, name: `${node}-${role}`, image: images[role] })),
  );
  return makeManifestRepository(join(dir, 'manifest'), `${manifestText(wanted)}${rules}`).path;
}

/** The wanted containers, a filled sigil store, and a program that writes to it. */
export async function prepareNode(node: NodeName, dir: string, engines: Engines, manifest: string): Promise<Prepared> {
  const engine = engines.nodes.get(node);
  if (engine === undefined) throw new Error(`no engine for ${node}`);
  const containers = new Map<string, string>();
  for (const role of wantedRoles) {
    const name = `${node}-${role}`;
    containers.set(name, await engine.run(name, images[role]));
  }
  const storeDir = join(dir, 'stores', node);
  await makeStore(storeDir, { records: storeRecords, tenant: node, secret });
  const writer = await startWriter({ dir: storeDir, tenant: node, secret, rate: writerRate });
  return { node, engine, containers, storeDir, writer, dir: join(dir, 'agents', node), manifest };
}

/** A node with its agent. */
export function memberOf(prepared: Prepared, agent: RunningNode): Member {
  const evidenceOf = async (order: string) =>
    hash('sha256', await readFile(join(prepared.dir, 'orders', `${order}.json`)), 'hex');
  return { ...prepared, agent, evidenceOf };
}

/** A way to the collector that can be cut. */
export async function linkTo(collector: RunningCollector): Promise<ChaosProxy> {
  const port = Number(new URL(collector.url).port);
  const proxy = await chaosProxy(
    () => port,
    () => ({}),
  );
  takeCareOf({ remove: proxy.close, removeNow: () => {} });
  return proxy;
}

/** @param collectorUrl where the node finds the collector */
export function enrol(collector: RunningCollector, { node, dir }: Prepared, collectorUrl: string) {
  return enrolNode(collector, node, dir, collectorUrl);
}

export function startAgent({ node, engine, dir, manifest, storeDir }: Prepared): Promise<RunningNode> {
  const { socketPath, label } = engine;
  const stores = { [storeName]: storeDir };
  return startNode({ node, dir, socketPath, label, manifest, stores, secrets: [secret], scanIntervalMs });
}

export function fleetOf(collector: RunningCollector, lyraLink: ChaosProxy, members: readonly Member[]): Fleet {
  const member = (node: NodeName): Member => {
    const there = members.find((candidate) => candidate.node === node);
    if (there === undefined) throw new Error(`there is no ${node}`);
    return there;
  };
  return { collector, api: apiOf(collector), lyraLink, member };
}
