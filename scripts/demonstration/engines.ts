import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { answers, busybox, type EngineApi, engineApi } from '../../test/engine-api.ts';
import { engineAvailable, startEngine } from '../../test/engines.ts';
import { startFakeEngine } from '../../test/fakes/engine.ts';
import { takeCareOf } from '../../test/system.ts';
import { type Gate, openGate } from './gate.ts';
import { messageOf } from './observe.ts';

export const engineWishes = ['auto', 'own', 'shared', 'simulated'] as const;
export type EngineWish = (typeof engineWishes)[number];
export type EngineKind = Exclude<EngineWish, 'auto'>;

/** The engine as one node sees it. */
export interface NodeEngine {
  readonly socketPath: string;
  /** What an agent filters by where the engine is not its own. */
  readonly label: string | undefined;
  /** Creates and starts a container of this node. */
  run(name: string, image: string): Promise<string>;
  stop(id: string): Promise<void>;
  start(id: string): Promise<void>;
  remove(id: string): Promise<void>;
}

export interface Engines {
  readonly kind: EngineKind;
  /** Which engine, and why. */
  readonly about: string;
  readonly nodes: ReadonlyMap<string, NodeEngine>;
}

export interface EngineNeeds {
  /** A folder with a short path. */
  readonly dir: string;
  readonly nodes: readonly string[];
  readonly images: readonly string[];
}

type Attempt = Pick<Engines, 'nodes'> | { readonly reason: string };

const descriptions: Readonly<Record<EngineKind, string>> = {
  own: 'real, one Docker engine for each node',
  shared: 'real, one Docker engine that the nodes share by label',
  simulated: 'simulated, there are no real containers',
};
const attempts: Readonly<Record<EngineKind, (needs: EngineNeeds) => Promise<Attempt>>> = {
  own: ownEngines,
  shared: sharedEngine,
  simulated: simulatedEngines,
};
const sleeps = [busybox, 'sleep', '1000000'];
/** Tells containers of demos from others, by the process that made them. */
const demoLabel = 'sigilwatch.demo';

/**
 * The best engines to be had here, or those asked for, with the images in them.
 * @throws when those asked for cannot be had
 */
export async function openEngines(wish: EngineWish, needs: EngineNeeds): Promise<Engines> {
  const candidates: readonly EngineKind[] = wish === 'auto' ? ['own', 'shared', 'simulated'] : [wish];
  const reasons: string[] = [];
  for (const kind of candidates) {
    const attempt = await attempts[kind](needs).catch((error: unknown) => ({ reason: messageOf(error) }));
    if ('nodes' in attempt)
      return { kind, about: `${descriptions[kind]} (${why(wish, reasons)})`, nodes: attempt.nodes };
    reasons.push(attempt.reason);
  }
  throw new Error(`no engine (--engine ${wish}): ${reasons.join('; ')}`);
}

function why(wish: EngineWish, reasons: readonly string[]): string {
  if (wish !== 'auto') return `--engine ${wish}`;
  return reasons.length === 0 ? 'dockerd can be started here' : reasons.join('; ');
}

async function ownEngines({ dir, nodes, images }: EngineNeeds): Promise<Attempt> {
  const available = engineAvailable();
  if (!available.ok) return available;
  const starting = nodes.map((name) => startEngine({ name, dir }));
  const stopAll = async () => {
    const started = await Promise.allSettled(starting);
    await Promise.all(started.map((engine) => (engine.status === 'fulfilled' ? engine.value.stop() : undefined)));
  };
  // The kernel tells the daemons to end when we do.
  return whileTakenCareOf(stopAll, async (gate) => {
    const engines = await Promise.all(starting);
    await Promise.all(engines.map((engine) => importImages(engine, images)));
    await tryOut(engines[0], images);
    return { nodes: new Map(nodes.map((node, i) => [node, nodeEngine(engines[i], gate, undefined)])) };
  });
}

