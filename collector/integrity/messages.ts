import { z } from 'zod';
import { count } from '../../common/fields.ts';
import { ledgerCheck } from '../../common/ledger-check.ts';

/* What a collector and the process that checks the ledger for it say to each other. */

/** The one thing the process is told. Keys and roots in base64. */
export const checkTask = z.strictObject({
  databaseUrl: z.string(),
  origin: z.string(),
  collectorKey: z.string(),
  checkpoints: z.array(z.strictObject({ name: z.string(), size: count, root: z.string() })),
  /** Of the time that it may work. */
  share: z.number().positive().max(1),
});

export type CheckTask = z.infer<typeof checkTask>;

export const checkMessage = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('progress'), done: count, of: count }),
  z.strictObject({ type: z.literal('done'), check: ledgerCheck }),
]);

export type CheckMessage = z.infer<typeof checkMessage>;
