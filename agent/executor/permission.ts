import { orderLabel, replacementNames } from '../orders/replace.ts';
import type { OrderedCall } from './calls.ts';
import type { VerifiedOrder } from './order-header.ts';
import { type Refused, refused } from './refused.ts';
import type { LookUp } from './seen-container.ts';
import type { OrderUses } from './uses.ts';
import { unwantedOf } from './wanted.ts';

/**
 * Whether an order permits a call: its action, the one container it names, and those that were made for it. Takes one use of the
 * order; whoever then cannot reach the engine gives it back.
 * @param wanted the header of this name, for calls that make a container
 * @returns undefined when it does
 */
export async function refusalOf(
  call: OrderedCall,
  order: VerifiedOrder,
  { uses, lookUp, wanted }: Sources & { readonly wanted: string | undefined },
): Promise<Refused | undefined> {
  const wrong = mismatch(call, order) ?? tooLate(call, order);
  if (wrong !== undefined) return wrong;
  if ('id' in call && !(await isConcerned(call.id, order, { uses, lookUp }))) {
    return refused('order.mismatch', 'the order is about another container');
  }
  if (call.call === 'create' || (call.call === 'connect' && callsOf[order.action] === replacing)) {
    const unwanted = await unwantedOf(call, { order, header: wanted, lookUp });
    if (unwanted !== undefined) return unwanted;
  }
  return uses.take(order, keyOf(call));
}

/** What one use is counted under. Names are left out: who may choose them freely must not gain uses by it. */
export function keyOf(call: OrderedCall): string {
  const network = 'network' in call ? ` ${call.network}` : '';
  return 'id' in call ? `${call.call} ${call.id}${network}` : call.call;
}

type CallName = OrderedCall['call'];

const replacing: ReadonlySet<CallName> = new Set<CallName>([
  ...(['create', 'rename', 'stop', 'start', 'pause', 'unpause', 'update', 'remove', 'connect', 'load'] as const),
]);

const callsOf: Readonly<Record<VerifiedOrder['action'], ReadonlySet<CallName>>> = {
  terminate: new Set<CallName>(['kill', 'remove']),
  quarantine: new Set<CallName>(['disconnect', 'pause', 'stop']),
  release: new Set<CallName>(['connect', 'unpause']),
  restore: replacing,
  rollback: replacing,
};

/** What nothing is brought to an end by. */
const beginning: ReadonlySet<CallName> = new Set<CallName>(['create', 'load']);

function mismatch(call: OrderedCall, order: VerifiedOrder): Refused | undefined {
  if (!callsOf[order.action].has(call.call)) {
    return refused('order.mismatch', `an order to ${order.action} does not permit ${call.call}`);
  }
  if ('name' in call && !isNameOf(order, call.name)) {
    return refused('order.mismatch', 'the order is about another name');
  }
  if (call.call === 'create' && call.order !== order.hash) {
    return refused('order.mismatch', `the label ${orderLabel} names another order`);
  }
  return undefined;
}

function isNameOf(order: VerifiedOrder, name: string): boolean {
  return Object.values(replacementNames(order.container, order.hash)).includes(name);
}

function isKept(order: VerifiedOrder, name: string): boolean {
  return name === replacementNames(order.container, order.hash).kept;
}

/** After the order's time something may be brought to an end for a while, and at last what it has put aside may be removed. */
function tooLate({ call }: OrderedCall, { stage, action }: VerifiedOrder): Refused | undefined {
  const isLast = call === 'remove' && replacing === callsOf[action];
  if (stage === 'valid' || (stage === 'finishing' && !beginning.has(call)) || isLast) return undefined;
  return refused('order.expired', 'the order has expired');
}

interface Sources {
  readonly uses: OrderUses;
  readonly lookUp: LookUp;
}

/**
 * Whether a call's container is one of the order's. Labels never change, and ids are never used again, so what the engine says
 * of them stays true.
 */
async function isConcerned(id: string, order: VerifiedOrder, { uses, lookUp }: Sources): Promise<boolean> {
  if (id === order.containerId) {
    if (order.stage === 'valid' || (order.stage === 'finishing' && uses.isBegun(order))) return true;
    // Begun by an executor that was there before us: then it stands aside. Who has started it again since has a use for it.
    const seen = await lookUp(id);
    return seen !== undefined && isKept(order, seen.name) && (order.stage === 'finishing' || !seen.isRunning);
  }
  if (callsOf[order.action] !== replacing || order.stage === 'over') return false;
  const seen = await lookUp(id);
  return seen !== undefined && Object.hasOwn(seen.labels, orderLabel) && seen.labels[orderLabel] === order.hash;
}