async function sharedEngine({ nodes, images }: EngineNeeds): Promise<Attempt> {
  const socketPath = sharedSocket();
  if (!(await answers(socketPath))) return { reason: `no Docker engine answers at ${socketPath}` };
  if (!existsSync(busybox)) return { reason: `${busybox} is missing; install busybox-static` };
  const engine = { ...engineApi(socketPath), socketPath };
  await removeAbandoned(engine);
  const clear = async () => {
    const made = await engine.labelled(demoLabel);
    const ours = made.filter(({ value }) => value === String(process.pid));
    await Promise.all(ours.map(({ id }) => engine.remove(id)));
    for (const image of images) await engine.removeImage(image).catch(() => {});
  };
  // After a sudden end the next demo removes what this one has left.
  return whileTakenCareOf(clear, async (gate) => {
    await importImages(engine, images);
    await tryOut(engine, images);
    return { nodes: new Map(nodes.map((node) => [node, nodeEngine(engine, gate, node)])) };
  });
}

async function simulatedEngines({ dir, nodes, images }: EngineNeeds): Promise<Attempt> {
  const engines = await Promise.all(nodes.map((node) => startFakeEngine(join(dir, node, 'docker.sock'))));
  const stopAll = async () => {
    await Promise.all(engines.map((engine) => engine.stop()));
  };
  return whileTakenCareOf(stopAll, async (gate) => {
    await Promise.all(engines.map((engine) => importImages(engine, images)));
    return { nodes: new Map(nodes.map((node, i) => [node, nodeEngine(engines[i], gate, undefined)])) };
  });
}

/**
 * `removing` happens at the end of the demo, or at once when `work` fails; in any case after everything that was under way
 * in the engine, so that nothing comes into being behind its back.
 */
async function whileTakenCareOf<T>(removing: () => Promise<void>, work: (gate: Gate) => Promise<T>): Promise<T> {
  const gate = openGate();
  const remove = async () => {
    await gate.close();
    await removing();
  };
  const forget = takeCareOf({ remove, removeNow: () => {} });
  try {
    return await gate.pass(() => work(gate));
  } catch (error) {
    await remove();
    forget();
    throw error;
  }
}

type Engine = EngineApi & { readonly socketPath: string };

/** @param sharedBy the node's name, where it shares the engine with others */
function nodeEngine(engine: Engine | undefined, gate: Gate, sharedBy: string | undefined): NodeEngine {
  if (engine === undefined) throw new Error('each node needs an engine');
  const ours = { [demoLabel]: String(process.pid) };
  const labels = sharedBy === undefined ? ours : { ...ours, 'sigilwatch.node': sharedBy };
  return {
    socketPath: engine.socketPath,
    label: sharedBy === undefined ? undefined : `sigilwatch.node=${sharedBy}`,
    run: (name, image) => gate.pass(() => engine.run({ name, image, cmd: sleeps, labels })),
    stop: (id) => gate.pass(() => engine.stopContainer(id)),
    start: (id) => gate.pass(() => engine.start(id)),
    remove: (id) => gate.pass(() => engine.remove(id)),
  };
}

async function importImages(engine: EngineApi, images: readonly string[]): Promise<void> {
  for (const image of images) await engine.importImage(image);
}

/** An engine that answers may still be unable to run anything, for example inside a container without privileges. */
async function tryOut(engine: Engine | undefined, [image = '']: readonly string[]): Promise<void> {
  if (engine === undefined) return;
  const labels = { [demoLabel]: String(process.pid) };
  await engine.remove(await engine.run({ name: `sigilwatch-trial-${process.pid}`, image, cmd: sleeps, labels }));
}

/** @throws when another demo is using the engine at this moment */
async function removeAbandoned(engine: EngineApi): Promise<void> {
  for (const { id, value } of await engine.labelled(demoLabel)) {
    if (isAlive(Number(value))) throw new Error(`another demo (process ${value}) is using the Docker engine`);
    await engine.remove(id);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

function sharedSocket(): string {
  const host = process.env.DOCKER_HOST ?? '';
  return host.startsWith('unix://') ? host.slice('unix://'.length) : '/var/run/docker.sock';
}
