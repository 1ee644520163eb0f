import type { Clock } from '../../common/clock.ts';
import type { DesiredContainer } from '../../common/desired.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { EngineControl } from '../docker/control.ts';
import type { Engine } from '../docker/engine.ts';
import { type EvidenceFolder, type EvidenceSummary, gatherEvidence, restartBefore } from './evidence.ts';
import type { IssuedOrder } from './issued.ts';
import type { MakeContainer } from './make.ts';
import type { Endpoints, OrderRecord } from './records.ts';
import { type MakingNeeds, replace, settle, Unsettled } from './replace.ts';

/** An order that is permitted, with what it was found to be about. */
export interface Task extends Pick<IssuedOrder, 'hash' | 'order' | 'approvals'> {
  /** Null for one that this node decided by itself. */
  readonly proof: IssuedOrder['proof'] | null;
  /** The container it names; undefined where there is none. */
  readonly target: ObservedContainer | undefined;
  /** What the manifest wants under that name; undefined for nothing. */
  readonly wanted: DesiredContainer | undefined;
}

export interface ActNeeds {
  readonly engine: Pick<Engine, 'inspect' | 'list'>;
  /** May do what this order asks for, and nothing else where an executor stands in between. */
  readonly control: EngineControl;
  readonly make: MakeContainer;
  readonly evidence: EvidenceFolder;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly sleep: (ms: number) => Promise<void>;
  /** The program is to end: whatever waits is left as it is. */
  readonly signal: AbortSignal;
  /** RFC 3339. */
  readonly at: string;
  /** Keeps what ending a quarantine will need; durable when it resolves. */
  readonly rememberNetworks: (networks: Endpoints) => Promise<void>;
  /** What was kept so when the container went into quarantine. */
  readonly networksBefore: Endpoints;
}

/** What has been done. */
export interface Done {
  readonly evidence: EvidenceSummary | null;
  readonly madeId: string | null;
}

/**
 * Carries out a permitted order.
 * @throws AppError `engine.*`, `state.conflict`; what was replaced is then as it was before.
 */
export async function act(task: Task, needs: ActNeeds): Promise<Done> {
  const { action } = task.order;
  switch (action) {
    case 'terminate':
      return terminate(task, needs);
    case 'quarantine':
      return quarantine(task, needs);
    case 'release':
      return release(task, needs);
    case 'restore':
    case 'rollback':
      return replaceTarget(task, needs);
    default:
      return action satisfies never;
  }
}

/**
 * What to do about an order in the middle of which this program ended. A replacement is finished or undone; anything else can be
 * done again from its beginning.
 * @returns undefined when it was undone.
 */
export async function resume(task: Task, was: OrderRecord['was'], needs: ActNeeds): Promise<Done | undefined> {
  const { action, containerId } = task.order;
  if (action !== 'restore' && action !== 'rollback') {
    if (task.target === undefined) return { evidence: null, madeId: null };
    return act(task, needs);
  }
  const restart = await restartBefore(needs.evidence, task.hash);
  const old = containerId === null || was === null ? undefined : { id: containerId, state: was, restart };
  const madeId = await settle({ hash: task.hash, name: task.order.container, old }, needs).catch((cause: unknown) => {
    throw toAppError(cause).code === 'engine.unreachable' ? new Unsettled(cause) : cause;
  });
  return madeId === undefined ? undefined : { evidence: null, madeId };
}

function targetOf({ target, order }: Task): ObservedContainer {
  if (target !== undefined) return target;
  throw new AppError('state.conflict', `there is no container ${order.containerId ?? order.container}`);
}

async function terminate(task: Task, needs: ActNeeds): Promise<Done> {
  const target = targetOf(task);
  const evidence = await gather(task, target, needs);
  await needs.control.kill(target.id);
  await needs.control.remove(target.id);
  return { evidence, madeId: null };
}

/**
 * Off the network first: a process that is paused sends nothing, but what others have open to it would stay open. What the engine is
 * about to start anew can neither be taken off a network nor paused, so whoever crashes again and again is stopped.
 */
