import { z } from 'zod';
import { limits } from '../../common/limits.ts';

const fileName = z.string().max(32);
const stamp = z.string().max(128);

/**
 * What the scans so far have seen of one store, kept by the agent between scans and restarts; plain JSON.
 * Losing it costs one scan of everything.
 */
const filesState = z.strictObject({
  version: z.literal(1),
  /** Checked tables: name and fingerprint. A table never changes, so one with another fingerprint was tampered with. */
  tables: z.array(z.tuple([fileName, stamp])).max(limits.sigilMaxRememberedTables),
  /** Logs read so far: name, identity, and the offset up to which they were read. */
  logs: z.array(z.tuple([fileName, stamp, z.int().nonnegative()])).max(64),
});

/** The same of a table. */
const tableState = z.strictObject({
  version: z.literal(1),
  /** Newest `updatedAt` seen, in Unix milliseconds; null when there was none. */
  rows: z.strictObject({ seenMs: z.number().nullable() }),
});

const scanState = z.union([filesState, tableState]);

export type ScanState = z.infer<typeof scanState>;

/** The state in `value`, or null when there is none or it is not one: the next scan then starts afresh. */
export function parseScanState(value: unknown): ScanState | null {
  const parsed = scanState.safeParse(value);
  return parsed.success ? parsed.data : null;
}
