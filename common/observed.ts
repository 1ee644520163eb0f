import { z } from 'zod';

/** Life stages the Engine API reports in `State.Status`. */
export const containerStates = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'] as const;

/**
 * One container as the agent last saw it. Observed, never "actual": it may already be stale.
 * Source: Engine API `GET /containers/{id}/json`.
 */
export const observedContainer = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{64}$/),
  /** Without the leading slash. */
  name: z.string(),
  /** Reference the container was created from, e.g. `registry.local/api:1.4`. */
  image: z.string(),
  /** `sha256:<64 hex>` of the image configuration. */
  imageId: z.string(),
  state: z.enum(containerStates),
  health: z.enum(['none', 'starting', 'healthy', 'unhealthy']),
  exitCode: z.int(),
  restartCount: z.int(),
  /** RFC 3339 UTC; null while it has not happened. */
  createdAt: z.string(),
  startedAt: z.string().nullable(),
  finishedAt: z.string().nullable(),
});

export type ObservedContainer = z.infer<typeof observedContainer>;
