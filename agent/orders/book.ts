import type { Clock } from '../../common/clock.ts';
import type { Drift } from '../../common/drift.ts';
import type { Attempt } from '../../common/enforcement/attempts.ts';
import { cameToNothing, type PastOrder } from '../../common/enforcement/governance.ts';
import type { Statement } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import type { Logger } from '../../common/log.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import { driftDigest, type Order, type OrderOutcome } from '../../common/order.ts';
import type { InHand } from '../observer.ts';
import type { Journal } from '../ports.ts';
import type { Done } from './acts.ts';
import { attemptOf, type Endpoints, isOutdated, type OrderRecord, orderRecord } from './records.ts';
import { replacementNames } from './replace.ts';

/** What becomes of an order, as it is said and as it is remembered. */
export interface Ending {
  readonly outcome: OrderOutcome;
  readonly code: string | null;
  readonly reason: string;
  readonly done?: Done | undefined;
}

export interface BookOptions {
  readonly journal: Journal;
  readonly clock: Pick<Clock, 'now'>;
  readonly logger: Logger;
}

const prefix = 'order/';

/**
 * All that this node remembers of orders, by hash; in memory as in the journal. What is said of an order and what is remembered of
 * it are one write, so that after any crash the two agree.
 */
export class OrderBook {
  readonly #options: BookOptions;
  #records = new Map<string, OrderRecord>();

  constructor(options: BookOptions) {
    this.#options = options;
  }

  /** Reads it back. What cannot be read is forgotten: orders do not live long, and evidence files stay. */
  async restore(): Promise<void> {
    const state = await this.#options.journal.state(prefix);
    this.#records = new Map(
      [...state].flatMap(([key, value]) => {
        const parsed = orderRecord.safeParse(value);
        return parsed.success ? [[key.slice(prefix.length), parsed.data]] : [];
      }),
    );
  }

  /** Writes all of it into a journal that was replaced and knows nothing of it. */
  async retell(): Promise<void> {
    const changes = [...this.#records].map(([hash, value]) => ({ key: `${prefix}${hash}`, value }));
    if (changes.length > 0) await this.#options.journal.append([], changes);
  }

  get all(): ReadonlyMap<string, OrderRecord> {
    return this.#records;
  }

  get begun(): [hash: string, record: OrderRecord][] {
    return [...this.#records].filter(([, { state }]) => state === 'begun');
  }

  /** Orders that were begun here, oldest first. */
  get past(): PastOrder[] {
    return [...this.#records.values()]
      .filter(({ state }) => state !== 'refused')
      .map(({ order: { action, container, containerId }, beganMs, state }) => ({
        action,
        container,
        containerId,
        atMs: beganMs,
        failed: cameToNothing(action, state),
      }))
      .sort((a, b) => a.atMs - b.atMs);
  }

  /**
   * What was tried by this commit against exactly this drift, and did not end it. Also before the drift stood this time: when it
   * opened is told by a clock that somebody may have set since.
   */
  attemptsAt({ drift, commit }: { readonly drift: Drift; readonly commit: string }): readonly Attempt[] {
    const digest = driftDigest(drift);
    return [...this.#records.values()].flatMap((record) => {
      const { order } = record;
      const isOne = order.drift?.digest === digest && order.commit === commit && order.origin !== 'operator';
      return (isOne ? attemptOf(record) : undefined) ?? [];
    });
  }

  /** Containers that are being replaced, and those that were put aside. */
  get inHand(): InHand {
    const replacing = this.begun.filter(([, { order }]) => order.action === 'restore' || order.action === 'rollback');
    const names = replacing.flatMap(([hash, { order }]) => Object.values(replacementNames(order.container, hash)));
    const kept = [...this.#records.values()].filter(({ keptUntilMs }) => keptUntilMs !== null);
    return { names: new Set(names), ids: new Set(kept.flatMap(({ order }) => order.containerId ?? [])) };
  }

  /** The networks that a container had before it went into quarantine, which may have taken several orders. */
  networksBefore({ containerId }: Order): Endpoints {
    const its = [...this.#records.values()]
      .filter(({ order, state }) => order.containerId === containerId && state !== 'refused')
      .sort((a, b) => a.beganMs - b.beganMs);
    const released = its.findLastIndex(({ order, state }) => order.action === 'release' && wasDone.has(state));
    const quarantines = its.slice(released + 1).filter(({ order }) => order.action === 'quarantine');
    return Object.assign({}, ...quarantines.map(({ networks }) => networks ?? {}));
  }

  /** From here on the order counts as begun, whatever happens. */
  async begin(
    hash: string,
    said: Pick<OrderRecord, 'order' | 'entry'>,
    target: ObservedContainer | undefined,
  ): Promise<OrderRecord> {
    const record = this.#fresh(said, target);
    await this.remember(hash, record);
    this.#options.logger.info('order.begun', about(hash, record.order));
    return record;
  }

  /** Turns an order down that was not begun. */
  async refuse(hash: string, said: Pick<OrderRecord, 'order' | 'entry'>, ending: Ending): Promise<void> {
    await this.end(hash, this.#fresh(said, undefined), ending);
  }

  /** Says what became of an order. @param keptUntilMs of the container that was replaced; as it was when left out */
  async end(hash: string, record: OrderRecord, ending: Ending, keptUntilMs = record.keptUntilMs): Promise<void> {
    const { outcome, code, reason, done } = ending;
    const state = outcome === 'expired' ? 'refused' : outcome;
    const madeId = done?.madeId ?? record.madeId;
    const body = {
      order: hash,
      outcome,
      code,
      reason: reason.slice(0, limits.maxForeignTextChars),
      evidence: done?.evidence ?? null,
      containerId: done?.madeId ?? null,
    };
    const next = { ...record, state, atMs: this.#options.clock.now(), madeId, keptUntilMs };
    await this.remember(hash, next, [{ kind: 'order.result', body }]);
    this.#options.logger.info('order.result', { ...about(hash, record.order), outcome, code, reason });
  }

  /** Durable when it resolves. */
  async remember(hash: string, record: OrderRecord, statements: readonly Statement[] = []): Promise<void> {
    await this.#options.journal.append(statements, [{ key: `${prefix}${hash}`, value: record }]);
    this.#records.set(hash, record);
  }

  /** Forgets what nothing depends on any more. */
  async tidy(): Promise<void> {
    const nowMs = this.#options.clock.now();
    const outdated = [...this.#records].filter(([, record]) => isOutdated(record, nowMs)).map(([hash]) => hash);
    if (outdated.length === 0) return;
    await this.#options.journal.append(
      [],
      outdated.map((hash) => ({ key: `${prefix}${hash}`, value: undefined })),
    );
    for (const hash of outdated) this.#records.delete(hash);
  }

  #fresh({ order, entry }: Pick<OrderRecord, 'order' | 'entry'>, target: ObservedContainer | undefined): OrderRecord {
    const nowMs = this.#options.clock.now();
    const times = { beganMs: nowMs, atMs: nowMs, keptUntilMs: null };
    return { order, entry, state: 'begun', was: target?.state ?? null, madeId: null, ...times };
  }
}

const wasDone: ReadonlySet<OrderRecord['state']> = new Set(['executed', 'verified', 'relapsed']);

function about(hash: string, { action, container }: Order) {
  return { order: hash, action, container };
}
