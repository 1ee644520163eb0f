import { onlyMountedFiles } from '../../common/config-drift.ts';
import type { StandingDrift } from '../../common/enforcement/permission.ts';
import { limits } from '../../common/limits.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { OrderRecord } from './records.ts';

/**
 * What a later look says of an order that was executed; undefined while nothing new can be said. A container in quarantine is there
 * as before, and so is its drift: what counts is whether it runs, for as long as nobody has released it.
 */
export function laterOutcome(
  { order, state, atMs }: OrderRecord,
  seen: {
    readonly standing: ReadonlyMap<string, StandingDrift>;
    readonly containers: ReadonlyMap<string, ObservedContainer>;
  },
  nowMs: number,
): { readonly state: 'verified' | 'relapsed'; readonly reason: string } | undefined {
  const fault =
    order.drift === null || order.action === 'quarantine'
      ? undone(order, seen.containers)
      : again(order.drift.kind, order.container, seen.standing);
  if (state === 'executed' && fault === undefined) return { state: 'verified', reason: 'a later look found it so' };
  if (state === 'executed' && nowMs - atMs > limits.verifyWithinMs) return { state: 'relapsed', reason: fault ?? '' };
  const mayRelapse = order.action === 'quarantine' || nowMs - atMs < limits.relapseWithinMs;
  if (state === 'verified' && fault !== undefined && mayRelapse) {
    return { state: 'relapsed', reason: fault };
  }
  return undefined;
}

/**
 * Whether an order on the same container was begun since: then that one answers for how it stands. Who releases what is in quarantine
 * has not made the quarantine come to nothing.
 */
export function isSuperseded({ order, beganMs }: OrderRecord, all: Iterable<OrderRecord>): boolean {
  if (order.drift !== null && order.action !== 'quarantine') return false;
  for (const later of all) {
    const counts = later.state !== 'refused' && later.state !== 'failed';
    if (counts && later.beganMs > beganMs && later.order.container === order.container) return true;
  }
  return false;
}

/**
 * By kind and name: what comes back is another drift, of another container, and the same trouble. The content of mounted files is
 * none that an order could end.
 */
function again(kind: string, container: string, standing: ReadonlyMap<string, StandingDrift>): string | undefined {
  const isSame = ({ kind: its, container: name, differences }: StandingDrift['drift']) =>
    its === kind && name === container && !onlyMountedFiles(differences);
  const same = [...standing.values()].find(({ drift }) => isSame(drift));
  return same === undefined ? undefined : `${kind} of ${container} stands`;
}

/** Whether what was ordered is not so. */
function undone(
  { action, container, containerId }: OrderRecord['order'],
  containers: ReadonlyMap<string, ObservedContainer>,
): string | undefined {
  const its = containerId === null ? undefined : containers.get(containerId);
  const named = [...containers.values()].find(({ name }) => name === container);
  switch (action) {
    case 'terminate':
      return its === undefined ? undefined : `${container} is still there`;
    case 'quarantine':
      return its?.state === 'running' || its?.state === 'restarting' ? `${container} is not paused` : undefined;
    case 'release':
      return its?.state === 'paused' ? `${container} is still paused` : undefined;
    case 'restore':
    case 'rollback':
      return named?.state === 'running' ? undefined : `${container} does not run`;
    default:
      return action satisfies never;
  }
}
