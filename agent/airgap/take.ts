import { join } from 'node:path';
import { damagedManifest, messagesFile, type ReturnManifest } from '../../common/bundle/manifest.ts';
import { requireStamped } from '../../common/bundle/stamped.ts';
import type { Clock } from '../../common/clock.ts';
import type { HandedBundle } from '../link/bundle-parts.ts';
import { createWitness, type ForkStatement, type Witness } from '../link/witness.ts';
import type { IssuedOrder } from '../orders/issued.ts';
import type { MeasureWord } from '../orders/measure-book.ts';
import type { LinkOutbox } from '../ports.ts';
import { piecesOf } from './files.ts';
import { keepImages } from './kept-images.ts';
import { bridgeFrom, type Carried, rehearsal, replay } from './replay.ts';
import { type Parties, readReturn } from './returned.ts';

/** Who acts on what a bundle brings, one after another: an order is looked at under the commit that came with it. */
export interface CarriedReceiver {
  desired(bundle: HandedBundle): Promise<void>;
  heed(word: MeasureWord): void;
  obey(order: IssuedOrder): Promise<void>;
}

export interface TakeOptions extends Parties {
  readonly version: string;
  readonly outbox: LinkOutbox;
  readonly keepFork: (fork: ForkStatement) => Promise<void>;
  readonly clock: Clock;
}

/** What a bundle came to. */
export interface Taken {
  readonly number: number;
  /** Entries that left the outbox. */
  readonly receipts: number;
  /** Entries that are still in it. */
  readonly waiting: number;
  /** Of the checkpoint that is held now. */
  readonly size: number;
  readonly orders: number;
  readonly measures: number;
  readonly commit: string | null;
  readonly images: readonly string[];
}

/**
 * Goes through a whole return bundle without any effect, but for the evidence of a fork.
 * @throws AppError as `readReturn`, `bridgeFrom`, `replay`
 */
export async function rehearse(folder: string, options: TakeOptions): Promise<ReturnManifest> {
  const { outbox, logKey } = options;
  const manifest = await readReturn(folder, options);
  const stamp = manifest.files.find(({ file }) => file === messagesFile);
  if (stamp === undefined) throw damagedManifest(`it does not name ${messagesFile}`);
  await requireStamped(piecesOf(join(folder, messagesFile)), stamp, () => {});
  const witness = createWitness(logKey, outbox.checkpoint());
  const bridge = bridgeFrom(witness.held?.size ?? 0, { manifest, logKey });
  const about = { ...options, outbox: rehearsal(outbox), witness, onRead: () => {} };
  await replay(piecesOf(join(folder, messagesFile)), { manifest, bridge }, about);
  return manifest;
}

/** Who takes a bundle in, while nobody else speaks with the log. */
export interface Taking extends TakeOptions {
  /** The one witness of the agent. */
  readonly witness: Witness;
  readonly imagesDir: string;
}

/**
 * Takes in a bundle that was rehearsed: receipts and checkpoint now, as they would come over the wire; what is left is for the caller to
 * hand on with {@link handOn}.
 * Crash points: anywhere; what was done is passed over when it is taken once more.
 */
export async function takeIn(
  folder: string,
  manifest: ReturnManifest,
  { witness, imagesDir, ...options }: Taking,
): Promise<{ readonly carried: Carried; readonly taken: Taken }> {
  const { outbox, logKey } = options;
  const before = outbox.acked.seq;
  const images = await keepImages(folder, manifest, imagesDir);
  const bridge = bridgeFrom(witness.held?.size ?? 0, { manifest, logKey });
  const about = { ...options, witness, onRead: () => {} };
  const carried = await replay(piecesOf(join(folder, messagesFile)), { manifest, bridge }, about);
  const taken = {
    number: manifest.number,
    receipts: outbox.acked.seq - before,
    waiting: outbox.depth,
    size: witness.held?.size ?? 0,
    orders: carried.orders.length,
    measures: carried.words.filter(({ type }) => type === 'told').length,
    commit: carried.desired?.commit ?? null,
    images,
  };
  return { carried, taken };
}

/** Resolves when the node has done with it whatever it does: an order was answered, or carried out. */
export async function handOn({ desired, words, orders }: Carried, receiver: CarriedReceiver): Promise<void> {
  if (desired !== undefined) await receiver.desired(desired);
  for (const word of words) receiver.heed(word);
  for (const order of orders) await receiver.obey(order);
}
