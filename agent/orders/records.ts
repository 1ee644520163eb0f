import { z } from 'zod';
import type { Attempt } from '../../common/enforcement/attempts.ts';
import { limits } from '../../common/limits.ts';
import { containerStates } from '../../common/observed.ts';
import { orderSchema } from '../../common/order.ts';

/** As `Attachment` of `agent/docker/control.ts`. */
const endpoint = z.object({
  Aliases: z.array(z.string()).readonly().exactOptional(),
  Links: z.array(z.string()).readonly().exactOptional(),
  IPAMConfig: z
    .record(z.string(), z.union([z.string(), z.array(z.string()).readonly()]))
    .readonly()
    .exactOptional(),
  DriverOpts: z.record(z.string(), z.string()).readonly().exactOptional(),
  NetworkID: z.string().exactOptional(),
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

/** Whether nothing depends on a record any more. A quarantine lasts until somebody ends it; a container that is kept has to be removed. */
export function isOutdated({ order, state, keptUntilMs, atMs }: OrderRecord, nowMs: number): boolean {
  if (state === 'begun' || keptUntilMs !== null) return false;
  const expiredMs = Date.parse(order.expiresAt);
  if (state === 'refused') return nowMs > expiredMs + limits.maxOrderAheadMs;
  // The one without the other would put a container that was released into quarantine again.
  if (order.action === 'quarantine' || order.action === 'release') return false;
  return nowMs - atMs > limits.ordersRememberedMs && nowMs > expiredMs;
}

/** What a record says of the attempt to end a drift; undefined where it was none, or did end it. */
export function attemptOf({ order, state, atMs }: OrderRecord): Attempt | undefined {
  if (state === 'failed' || state === 'relapsed') return { executedMs: undefined, lastWordMs: atMs };
  // After a quarantine the container is there as before; that nothing is done about it is governance's concern.
  if (state === 'executed' && order.action !== 'quarantine') return { executedMs: atMs, lastWordMs: atMs };
  return undefined;
}
