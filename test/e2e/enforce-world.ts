import assert from 'node:assert/strict';
import { join } from 'node:path';
import { z } from 'zod';
import { dockerEngine } from '../../agent/docker/dockerode.ts';
import type { InspectedContainer } from '../../agent/docker/engine.ts';
import type { EngineApi } from '../engine-api.ts';
import { engineAvailable, startEngine } from '../engines.ts';
import { type ChaosProxy, chaosProxy } from '../fakes/chaos-proxy.ts';
import { startFakeEngine } from '../fakes/engine.ts';
import {
  enrolNode,
  type NodeOptions,
  type RunningCollector,
  type RunningNode,
  startNode,
  takeCareOf,
} from '../system.ts';
import { until } from '../until.ts';
import { keepProxy, shown } from './fleet.ts';

/** Long enough for a link that has to come back, or a collector that looks around. */
const withinMs = 90_000;
export const [wantedImage, otherImage] = ['app:1', 'app:2'];
export const sleeping = ['/bin/busybox', 'sleep', '86400'];
const scanIntervalMs = 1_000;

/** Answers every kind of drift at once, and watches each commit for a moment before anything is ordered by it. */
export const actsAtOnce = {
  config: {
    enforcement_mode: 'active',
    auto_rollback: true,
    grace_period_seconds: 0,
    allow_manual_overrides: true,
  },
  rollback: { enabled: true, max_retries: 1, retry_delay: 1, backup_before_rollback: false },
  governance: { cooldown: 0, blast_radius: 100, settling_time: 2 },
  drift_rules: {
    unauthorized_containers: { action: 'terminate' },
    missing_containers: { action: 'recreate' },
    image_drift: { action: 'rollback' },
    config_drift: { action: 'rollback' },
  },
};

/** False where containers are real; where they cannot be, why. */
export const withoutEngine: string | false = (() => {
  const available = engineAvailable();
  return available.ok ? false : available.reason;
})();

export type TestEngine = EngineApi & { readonly socketPath: string };

/** A real engine of its own, or a simulated one where none can be started. Has the images that tests use. */
export async function openEngine(dir: string, name: string): Promise<TestEngine> {
  const engine =
    withoutEngine === false ? await startEngine({ name, dir }) : await startFakeEngine(join(dir, name, 'docker.sock'));
  takeCareOf({ remove: engine.stop, removeNow: () => {} });
  for (const image of [wantedImage, otherImage]) await engine.importImage(image);
  return engine;
}

/** A node whose agent speaks to the collector through a wire that can be cut, and held. */
export interface EnforcedNode {
  readonly name: string;
  readonly dir: string;
  readonly engine: TestEngine;
  readonly wire: ChaosProxy;
  readonly agent: RunningNode;
  /** All containers, as the engine tells of them now. */
  containers(): Promise<readonly InspectedContainer[]>;
  /** @throws when there is none of this name. */
  container(name: string): Promise<InspectedContainer>;
}

export interface EnforcedNodeOptions extends Omit<NodeOptions, 'node' | 'dir' | 'socketPath'> {
  readonly name: string;
  /** Of the whole test: the node's own is below it. */
  readonly folder: string;
  /** What runs there before anybody watches. */
  readonly runs: (engine: TestEngine) => Promise<unknown>;
  /** What stands between the agent and the engine, once the node is enrolled; resolves to the socket that the agent gets. */
  readonly through?: (at: { readonly dir: string; readonly socketPath: string }) => Promise<string>;
  /** Where the wire leads; to the collector unless given. */
  readonly port?: () => number;
}

export async function startEnforcedNode(
  collector: RunningCollector,
  { name, folder, runs, through, port = () => Number(new URL(collector.url).port), ...options }: EnforcedNodeOptions,
): Promise<EnforcedNode> {
  const dir = join(folder, name);
  const engine = await openEngine(folder, `${name}-engine`);
  await runs(engine);
  const wire = await keepProxy(await chaosProxy(port, () => ({})));
  await enrolNode(collector, name, dir, `http://127.0.0.1:${wire.port}`);
  const { socketPath } = engine;
  const reached = (await through?.({ dir, socketPath })) ?? socketPath;
  const agent = await startNode({ ...{ node: name, dir, socketPath: reached, scanIntervalMs }, ...options });
  const adapter = dockerEngine({ socketPath });
  const containers = async () => {
    const found = await Promise.all([...(await adapter.list()).keys()].map((id) => adapter.inspect(id)));
    return found.flatMap((one) => (one === undefined ? [] : [one]));
  };
  const container = async (wanted: string) => {
    const found = (await containers()).find((one) => one.container.name === wanted);
    assert.ok(found, `${name} has no container ${wanted}`);
    return found;
  };
  return { name, dir, engine, wire, agent, containers, container };
}