async function quarantine(task: Task, needs: ActNeeds): Promise<Done> {
  const target = targetOf(task);
  const { control } = needs;
  const evidence = await gather(task, target, needs);
  // What an attempt before this one took away is not there any more, and is to be given back all the same.
  const networks = { ...needs.networksBefore, ...(await control.networks(target.id)) };
  await needs.rememberNetworks(networks);
  if (target.state === 'restarting') await control.stop(target.id, 0);
  let failures = await takenOff(networks, target.id, control);
  // Whatever keeps it on a network must not keep it running.
  if (target.state === 'running' && (await brought(target.id, control)) === 'stopped') {
    failures = await takenOff(networks, target.id, control);
  }
  if (failures.length > 0) throw failures[0];
  return { evidence, madeId: null };
}

/** @returns what kept it on a network. */
async function takenOff(networks: Endpoints, id: string, control: EngineControl): Promise<readonly unknown[]> {
  const failures: unknown[] = [];
  for (const [name, { NetworkID = name }] of Object.entries(networks)) {
    // No engine takes a container off the network of the host; paused it sends nothing there.
    if (name === hostNetwork) continue;
    // By id: whoever names networks may give one the id of another.
    await control.disconnect(NetworkID, id).catch((thrown: unknown) => failures.push(thrown));
  }
  return failures;
}

/** To a standstill: paused, or stopped where it has ended since it was looked at, and may be about to start anew. */
async function brought(id: string, control: EngineControl): Promise<'paused' | 'stopped'> {
  try {
    await control.pause(id);
    return 'paused';
  } catch (thrown) {
    if (toAppError(thrown).details.status !== 409) throw thrown;
    await control.stop(id, 0);
    return 'stopped';
  }
}

const hostNetwork = 'host';

async function release(task: Task, { control, networksBefore }: ActNeeds): Promise<Done> {
  const target = targetOf(task);
  const present = await control.networks(target.id);
  for (const [name, { NetworkID = name, ...endpoint }] of Object.entries(networksBefore)) {
    if (Object.hasOwn(present, name)) continue;
    const outcome = await control.connect(NetworkID, target.id, endpoint);
    // It may have been made anew under its name.
    if (outcome === 'gone' && NetworkID !== name) await control.connect(name, target.id, endpoint);
  }
  if (target.state === 'paused') await control.unpause(target.id);
  return { evidence: null, madeId: null };
}

async function replaceTarget(task: Task, needs: ActNeeds): Promise<Done> {
  const { wanted, target, hash } = task;
  if (wanted === undefined)
    throw new AppError('state.conflict', `the manifest wants no container ${task.order.container}`);
  const evidence = target === undefined ? null : await gather(task, target, needs);
  const restart = target === undefined ? undefined : await restartBefore(needs.evidence, hash);
  const old = target === undefined ? undefined : { id: target.id, state: target.state, restart };
  const madeId = await replace({ hash, name: wanted.name, old }, replacing(task, wanted, needs));
  return { evidence, madeId };
}

function replacing({ hash, target }: Task, wanted: DesiredContainer, needs: ActNeeds): MakingNeeds {
  const make = (name: string) => needs.make(needs.control, { wanted, name, hash, oldId: target?.id });
  return { ...needs, make };
}

function gather(task: Task, target: ObservedContainer, { control, evidence, at }: ActNeeds): Promise<EvidenceSummary> {
  return gatherEvidence(task, target, { control, folder: evidence, at });
}

/** How long a container that was replaced is kept, from now on; null for not at all. */
export function keptUntil({ order }: Pick<Task, 'order'>, keptMs: number | undefined, nowMs: number): number | null {
  const replaced = order.containerId !== null && (order.action === 'restore' || order.action === 'rollback');
  return replaced ? nowMs + Math.min(keptMs ?? 0, limits.maxManifestPeriodMs) : null;
}
