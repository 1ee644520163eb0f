import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { EngineApi } from '../../test/engine-api.ts';
import { engineAvailable, startEngine } from '../../test/engines.ts';
import { startFakeEngine } from '../../test/fakes/engine.ts';
import {
  enrolNode,
  makeManifestRepository,
  makeTemporaryFolder,
  manifestText,
  type NodeOptions,
  type RunningCollector,
  startCollector,
  takeCareOf,
  type WantedContainer,
} from '../../test/system.ts';

export const node = 'node1';
export const containers = 50;
/** The image of all wanted containers, and another that nobody wants. */
export const images = { wanted: 'bench-app:1', unwanted: 'bench-app:2' } as const;
const startedTogether = 4;

export interface BenchEngine extends EngineApi {
  readonly socketPath: string;
  readonly kind: 'docker' | 'simulated';
}

/** What every bench stands on: an engine of its own with running containers, a collector, an enrolled node. */
export interface Ground {
  readonly path: string;
  readonly engine: BenchEngine;
  readonly collector: RunningCollector;
  /** For `startNode`: all settings that matter are the defaults. */
  readonly nodeOptions: NodeOptions;
}

export interface GroundOptions {
  readonly progress: (text: string) => void;
  /** How many containers run from the start; {@link containers} unless given. */
  readonly running?: number | undefined;
  /** Wanted containers that the bench itself makes, beside the {@link containers} that run from the start. */
  readonly alsoWanted?: readonly string[];
  /** More of the manifest, as YAML. The collector follows it too, then. */
  readonly rules?: string;
}

export async function layGround({
  progress,
  running = containers,
  alsoWanted = [],
  rules,
}: GroundOptions): Promise<Ground> {
  if (!existsSync('/proc/self/stat')) throw new Error('the benches read /proc, which only Linux has');
  const { path } = makeTemporaryFolder('sgw-bench-');
  const engine = await openEngine(path, progress);
  const names = Array.from({ length: running }, (_, i) => `app-${String(i + 1).padStart(2, '0')}`);
  progress(`starting ${running} containers`);
  for (const image of Object.values(images)) await engine.importImage(image);
  await runAll(engine, names);
  const wanted = [...names, ...alsoWanted].map((name): WantedContainer => ({ node, name, image: images.wanted }));
  const manifest = makeManifestRepository(join(path, 'manifest'), `${manifestText(wanted)}${rules ?? ''}`).path;
  progress('starting PostgreSQL and the collector, enrolling the node');
  const env = rules === undefined ? {} : { SIGILWATCH_MANIFEST_REPOSITORY: manifest };
  const collector = await startCollector({ dir: join(path, 'collector'), env });
  const dir = join(path, node);
  await enrolNode(collector, node, dir);
  return { path, engine, collector, nodeOptions: { node, dir, socketPath: engine.socketPath, manifest } };
}

async function openEngine(dir: string, progress: (text: string) => void): Promise<BenchEngine> {
  const available = engineAvailable();
  if (available.ok) {
    progress('starting a Docker engine');
    const engine = await startEngine({ name: 'engine', dir });
    takeCareOf({ remove: engine.stop, removeNow: () => {} });
    return { ...engine, kind: 'docker' };
  }
  progress(`SIMULATED ENGINE, no container is real: ${available.reason}`);
  const engine = await startFakeEngine(join(dir, 'engine.sock'));
  takeCareOf({ remove: engine.stop, removeNow: () => {} });
  return { ...engine, kind: 'simulated' };
}

async function runAll(engine: EngineApi, names: readonly string[]): Promise<void> {
  const waiting = [...names];
  const run = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      await engine.run({ name, image: images.wanted, cmd: sleeping });
    }
  };
  await Promise.all(Array.from({ length: startedTogether }, run));
}

/** A container that does nothing for a day. */
export const sleeping: readonly string[] = ['/bin/busybox', 'sleep', '86400'];

/** What a reader has to know when no real engine could be started. */
export function engineNotes({ kind }: BenchEngine): string[] {
  return kind === 'docker' ? [] : ['The engine was SIMULATED: no container behind it took any time or memory.'];
}
