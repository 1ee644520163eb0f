import { z } from 'zod';
import { type ChainHead, genesis } from '../../common/entry.ts';
import { type Drops, dropsSchema } from './drops.ts';
import { sealValue, unsealText } from './layout.ts';
import type { BatchOp, OutboxDb } from './level-store.ts';

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().nonnegative();
const chainHead = z.strictObject({ seq: count, hash: hex64 });

/** Set until an ack has proved where this chain stands in the ledger; see `docs/outbox.md`. */
const unanchoredSchema = z.strictObject({
  /** Entries up to here have the numbers they had before the place was lost; that later ones are right is yet to be proved. */
  keep: count,
  /** False when the acknowledged head was lost and `acked` is only the predecessor of the first entry found. */
  ackedKnown: z.boolean(),
  /** Whether the collector has told a head to go on from, so that entries may be sent. */
  based: z.boolean().default(false),
});
export type Unanchored = Readonly<z.infer<typeof unanchoredSchema>>;

const chainSchema = z.strictObject({
  v: z.literal(1),
  author: z.string(),
  fingerprint: z.string(),
  generation: count,
  acked: chainHead,
  unanchored: unanchoredSchema.nullable(),
});
const tipSchema = z.strictObject({ write: count, head: chainHead });
const checkpointSchema = z.strictObject({ note: z.string() });

/** Whose outbox this is. */
export interface Owner {
  readonly author: string;
  /** As printed by `fingerprint` of `common/keys.ts`. */
  readonly fingerprint: string;
}

/** Everything the outbox knows about itself. What is on disk and this never disagree between two batches. */
export interface Standing {
  /** Re-basing writes the next generation beside the current one and then switches. */
  readonly generation: number;
  readonly acked: ChainHead;
  readonly unanchored: Unanchored | null;
  readonly head: ChainHead;
  /** Bytes of the queued entries, see `storedBytes`. */
  readonly bytes: number;
  /** Number of the last batch: answers, after a failed write, whether it happened. Never goes back. */
  readonly write: number;
  readonly drops: Drops | null;
  /** The last checkpoint note the agent accepted. */
  readonly checkpoint: string | null;
}

/** A queue that has never held anything. Unanchored: the ledger may know more of this author than this folder does. */
export const emptyStanding: Standing = {
  generation: 0,
  acked: genesis,
  unanchored: { keep: 0, ackedKnown: true, based: false },
  head: genesis,
  bytes: 0,
  write: 0,
  drops: null,
  checkpoint: null,
};

const metaKeys = {
  chain: 'meta!chain',
  tip: 'meta!tip',
  drops: 'meta!drops',
  checkpoint: 'meta!checkpoint',
} as const;
export const knownMetaKeys: ReadonlySet<string> = new Set(Object.values(metaKeys));

/** The meta records that differ between two standings; `before` undefined writes them all. */
export function standingOps(before: Standing | undefined, after: Standing, owner: Owner): BatchOp[] {
  const ops: BatchOp[] = [put(metaKeys.tip, { write: after.write, head: after.head })];
  if (
    before?.generation !== after.generation ||
    before.acked !== after.acked ||
    before.unanchored !== after.unanchored
  ) {
    const { author, fingerprint } = owner;
    const { generation, acked, unanchored } = after;
    ops.push(put(metaKeys.chain, { v: 1, author, fingerprint, generation, acked, unanchored }));
  }
  if (before?.drops !== after.drops) ops.push(putOrDelete(metaKeys.drops, after.drops));
  if (before?.checkpoint !== after.checkpoint) {
    ops.push(putOrDelete(metaKeys.checkpoint, after.checkpoint === null ? null : { note: after.checkpoint }));
  }
  return ops;
}

function put(key: string, value: unknown): BatchOp {
  return { type: 'put', key, value: sealValue(key, value) };
}

function putOrDelete(key: string, value: unknown): BatchOp {
  return value === null ? { type: 'del', key } : put(key, value);
}

/** The meta records as found. A part is undefined when it is missing or not what was stored. */
export interface FoundMeta {
  readonly chain: z.infer<typeof chainSchema> | undefined;
  readonly tip: z.infer<typeof tipSchema> | undefined;
  /** Null: there is none, which is a normal state. */
  readonly drops: Drops | null | undefined;
  readonly checkpoint: string | null | undefined;
}

export async function readMeta(db: OutboxDb): Promise<FoundMeta> {
  const chain = await readSealed(db, metaKeys.chain, chainSchema);
  const tip = await readSealed(db, metaKeys.tip, tipSchema);
  const drops = await readSealed(db, metaKeys.drops, dropsSchema);
  const checkpoint = await readSealed(db, metaKeys.checkpoint, checkpointSchema);
  return {
    chain: chain ?? undefined,
    tip: tip ?? undefined,
    drops,
    checkpoint: checkpoint === undefined || checkpoint === null ? checkpoint : checkpoint.note,
  };
}

/** Null when there is no such record, undefined when it is damaged or unreadable. */
async function readSealed<T>(db: OutboxDb, key: string, schema: z.ZodType<T>): Promise<T | null | undefined> {
  try {
    const value = await db.get(key);
    if (value === undefined) return null;
    const text = unsealText(key, value);
    return text === undefined ? undefined : schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
