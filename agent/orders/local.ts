import { type Clock, rfc3339 } from '../../common/clock.ts';
import type { StandingDrift } from '../../common/enforcement/permission.ts';
import { answerTo, type EnforcementPolicy } from '../../common/enforcement/policy.ts';
import { digestsOf, wantedOf } from '../../common/enforcement/wanted.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import { driftDigest, type Order } from '../../common/order.ts';
import type { Origin } from '../desired/standing.ts';
import type { Journal } from '../ports.ts';
import { MeasureBook } from './measure-book.ts';
import type { AdoptedPolicy, OrderWatch } from './ports.ts';
import { Settling } from './settled.ts';

export interface LocalDecision {
  readonly node: string;
  readonly adopted: Pick<AdoptedPolicy, 'commit' | 'policy' | 'containers'>;
  /** Unix milliseconds. */
  readonly nowMs: number;
  /** 16 random bytes in hex. */
  readonly nonce: string;
}

/** Whether a node that has been cut off for so long acts by itself. */
export function actsAlone({ governance }: EnforcementPolicy, cutOffMs: number): boolean {
  return governance.when_offline === 'local' && cutOffMs >= governance.offline_after_ms;
}

/** What the standing rules answer to a drift, as an order of the node's own; undefined when they only put it on record. */
export function localOrder(
  { drift }: StandingDrift,
  { node, adopted, nowMs, nonce }: LocalDecision,
): Order | undefined {
  const action = answerTo(adopted.policy, drift);
  const { rule } = adopted.policy.answers[drift.kind];
  if (action === undefined) return undefined;
  return {
    node,
    action,
    container: drift.container,
    containerId: drift.containerId,
    drift: { id: drift.id, kind: drift.kind, digest: driftDigest(drift) },
    commit: adopted.commit,
    origin: 'local',
    by: rule,
    reason: 'cut off from the collector',
    approvals: 0,
    issuedAt: rfc3339(nowMs),
    expiresAt: rfc3339(nowMs + limits.orderLifetimeMs),
    nonce,
    ...wantedOf({ node, action, container: drift.container }, digestsOf(adopted.containers)),
  };
}

export interface LocalRulesOptions {
  readonly node: string;
  readonly watch: Pick<OrderWatch, 'standing' | 'observed'>;
  readonly journal: Journal;
  readonly adopted: () => AdoptedPolicy | undefined;
  /** Where the commit in force came from. */
  readonly origin: () => Origin | undefined;
  /** How long the collector has not been heard, milliseconds; undefined while it is. */
  readonly cutOffMs: () => number | undefined;
  /** For how long it has been heard since this program began, milliseconds. */
  readonly connectedMs: () => number;
  readonly random: (bytes: number) => Buffer;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Whether this node decides without its collector, and about what. All that holds a collector back holds it back, as far as it was told. */
export class LocalRules {
  readonly #options: LocalRulesOptions;
  readonly #settling: Settling;
  readonly measures: MeasureBook;
  /** Why it has to hold although it would act, as it was said last. */
  #told = '';

  constructor(options: LocalRulesOptions) {
    const { journal, clock, connectedMs, logger } = options;
    this.#options = options;
    this.#settling = new Settling({ journal, monotonicMs: () => clock.monotonicMs(), connectedMs, logger });
    this.measures = new MeasureBook(options);
  }

  async restore(): Promise<void> {
    await this.#settling.restore();
    await this.measures.restore();
  }

  async retell(): Promise<void> {
    await this.#settling.retell();
    await this.measures.retell();
  }

  /** Forgets what is over. Never rejects. */
  tidy(): Promise<void> {
    const { standing } = this.#options.watch;
    const digests = standing && new Map([...standing].map(([id, { drift }]) => [id, driftDigest(drift)]));
    return this.measures.tidy({ commit: this.#options.adopted()?.commit, digests });
  }

  /** The manifest by which this node may decide alone at this moment. To be asked often: a commit settles from when it is seen. */
  inForce(): AdoptedPolicy | undefined {
    const { adopted, origin, cutOffMs } = this.#options;
    const inForce = adopted();
    if (inForce === undefined || inForce.policy.governance.when_offline !== 'local') return undefined;
    const hasSettled = this.#settling.hasSettled({ ...inForce, origin: origin() });
    const aloneMs = cutOffMs();
    if (aloneMs === undefined || !actsAlone(inForce.policy, aloneMs)) return undefined;
    if (!hasSettled) return this.#holds('it has not held the commit in force for long enough', inForce.commit);
    if (!this.measures.isComplete) {
      return this.#holds('it was not told everything that may stand against it', inForce.commit);
    }
    this.#told = '';
    return inForce;
  }

  /** An order of this node's own for a drift that stands; undefined where the rules give none. */
  orderFor(standing: StandingDrift, inForce: AdoptedPolicy): Order | undefined {
    const { node, clock, random } = this.#options;
    const nonce = random(nonceBytes).toString('hex');
    return localOrder(standing, { node, adopted: inForce, nowMs: clock.now(), nonce });
  }

  /** Whether something that this node was told stands against answering a drift by this commit. */
  isHeld({ drift }: StandingDrift, commit: string): boolean {
    const { node, watch, logger } = this.#options;
    const imageId = drift.containerId === null ? undefined : watch.observed.get(drift.containerId)?.imageId;
    const hold = this.measures.holdOf({ node, drift, imageId }, commit);
    if (hold !== undefined) logger.debug('order.held', { drift: drift.id, code: hold.code, reason: hold.reason });
    return hold !== undefined;
  }

  #holds(reason: string, commit: string): undefined {
    if (this.#told !== reason) this.#options.logger.warn('local.held', { reason, commit });
    this.#told = reason;
  }
}

const nonceBytes = 16;
