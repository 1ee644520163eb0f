import assert from 'node:assert/strict';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { chaosProxy } from '../fakes/chaos-proxy.ts';
import { enrolNode, type NodeOptions, type RunningCollector, type RunningNode, startNode } from '../system.ts';
import { keepEngine, keepProxy } from './fleet.ts';

export interface WitnessOptions extends Pick<NodeOptions, 'manifest' | 'env'> {
  readonly name: string;
  /** Of the whole test. */
  readonly folder: string;
  /** Where its wire leads; to the collector unless given. */
  readonly port?: () => number;
}

/** A node on which nothing is to be done: it vouches for what it sees. */
export async function startWitness(
  collector: RunningCollector,
  { name, folder, port = () => Number(new URL(collector.url).port), ...options }: WitnessOptions,
): Promise<RunningNode> {
  const [dir, socketPath] = [join(folder, name), join(folder, `${name}.sock`)];
  await keepEngine(socketPath);
  const wire = await keepProxy(await chaosProxy(port, () => ({})));
  await enrolNode(collector, name, dir, `http://127.0.0.1:${wire.port}`);
  return startNode({ ...{ node: name, dir, socketPath, scanIntervalMs: 1_000 }, ...options });
}

const pins = z.object({
  witnesses: z.looseObject({ nodes: z.array(z.object({ name: z.string(), key: z.string() })) }),
});

/** What an operator pastes into the manifest. */
export async function printedPins({ cli }: Pick<RunningCollector, 'cli'>): Promise<z.infer<typeof pins>> {
  const { exitCode, stdout, stderr } = await cli('witnesses', 'pins');
  assert.equal(exitCode, 0, stderr);
  return pins.parse(parse(stdout));
}
