import type { Clock } from '../../common/clock.ts';
import type { OrderWitnesses } from '../../common/enforcement/order-witnesses.ts';
import type { EnforcementPolicy } from '../../common/enforcement/policy.ts';
import type { WantedDigests } from '../../common/enforcement/wanted.ts';
import { AppError } from '../../common/errors.ts';
import { ownText } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import type { RandomBytes } from '../auth/tokens.ts';
import type { EnforcementStore, Recorder, StoredOrder } from './ports.ts';
import type { CheckSignature } from './ssh-keygen.ts';

/** The manifest that the collector follows. */
export interface ManifestInForce {
  readonly commit: string;
  readonly policy: EnforcementPolicy;
  readonly wanted: WantedDigests;
}

/** What an operator's wishes about enforcement take. */
export interface OperatorPorts {
  readonly store: EnforcementStore;
  /** Ids of the containers that were last seen under a name on a node. */
  readonly containersNamed: (node: string, container: string) => Promise<readonly string[]>;
  readonly ledger: Recorder;
  /** Undefined while there is none. */
  readonly manifest: () => ManifestInForce | undefined;
  /** How much of the ledger enough of these witnesses have cosigned, for people to read. */
  readonly witnessedSize: (by: OrderWitnesses) => Promise<number>;
  readonly checkSignature: CheckSignature;
  readonly clock: Pick<Clock, 'now'>;
  readonly randomBytes: RandomBytes;
  /**
   * Takes one destructive order from what may be ordered by hand, where that is limited.
   * @throws AppError `state.conflict` when nothing is left.
   */
  readonly spend: (whose: { readonly actor: string; readonly requestId?: string }, reason: string) => Promise<void>;
  /** Who wishes it, for the record. */
  readonly actor: string;
  /** Of the request it was wished by. */
  readonly requestId?: string;
}

/** @throws AppError `validation.request` for a reason that says nothing, or too much. */
export function requireReason(reason: string): string {
  const parsed = ownText.safeParse(reason.trim());
  if (parsed.success && parsed.data !== '') return parsed.data;
  throw new AppError(
    'validation.request',
    `say why: the reason goes on record, in up to ${limits.maxOwnTextChars} characters`,
    { details: { parameter: 'reason' } },
  );
}

const hashOrPrefix = new RegExp(`^[0-9a-f]{${limits.minOrderPrefixChars},64}$`);

/**
 * The order with this hash, or with the one hash that begins so.
 * @throws AppError `validation.request`, `resource.not_found`, `state.conflict` when several begin so.
 */
export async function findOrder(
  { store, clock }: Pick<OperatorPorts, 'store' | 'clock'>,
  name: string,
): Promise<StoredOrder> {
  if (!hashOrPrefix.test(name)) {
    throw new AppError(
      'validation.request',
      `"${name.slice(0, 64)}" names no order: give its hash, or at least the first ${limits.minOrderPrefixChars} of its 64 hexadecimal digits`,
    );
  }
  const [found, another] = await store.ordersNamed(name, clock.now());
  if (found === undefined) {
    throw new AppError(
      'resource.not_found',
      `there is no order ${name}; "orders list" and GET /api/v1/orders name them`,
    );
  }
  if (another === undefined) return found;
  throw new AppError('state.conflict', `more than one order begins with ${name}: give more digits`, {
    details: { hashes: [found.hash, another.hash] },
  });
}

/** @throws AppError `state.conflict` once something has become of the order. */
export function requireRequested({ hash, status }: StoredOrder): void {
  if (status === 'requested') return;
  const why: Partial<Record<typeof status, string>> = {
    expired: 'its time is over; issue another one if it is still wanted',
    rejected: 'somebody has rejected it; issue another one if it is wanted after all',
  };
  throw new AppError('state.conflict', `order ${hash.slice(0, 12)} is ${status}: ${why[status] ?? 'it is too late'}`, {
    details: { hash, status },
  });
}

/** @throws AppError `state.conflict` while the collector has no manifest. */
export function requireManifest({ manifest }: Pick<OperatorPorts, 'manifest'>): ManifestInForce {
  const inForce = manifest();
  if (inForce !== undefined) return inForce;
  throw new AppError(
    'state.conflict',
    'no manifest is in force here, and no node obeys an order that no manifest permits: set manifest.repository of the collector',
  );
}
