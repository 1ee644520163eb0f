import { z } from 'zod';
import { foreignText, hex64 } from './fields.ts';

/** Life stages the Engine API reports in `State.Status`. */
export const containerStates = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'] as const;

/**
 * One container as the agent last saw it. Observed, never "actual": it may already be stale.
 * Source: Engine API `GET /containers/{id}/json`.
 */
export const observedContainer = z.strictObject({
  id: hex64,
  /** Without the leading slash. */
  name: foreignText,
  /** Reference the container was created from, e.g. `registry.local/api:1.4`. */
  image: foreignText,
  /** `sha256:<64 hex>` of the image configuration. */
  imageId: foreignText,
  state: z.enum(containerStates),
  health: z.enum(['none', 'starting', 'healthy', 'unhealthy']),
  exitCode: z.int(),
  restartCount: z.int(),
  /** RFC 3339 UTC; null while it has not happened. */
  createdAt: foreignText,
  startedAt: foreignText.nullable(),
  finishedAt: foreignText.nullable(),
});

export type ObservedContainer = z.infer<typeof observedContainer>;
