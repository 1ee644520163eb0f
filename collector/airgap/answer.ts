import type { Clock } from '../../common/clock.ts';
import type { CollectorMessage } from '../../common/protocol.ts';
import type { MeasureDispatch } from '../enforcement/measure-ports.ts';
import type { OrderDispatch } from '../enforcement/ports.ts';
import { createCheckpointStream } from '../ws/checkpoint-stream.ts';
import type { SessionLedger } from '../ws/ports.ts';
import { welcomeFor } from '../ws/welcome.ts';
import { type PlacedBatch, placesOf } from './ingest.ts';

/** All that a node would be told in a session that it opened now. */
export interface Told {
  readonly batches: readonly PlacedBatch[];
  readonly desired: { readonly commit: string; readonly bytes: Buffer } | undefined;
  readonly measures: readonly MeasureDispatch[];
  /** Whether these are all that concern the node. */
  readonly areAllMeasures: boolean;
  readonly orders: readonly OrderDispatch[];
}

export interface AnswerOptions {
  readonly ledger: SessionLedger;
  readonly clock: Pick<Clock, 'now'>;
  readonly node: string;
  /** Takes the next message. */
  readonly write: (message: CollectorMessage) => Promise<void>;
  /** Hears of every receipt that was written. */
  readonly onAcknowledged: (entries: number) => void;
}

export interface Answered {
  /** The tree head that everything is proved against. */
  readonly size: number;
  readonly note: string;
  readonly receipts: number;
  readonly orders: number;
  readonly measures: number;
}

/**
 * Tells a node what it would hear over the wire, by the same code, with one tree head for all of it: so whoever carries it can begin
 * again anywhere. To be called after all that is told was read: the tree head is taken here.
 */
export async function answer(told: Told, options: AnswerOptions): Promise<Answered> {
  const { clock, node, write } = options;
  const ledger = await frozen(options.ledger, node);
  const head = await ledger.checkpoint();
  const counts = { receipts: 0, orders: 0, measures: 0 };
  let failed: { readonly thrown: unknown } | undefined;
  // From the tree head itself: what leads there from what the node holds is for the manifest to say.
  const { message } = await welcomeFor({ ledger, clock }, { node, checkpoint: head.note });
  await write(message);
  const stream = createCheckpointStream({
    ledger,
    startSize: head.size,
    rounds: { forming: undefined, missed: () => {} },
    send: async (next) => {
      if (next.type === 'order') counts.orders += 1;
      if (next.type === 'measure') counts.measures += 1;
      await write(next);
    },
    acknowledged: (batches) => {
      for (const { places } of batches) {
        counts.receipts += places.length;
        options.onAcknowledged(places.length);
      }
    },
    fail: (thrown) => {
      failed ??= { thrown };
    },
  });
  const settle = async (): Promise<void> => {
    await stream.settled();
    if (failed !== undefined) throw failed.thrown;
  };
  for (const batch of told.batches) {
    stream.acknowledge({ places: placesOf(batch), receivedMs: 0 });
    // One at a time: those that wait together would share one message, however large.
    await settle();
  }
  if (told.desired !== undefined) stream.desired(told.desired.commit, told.desired.bytes);
  await settle();
  for (const measure of told.measures) {
    stream.measure(measure);
    await settle();
  }
  stream.measured(told.areAllMeasures);
  await settle();
  for (const order of told.orders) {
    stream.order(order);
    await settle();
  }
  return { size: head.size, note: head.note, ...counts };
}

/** The ledger as it is now, for as long as it takes. */
async function frozen(ledger: SessionLedger, node: string): Promise<Omit<SessionLedger, 'append'>> {
  // First the chain, then the tree: so the head of the one is in the other.
  const chain = await ledger.authorHead(node);
  const head = await ledger.checkpoint();
  return {
    origin: ledger.origin,
    authorHead: async () => chain,
    checkpoint: async () => head,
    entryOf: (author, seq) => ledger.entryOf(author, seq),
    leafAt: (index) => ledger.leafAt(index),
    inclusion: (indexes, size) => ledger.inclusion(indexes, size),
    consistency: (oldSize, newSize) => ledger.consistency(oldSize, newSize),
    confront: (note) => ledger.confront(note),
  };
}
