import { z } from 'zod';
import type { SignedEntry } from './entry.ts';
import { AppError } from './errors.ts';
import { count, hex64, nodeName, timestamp } from './fields.ts';
import { limits } from './limits.ts';
import { protocolName } from './negotiation.ts';
import { approvalSchema, orderSchema } from './order.ts';

/**
 * WebSocket subprotocol of the messages below: text frames, each one member of a tagged union. Both sides are strict about members
 * that they do not know, since one that is passed over in an order or an entry could be what limits it; whoever adds one makes the
 * next protocol (`negotiation.ts`).
 */
export const subprotocol = protocolName(1);
/** Path of the agents' socket on the collector. */
export const socketPath = '/agent/v1';

const hash64 = z.base64().length(44);
/** A signed checkpoint, with no more than the log's own signature. */
export const heldNote = z.string().max(limits.maxHeldNoteChars);
/** `timestamped_signature` of C2SP tlog-cosignature, 72 bytes; name and key follow from the session. */
const cosignature = z.base64().length(96);

/** Entries travel as the exact canonical text that was signed. */
const wireEntry = z.strictObject({
  text: z.string().max(limits.maxEntryBytes),
  signature: z.base64().length(88),
});

const commitId = z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/);

/** What a node has of the desired state. */
export const holding = z.strictObject({
  /** In force there; null before the first. */
  commit: commitId.nullable(),
  /** What a bundle may build on; null when only a whole one will do. */
  base: commitId.nullable(),
  /** Whether a bundle can lead to anything: not where nothing says who may sign. */
  takes: z.boolean(),
});

export type Holding = z.infer<typeof holding>;

/** From the agent. `hello` and `proof` are the handshake; then `holds`, `append` and `cosign`, and `fork` as the last word. */
export const agentMessage = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('hello'),
    node: nodeName,
    fingerprint: z.string().max(64),
    version: z.string().max(64),
    /** The last checkpoint the agent accepted, for the collector to measure itself by. */
    checkpoint: heldNote.nullable(),
  }),
  z.strictObject({ type: z.literal('proof'), signature: z.base64().length(88) }),
  /** After the welcome, and whenever it changes: what is missing is handed over then. */
  holding.extend({ type: z.literal('holds') }),
  z.strictObject({ type: z.literal('append'), entries: z.array(wireEntry).min(1).max(limits.maxAppendEntries) }),
  /** Answers the `checkpoint` message of that size, in their order; those before it that were not answered are passed over. */
  z.strictObject({ type: z.literal('cosign'), size: count, cosignature }),
  /** Two checkpoints of this log that cannot stand beside each other; nothing follows. */
  z.strictObject({
    type: z.literal('fork'),
    held: heldNote,
    offered: heldNote,
    reason: z.string().max(limits.maxOwnTextChars),
  }),
]);

/** A signed tree head and the proof that it continues the last one the agent accepted. */
const checkpointUpdate = z.strictObject({ note: heldNote, consistency: z.array(hash64).max(128) });

/**
 * Where the manifest demands it: an earlier checkpoint that witnesses have cosigned, the proof that the order is in its tree, and
 * the one that the message's checkpoint continues it.
 */
const witnessedState = z.strictObject({
  note: z.string().max(limits.maxCosignedNoteChars),
  hashes: z.array(hash64).max(64),
  consistency: z.array(hash64).max(128),
});

/**
 * The head's entry and its place in the welcome's checkpoint, in the manner of an ack. Null for a chain that has not begun and
 * where the entry's body is not kept any more.
 */
const headProof = z.strictObject({
  entry: wireEntry,
  index: count,
  proof: z.array(count).max(64),
  hashes: z.array(hash64).max(64),
});

