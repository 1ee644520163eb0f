import type { OrderedCall } from './calls.ts';
import { orderLabel } from './container-body.ts';
import type { VerifiedOrder } from './order-header.ts';
import { type Refused, refused } from './refused.ts';
import type { OrderUses } from './uses.ts';

/** What the executor asks the engine about a container, of its own accord. */
export interface SeenContainer {
  /** Without the leading slash. */
  readonly name: string;
  readonly labels: Readonly<Record<string, unknown>>;
}

/** The container with this id, or undefined when there is none. Rejects when the engine does not answer. */
export type LookUp = (id: string) => Promise<SeenContainer | undefined>;

/**
 * The name that a container has while another one takes its place, or until it may have its own. One suffix of a word may follow,
 * where two are needed.
 */
export function temporaryName({ hash, container }: Pick<VerifiedOrder, 'hash' | 'container'>): string {
  return `${container}.sigilwatch-${hash.slice(0, 12)}`;
}

/**
 * Whether an order permits a call: its action, the one container it names, and those that were made for it. Takes one use of the
 * order; whoever then cannot reach the engine gives it back.
 * @returns undefined when it does
 */
export async function refusalOf(
  call: OrderedCall,
  order: VerifiedOrder,
  { uses, lookUp }: { readonly uses: OrderUses; readonly lookUp: LookUp },
): Promise<Refused | undefined> {
  const wrong = mismatch(call, order);
  if (wrong !== undefined) return wrong;
  if (order.isLate && !finishing.has(call.call)) return refused('order.expired', 'the order has expired');
  if ('id' in call && !(await isConcerned(call.id, order, { uses, lookUp }))) {
    return refused('order.mismatch', 'the order is about another container');
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
  ...(['create', 'rename', 'stop', 'start', 'remove', 'connect', 'load', 'tag', 'untag'] as const),
]);

const callsOf: Readonly<Record<VerifiedOrder['action'], ReadonlySet<CallName>>> = {
  terminate: new Set<CallName>(['kill', 'remove']),
  quarantine: new Set<CallName>(['disconnect', 'pause']),
  release: new Set<CallName>(['connect', 'unpause']),
  restore: replacing,
  rollback: replacing,
};

/** What brings a replacement to an end after the order's time, one way or the other. Nothing new is made any more. */
const finishing: ReadonlySet<CallName> = new Set<CallName>(['rename', 'stop', 'start', 'remove', 'connect']);

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
  return name === order.container || isTemporary(order, name);
}

function isTemporary(order: VerifiedOrder, name: string): boolean {
  const base = temporaryName(order);
  return name === base || (name.startsWith(`${base}-`) && /^[a-z]{1,16}$/.test(name.slice(base.length + 1)));
}

/**
 * Whether a call's container is one of the order's. Labels never change, and ids are never used again, so what the engine says
 * stays true.
 */
async function isConcerned(
  id: string,
  order: VerifiedOrder,
  { uses, lookUp }: { readonly uses: OrderUses; readonly lookUp: LookUp },
): Promise<boolean> {
  if (id === order.containerId) {
    if (!order.isLate || uses.isBegun(order)) return true;
    // Begun by an executor that was there before us: the container still stands aside.
    const seen = await lookUp(id);
    return seen !== undefined && isTemporary(order, seen.name);
  }
  if (order.action !== 'restore' && order.action !== 'rollback') return false;
  const seen = await lookUp(id);
  return seen !== undefined && Object.hasOwn(seen.labels, orderLabel) && seen.labels[orderLabel] === order.hash;
}