/** Waits for what takes a collector, an agent and an engine. @throws as {@link until}. */
export function eventually(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  return until(what, condition, withinMs);
}

/** An order with its story, as the API tells it. */
export const orderStory = z.object({
  hash: z.string(),
  index: z.number(),
  status: z.string(),
  node: z.string(),
  action: z.string(),
  container: z.string(),
  container_id: z.string().nullable(),
  commit: z.string(),
  origin: z.string(),
  approvals: z.array(z.object({ approver: z.string() })),
  held_up_by: z.array(z.object({ code: z.string() })),
  events: z.array(
    z.object({
      index: z.number(),
      kind: z.string(),
      outcome: z.string().optional(),
      code: z.string().nullable().optional(),
      evidence: z.object({ sha256: z.string(), bytes: z.number() }).nullable().optional(),
      container_id: z.string().nullable().optional(),
    }),
  ),
});
export type OrderStory = z.infer<typeof orderStory>;

const listed = orderStory.omit({ held_up_by: true, events: true });
export type ListedOrder = z.infer<typeof listed>;

/** Orders that were given, newest first. */
export function ordersOf(
  { list }: Pick<RunningCollector, 'list'>,
  about: { readonly node?: string; readonly container?: string; readonly action?: string } = {},
): Promise<ListedOrder[]> {
  return list(`/api/v1/orders?${new URLSearchParams(about)}`, listed);
}

/** Waits for the order that fits; its error shows all there are about the container. */
export async function orderWhere(
  collector: Pick<RunningCollector, 'list' | 'api'>,
  about: { readonly node: string; readonly container: string },
  fits: (order: ListedOrder) => boolean,
): Promise<OrderStory> {
  let found: ListedOrder | undefined;
  let all: readonly ListedOrder[] = [];
  const asked = async () => {
    all = await ordersOf(collector, about);
    found = all.find(fits);
    return found !== undefined;
  };
  await eventually(`an order on ${about.container} of ${about.node}`, asked).catch((cause: unknown) => {
    throw new Error(`${String(cause)}: ${JSON.stringify(all, null, 1)}`);
  });
  return storyOf(collector, found?.hash ?? '');
}

export function storyOf({ api }: Pick<RunningCollector, 'api'>, hash: string): Promise<OrderStory> {
  return api(`/api/v1/orders/${hash}`, orderStory);
}

/** What its node has said of an order, oldest first. */
export function outcomesOf({ events }: OrderStory): readonly string[] {
  return events.flatMap(({ outcome }) => outcome ?? []);
}

/** Drifts of connected nodes that get no order now, by why. */
export async function heldDrifts({ url, token }: RunningCollector): Promise<ReadonlyMap<string, number>> {
  // A connection that was kept may be closed by now, and we not have heard.
  const headers = { authorization: `Bearer ${token}`, connection: 'close' };
  const text = await (await fetch(`${url}/metrics`, { headers })).text();
  const lines = text.matchAll(/^sigilwatch_collector_drifts_held\{code="(\w+)"\} (\d+)$/gm);
  return new Map([...lines].map(([, code = '', count]) => [code, Number(count)]));
}

/** Waits until so many drifts are held for this reason. */
export async function heldFor(collector: RunningCollector, code: string, count: number): Promise<void> {
  const asked = async () => ((await heldDrifts(collector)).get(code) ?? 0) === count;
  await eventually(`${count} drifts are held: ${code}`, asked);
}

/** Bodies of all entries of a kind, newest first. */
export async function bodiesOf({ list }: Pick<RunningCollector, 'list'>, kind: string) {
  const rows = await list(`/api/v1/entries?kind=${kind}`, shown.entry);
  return rows.map(({ entry }) => entry.body);
}

/** Waits until the node is connected, and follows this commit where one is given. */
export async function follows({ name, agent }: EnforcedNode, commit?: string): Promise<void> {
  const fits = async () => {
    const status = await agent.status();
    return status.link.state === 'connected' && status.commit === (commit ?? status.commit);
  };
  await eventually(`${name} is connected and follows ${commit ?? 'any commit'}`, fits);
}

/** Runs a command of the collector that has to succeed. @returns what it said, as JSON. */
export async function told({ cli }: Pick<RunningCollector, 'cli'>, ...args: readonly string[]): Promise<unknown> {
  const { exitCode, stdout, stderr } = await cli('--json', ...args);
  assert.equal(exitCode, 0, stderr);
  return JSON.parse(stdout);
}
