import type { Clock } from '../../common/clock.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { EngineControl, RestartPolicy } from '../docker/control.ts';
import type { Engine } from '../docker/engine.ts';

/** Label of a container that was made for an order; its value is the order's hash. */
export const orderLabel = 'sigilwatch.order';

/** Names that containers have while one replaces the other. */
export function replacementNames(name: string, hash: string) {
  const tag = hash.slice(0, 12);
  return { name, next: `${name}.sigilwatch-next-${tag}`, kept: `${name}.sigilwatch-kept-${tag}` } as const;
}

export interface Replacement {
  readonly hash: string;
  /** What the container is called. */
  readonly name: string;
  /** The container that is replaced; undefined where there is none. */
  readonly old: OldContainer | undefined;
}

interface OldContainer extends Pick<ObservedContainer, 'id' | 'state'> {
  /** As it was before anything was done; undefined when that is not known, and then it is left alone. */
  readonly restart?: RestartPolicy | undefined;
}

export interface ReplaceNeeds {
  readonly engine: Pick<Engine, 'inspect' | 'list'>;
  readonly control: EngineControl;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly sleep: (ms: number) => Promise<void>;
  /** The program is to end: nothing is put back, {@link settle} does that. */
  readonly signal: AbortSignal;
}

export interface MakingNeeds extends ReplaceNeeds {
  /** Makes the container of that name, not started. @returns its id. */
  readonly make: (name: string) => Promise<string>;
}

/** The engine went away in the middle: what was begun can be neither finished nor undone before it is back. */
export class Unsettled extends Error {
  constructor(cause: unknown) {
    super(`neither done nor undone: ${toAppError(cause).message}`, { cause });
  }
}

/**
 * Puts the wanted container in the place of the old one. The old one runs until the new one has been made, and is kept, stopped and
 * renamed, until the new one is healthy; if it does not become so, everything is put back.
 *
 * Crash points: at each of them {@link settle} tells from the names that are there what to do.
 * @returns the id of the new container.
 * @throws AppError `engine.*`, or `state.conflict` when the new container does not become healthy; the old one then is as it was.
 *   {@link Unsettled} when the engine cannot be asked to put it back.
 */
export async function replace(replacement: Replacement, needs: MakingNeeds): Promise<string> {
  const { hash, name, old } = replacement;
  const { control, make } = needs;
  const names = replacementNames(name, hash);
  // What can be refused is refused before anything is touched.
  const madeId = await make(names.next);
  try {
    if (old !== undefined) await putAside(old, names.kept, control);
    await control.rename(madeId, names.name);
    await control.start(madeId);
    await becomesHealthy(madeId, needs);
    return madeId;
  } catch (thrown) {
    if (needs.signal.aborted) throw thrown;
    await putBack(replacement, madeId, needs).catch((cause: unknown) => {
      // Neither done nor undone: {@link settle} has to try again.
      throw toAppError(cause).code === 'engine.unreachable' ? new Unsettled(cause) : cause;
    });
    throw thrown;
  }
}

/**
 * Finishes or undoes a replacement in the middle of which this program ended.
 * @returns the id of the new container when the replacement stands; undefined when all is as it was before.
 * @throws AppError `engine.*`; may be called again.
 */
export async function settle(replacement: Replacement, needs: ReplaceNeeds): Promise<string | undefined> {
  const { hash, name } = replacement;
  const names = replacementNames(name, hash);
  const made = (await labelled(hash, needs)).find((one) => one.name === names.next || one.name === names.name);
  if (made?.name === names.name && made.state === 'running') {
    try {
      await becomesHealthy(made.id, needs);
      return made.id;
    } catch (thrown) {
      if (needs.signal.aborted) throw thrown;
    }
  }
  await putBack(replacement, made?.id, needs);
  return undefined;
}

/** Its restart policy first: the engine would start it again with its own next start, beside the one that has its place. */
async function putAside({ id, state, restart }: OldContainer, keptName: string, control: EngineControl): Promise<void> {
  if (restarts(restart)) await setRestart(id, staysDown, control);
  if (state === 'paused') await control.unpause(id);
  await control.stop(id, limits.stopGraceMs);
  await control.rename(id, keptName);
}

const staysDown: RestartPolicy = { Name: 'no', MaximumRetryCount: 0 };

function restarts(policy: RestartPolicy | undefined): policy is RestartPolicy {
  return policy !== undefined && policy.Name !== '' && policy.Name !== staysDown.Name;
}

/** Whatever may not have another policy is replaced, and put back, all the same: should it run again, it is drift. */
async function setRestart(id: string, policy: RestartPolicy, control: EngineControl): Promise<void> {
  await control.setRestart(id, policy).catch((thrown: unknown) => {
    if (toAppError(thrown).code !== 'engine.answer') throw thrown;
  });
}

/** Each step may have been done before. */
async function putBack({ name, old }: Replacement, madeId: string | undefined, needs: ReplaceNeeds): Promise<void> {
  const { engine, control } = needs;
  if (madeId !== undefined) await control.remove(madeId);
  if (old === undefined) return;
  const found = await engine.inspect(old.id);
  if (found === undefined) throw new AppError('state.conflict', `the container that ran before is gone: ${old.id}`);
  let nameless: unknown;
  // Whoever has taken the name meanwhile must not keep it from running.
  if (found.container.name !== name) await control.rename(old.id, name).catch((thrown: unknown) => (nameless = thrown));
  if (restarts(old.restart)) await setRestart(old.id, old.restart, control);
  if (old.state === 'running' || old.state === 'paused' || old.state === 'restarting') {
    if (found.container.state !== 'running' && found.container.state !== 'paused') await control.start(old.id);
    if (old.state === 'paused' && found.container.state !== 'paused') await control.pause(old.id);
  }
  if (nameless !== undefined) throw nameless;
}

async function labelled(hash: string, { engine }: ReplaceNeeds): Promise<ObservedContainer[]> {
  const found: ObservedContainer[] = [];
  for (const id of (await engine.list()).keys()) {
    const inspected = await engine.inspect(id);
    if (inspected?.config.labels[orderLabel] === hash) found.push(inspected.container);
  }
  return found;
}

const lookEveryMs = 250;

/** Healthy by its health check; without one, up for `limits.staysUpMs` without being restarted. */
async function becomesHealthy(id: string, { engine, clock, sleep }: ReplaceNeeds): Promise<void> {
  const beganMs = clock.monotonicMs();
  for (;;) {
    const found = await engine.inspect(id);
    const tookMs = clock.monotonicMs() - beganMs;
    const verdict = found === undefined ? 'it is gone' : judge(found.container, tookMs);
    if (verdict === 'healthy') return;
    if (verdict !== 'starting') throw new AppError('state.conflict', `the new container is not healthy: ${verdict}`);
    if (tookMs > limits.healthyWithinMs) {
      throw new AppError(
        'state.conflict',
        `the new container is not healthy after ${limits.healthyWithinMs / 1_000} s`,
      );
    }
    await sleep(lookEveryMs);
  }
}

function judge({ state, health, restartCount, exitCode }: ObservedContainer, tookMs: number): string {
  if (restartCount > 0 || state === 'restarting') return 'it crashes and is restarted';
  if (state === 'exited' || state === 'dead') return `it ended with exit code ${exitCode}`;
  if (state !== 'running') return 'starting';
  if (health === 'none') return tookMs >= limits.staysUpMs ? 'healthy' : 'starting';
  return health === 'unhealthy' ? 'its health check fails' : health;
}
