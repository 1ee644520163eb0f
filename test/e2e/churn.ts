import { setTimeout as delay } from 'node:timers/promises';
import type { FakeEngine } from '../fakes/engine.ts';
import type { EngineState, FakeContainer } from '../fakes/engine-state.ts';
import { otherImage, running, wantedImage } from './fleet.ts';
import type { Random } from './random.ts';

const maxExtras = 8;
const pauseMs = { min: 10, max: 120 };
const restartChance = 0.005;

/** Containers that come and go, until `signal`: what a node never tires of telling. */
export async function churn(engine: FakeEngine, wanted: readonly string[], random: Random, signal: AbortSignal) {
  const { state } = engine;
  for (let turn = 0; !signal.aborted; turn++) {
    if (random.chance(restartChance)) await engine.restart();
    else act(state, wanted, random, turn);
    await delay(random.int(pauseMs.min, pauseMs.max), undefined, { signal }).catch(() => {});
  }
}

function act(state: EngineState, wanted: readonly string[], random: Random, turn: number): void {
  const all = [...state.containers.values()];
  const extras = all.filter(({ name }) => !wanted.includes(name));
  const image = random.pick([wantedImage, otherImage]);
  const acts = [
    () => replace(state, random.pick(wanted), image),
    ...(extras.length < maxExtras ? [() => run(state, `extra-${turn}`, image)] : []),
    ...(extras.length > 0 ? [() => state.remove(random.pick(extras).id)] : []),
    ...(extras.length > 0 ? [() => state.rename(random.pick(extras).id, `renamed-${turn}`)] : []),
    ...(all.length > 0 ? [() => toggle(state, random.pick(all))] : []),
  ];
  random.pick(acts)();
}

function run(state: EngineState, name: string, image: string): void {
  const { cmd } = running(name);
  state.start(state.create(name, { Image: image, Cmd: cmd }).id);
}

function toggle(state: EngineState, { id, status }: FakeContainer): void {
  if (status === 'running') state.exit(id, 1);
  else if (status === 'paused') state.unpause(id);
  else state.start(id);
}

/** What an operator's script does to bring another version. */
function replace(state: EngineState, name: string, image: string): void {
  const there = [...state.containers.values()].find((container) => container.name === name);
  if (there !== undefined) state.remove(there.id);
  run(state, name, image);
}
