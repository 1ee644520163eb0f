import { z } from 'zod';
import type { PastOrder } from '../../common/enforcement/governance.ts';
import { limits } from '../../common/limits.ts';
import { containerStates } from '../../common/observed.ts';
import { orderSchema } from '../../common/order.ts';
import type { Journal, StateChange } from '../ports.ts';

/** As `Endpoint` of `agent/docker/container-spec.ts`. */
const endpoint = z.object({
  Aliases: z.array(z.string()).readonly().exactOptional(),
  Links: z.array(z.string()).readonly().exactOptional(),
  IPAMConfig: z
    .record(z.string(), z.union([z.string(), z.array(z.string()).readonly()]))
    .readonly()
    .exactOptional(),
  DriverOpts: z.record(z.string(), z.string()).readonly().exactOptional(),
});

/** Networks that a container was attached to, by name. */
export type Endpoints = Readonly<Record<string, z.infer<typeof endpoint>>>;

/**
 * What a node remembers of an order. `begun` is durable before anything is touched, so that after a crash the work can be
 * finished or undone, and no order is begun twice.
 */
export const orderRecord = z.strictObject({
  order: orderSchema,
  state: z.enum(['begun', 'executed', 'failed', 'refused', 'verified', 'relapsed']),
  beganMs: z.number(),
  /** When it came to its state. */
  atMs: z.number(),
  /** Of the container that was found, before anything was done. */
  was: z.enum(containerStates).nullable(),
  /** Network endpoints that a quarantine took away, by name of the network, as the engine describes them. */
  networks: z.record(z.string(), endpoint).readonly().optional(),
  /** The container that was made. */
  madeId: z.string().nullable(),
  /** The container that was replaced is kept until then. */
  keptUntilMs: z.number().nullable(),
  /** The signed entry, for the executor. */
  entry: z.strictObject({ text: z.string(), signature: z.string() }),
});
export type OrderRecord = z.infer<typeof orderRecord>;

const prefix = 'order/';

/** All that this node remembers of orders, by hash. In memory as in the journal. */
export class OrderRecords {
  readonly #journal: Journal;
  #records: Map<string, OrderRecord> | undefined;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** Reads them back. Those that cannot be read are forgotten: orders do not live long, and evidence files stay. */
  async restore(): Promise<void> {
    const state = await this.#journal.state(prefix);
    this.#records = new Map(
      [...state].flatMap(([key, value]) => {
        const parsed = orderRecord.safeParse(value);
        return parsed.success ? [[key.slice(prefix.length), parsed.data]] : [];
      }),
    );
  }

  get all(): ReadonlyMap<string, OrderRecord> {
    return this.#records ?? new Map();
  }

  /** What is to be written for `record` to be remembered; call {@link took} once it is. */
  change(hash: string, record: OrderRecord | undefined): StateChange {
    return { key: `${prefix}${hash}`, value: record };
  }

  took(hash: string, record: OrderRecord | undefined): void {
    if (record === undefined) this.#records?.delete(hash);
    else this.#records?.set(hash, record);
  }

  /** Orders that were begun here, oldest first. */
  get past(): PastOrder[] {
    return [...this.all.values()]
      .filter(({ state }) => state !== 'refused')
      .map(({ order, beganMs }) => ({ ...pick(order), atMs: beganMs }))
      .sort((a, b) => a.atMs - b.atMs);
  }

  /** Hashes of records that nothing depends on any more. */
  outdated(nowMs: number): string[] {
    return [...this.all].filter(([, record]) => isOutdated(record, nowMs)).map(([hash]) => hash);
  }
}

function pick({ action, container, containerId }: OrderRecord['order']) {
  return { action, container, containerId };
}

/** A quarantine lasts until somebody ends it, and a container that is kept has to be removed by somebody. */
function isOutdated({ order, state, keptUntilMs, atMs }: OrderRecord, nowMs: number): boolean {
  if (state === 'begun' || keptUntilMs !== null || order.action === 'quarantine') return false;
  const expiredMs = Date.parse(order.expiresAt);
  if (state === 'refused') return nowMs > expiredMs + limits.maxOrderAheadMs;
  return nowMs - atMs > limits.ordersRememberedMs && nowMs > expiredMs;
}