/** From the collector. */
export const collectorMessage = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('challenge'), nonce: hash64, origin: z.string().max(256) }),
  z.strictObject({
    type: z.literal('welcome'),
    /** Where this node's author chain stands in the ledger. */
    head: z.strictObject({ seq: count, hash: hex64, proof: headProof.nullable() }),
    checkpoint: checkpointUpdate,
    /** The collector's clock, RFC 3339. */
    now: timestamp,
  }),
  z.strictObject({
    type: z.literal('ack'),
    /** Ledger index of each acknowledged entry, by its number in the author chain. */
    entries: z.array(z.strictObject({ seq: count, index: count, proof: z.array(count).max(64) })),
    /** Table the inclusion proofs point into; they share most of their nodes. */
    hashes: z.array(hash64),
    checkpoint: checkpointUpdate,
  }),
  /** A checkpoint that many witnesses are asked to cosign at once. */
  z.strictObject({ type: z.literal('checkpoint'), checkpoint: checkpointUpdate }),
  /** An `order.issued` entry, the proof that it is in the checkpoint's tree, and who approved it. May come more than once. */
  z.strictObject({
    type: z.literal('order'),
    entry: wireEntry,
    index: count,
    /** Inclusion proof (RFC 6962). */
    hashes: z.array(hash64).max(64),
    approvals: z.array(approvalSchema).max(limits.maxApprovals),
    checkpoint: checkpointUpdate,
    witnessed: witnessedState.optional(),
  }),
  /**
   * An entry that holds orders back or ends what did (`common/enforcement/measures.ts`), and the proof that it is in the checkpoint's
   * tree. May come more than once, and in any order.
   */
  z.strictObject({
    type: z.literal('measure'),
    entry: wireEntry,
    index: count,
    /** Inclusion proof (RFC 6962). */
    hashes: z.array(hash64).max(64),
    /** Of a rejection, the order that its hash names. */
    order: orderSchema.nullable(),
    checkpoint: checkpointUpdate,
  }),
  /** What concerned the node when its session began has been sent; `all` is false where some of that could not be. */
  z.strictObject({ type: z.literal('measured'), all: z.boolean() }),
  /**
   * A git bundle with the commit that the collector has adopted, and what leads to it from the one the node told last. Larger ones
   * come in parts, in order and with other messages in between; one that begins another ends what was not complete.
   */
  z.strictObject({
    type: z.literal('desired'),
    commit: z.string().max(64),
    /** Of the whole bundle. */
    sizeBytes: count,
    /** Where this part begins in it. */
    offset: count,
    bundle: z.base64().max(limits.maxBundleChars),
  }),
  z.strictObject({
    type: z.literal('refused'),
    code: z.string().max(64),
    message: z.string().max(1_000),
    retryable: z.boolean(),
  }),
]);

export type AgentMessage = z.infer<typeof agentMessage>;
export type CollectorMessage = z.infer<typeof collectorMessage>;
export type MessageOf<M extends { type: string }, T extends M['type']> = Extract<M, { type: T }>;

/**
 * Reads one frame with the union of the other side.
 * @throws AppError `validation.protocol` for anything that is not a member of it.
 */
export function parseMessage<T>(schema: z.ZodType<T>, frame: string): T {
  let json: unknown;
  try {
    json = JSON.parse(frame);
  } catch (cause) {
    throw new AppError('validation.protocol', 'frame is not JSON', { cause });
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new AppError('validation.protocol', `not a ${subprotocol} message: ${z.prettifyError(parsed.error)}`);
}

/** What the agent signs to prove it holds the node's key; bound to this collector and this connection. */
export function handshakeBytes(challenge: { nonce: string; origin: string }, node: string): Buffer {
  return Buffer.from(`sigilwatch/handshake/v1\n${challenge.origin}\n${node}\n${challenge.nonce}\n`, 'utf8');
}

/** An entry as it travels. */
export function toWire(signed: Pick<SignedEntry, 'bytes' | 'signature'>): z.infer<typeof wireEntry> {
  return { text: signed.bytes.toString('utf8'), signature: signed.signature.toString('base64') };
}

/** The exact bytes an agent signed, not yet judged. */
export function fromWire(wire: z.infer<typeof wireEntry>): { bytes: Buffer; signature: Buffer } {
  return { bytes: Buffer.from(wire.text, 'utf8'), signature: Buffer.from(wire.signature, 'base64') };
}
