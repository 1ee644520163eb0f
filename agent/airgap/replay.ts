import { linesOf } from '../../common/bundle/lines.ts';
import { messagesFile, type ReturnManifest } from '../../common/bundle/manifest.ts';
import { openCheckpoint } from '../../common/checkpoint.ts';
import type { Clock } from '../../common/clock.ts';
import { hashBytes } from '../../common/encoding.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import type { KeyPair } from '../../common/keys.ts';
import { limits } from '../../common/limits.ts';
import type { VerifierKey } from '../../common/note.ts';
import { type CollectorMessage, collectorMessage, parseMessage } from '../../common/protocol.ts';
import type { HandedBundle } from '../link/bundle-parts.ts';
import { createLinkSession, type LinkSession } from '../link/session.ts';
import type { ForkStatement, Witness } from '../link/witness.ts';
import type { IssuedOrder } from '../orders/issued.ts';
import type { MeasureWord } from '../orders/measure-book.ts';
import type { LinkOutbox } from '../ports.ts';

export interface ReplayOptions {
  readonly node: string;
  readonly version: string;
  readonly keys: KeyPair;
  readonly logKey: VerifierKey;
  readonly witness: Witness;
  readonly outbox: LinkOutbox;
  readonly keepFork: (fork: ForkStatement) => Promise<void>;
  readonly clock: Clock;
  /** Hears how many bytes were gone through. */
  readonly onRead: (bytes: number) => void;
}

/** What a return bundle has for others than the outbox: proved to be in the ledger, and not judged. */
export interface Carried {
  readonly desired: HandedBundle | undefined;
  readonly words: readonly MeasureWord[];
  readonly orders: readonly IssuedOrder[];
}

/**
 * Goes through the messages of a return bundle as a session would that they came in: the same checks, the same effect on the outbox.
 * What the session would send is said to nobody. May be begun again at any time: what was acknowledged already is passed over.
 * @param bridge consistency proof from the checkpoint held to the one of the bundle.
 * @throws AppError `bundle.refused` for what proves nothing, with the byte at which its line begins; `bundle.damaged`; `ledger.forked`,
 *   with the evidence kept; `ledger.sequence`, `outbox.*`.
 */
export async function replay(
  messages: AsyncIterable<Buffer>,
  { manifest, bridge }: { readonly manifest: ReturnManifest; readonly bridge: readonly string[] },
  options: ReplayOptions,
): Promise<Carried> {
  const words: MeasureWord[] = [];
  const orders: IssuedOrder[] = [];
  let desired: HandedBundle | undefined;
  const session = createLinkSession({
    ...options,
    origin: options.logKey.name,
    collectorKey: options.logKey.publicKey,
    bounds: { cosignIntervalMs: limits.cosignIntervalMs },
    onCosigned: () => {},
    receiver: {
      order: (order) => void orders.push(order),
      measure: (word) => void words.push(word),
      bundle: (commit, bytes) => {
        desired = { commit, bytes };
      },
    },
    send: async () => {},
  });
  await session.greet();
  await session.receive({ type: 'challenge', nonce: noNonce, origin: options.logKey.name });
  for await (const { offset, bytes } of linesOf(messages, messagesFile, limits.maxBundleLineBytes)) {
    try {
      await take(parseMessage(collectorMessage, bytes.toString('utf8')), session, { manifest, bridge, ...options });
    } catch (thrown) {
      throw placed(thrown, offset);
    }
    options.onRead(bytes.length + 1);
  }
  if (!session.streaming) throw placed(new AppError('validation.protocol', 'nothing is in it'), 0);
  return { desired, words, orders };
}

/** Nothing of this handshake leaves the process, so any will do. */
const noNonce = Buffer.alloc(hashBytes).toString('base64');

interface Taking {
  readonly manifest: ReturnManifest;
  readonly bridge: readonly string[];
  readonly outbox: LinkOutbox;
}

async function take(
  message: CollectorMessage,
  session: LinkSession,
  { manifest, bridge, outbox }: Taking,
): Promise<void> {
  if ('checkpoint' in message && message.checkpoint.note !== manifest.checkpoint) {
    throw new AppError('validation.protocol', 'it is proved against another checkpoint than the one of the bundle');
  }
  switch (message.type) {
    case 'welcome':
      await session.receive({ ...message, checkpoint: { note: manifest.checkpoint, consistency: [...bridge] } });
      break;
    case 'ack': {
      const entries = message.entries.filter(({ seq }) => seq > outbox.acked.seq);
      if (entries.length > 0) await session.receive({ ...message, entries });
      break;
    }
    case 'order':
    case 'measure':
    case 'measured':
    case 'desired':
      await session.receive(message);
      break;
    default:
      throw new AppError('validation.protocol', `${message.type} has no meaning in a bundle`);
  }
  // What the next ack is about counts as sent.
  await session.pump();
}

/** What proves nothing is as good as none; whatever else went wrong is not the bundle's doing. */
function placed(thrown: unknown, offset: number): AppError {
  const error = toAppError(thrown);
  if (!/^(auth|validation)\./.test(error.code) && error.code !== 'ledger.proof') return error;
  return new AppError('bundle.refused', `${messagesFile}, in what begins at byte ${offset}: ${error.message}`, {
    cause: error,
    details: { file: messagesFile, offset },
  });
}

/** An outbox on which a session has no effect, to see first whether all of it holds. */
export function rehearsal(outbox: LinkOutbox): LinkOutbox {
  let { acked } = outbox;
  return {
    get head() {
      return outbox.head;
    },
    get acked() {
      return acked;
    },
    get depth() {
      return outbox.depth;
    },
    get bytes() {
      return outbox.bytes;
    },
    get anchored() {
      return outbox.anchored;
    },
    // One that lost its place hands out nothing before it has found it again, which is an effect.
    read: async (afterSeq, bound) => (outbox.anchored ? outbox.read(afterSeq, bound) : []),
    trim: async (throughSeq) => {
      acked = { seq: throughSeq, hash: acked.hash };
    },
    anchor: async () => {},
    checkpoint: () => outbox.checkpoint(),
    onAppended: () => () => {},
  };
}

/**
 * The proof that leads from the checkpoint that this node holds to the one of the bundle.
 * @throws AppError `bundle.replayed` when the bundle is older than that, or does not go on from it; `bundle.foreign` for a checkpoint that
 *   the log has not signed.
 */
export function bridgeFrom(
  heldSize: number,
  { manifest, logKey }: { readonly manifest: ReturnManifest; readonly logKey: VerifierKey },
): readonly string[] {
  const size = sizeOf(manifest.checkpoint, logKey);
  if (size < heldSize) {
    throw new AppError(
      'bundle.replayed',
      `the bundle ends with ${size} entries of the ledger, and this node has accepted a checkpoint of ${heldSize} since: ` +
        'it is an old one, and nothing in it is needed',
      { details: { size, heldSize } },
    );
  }
  if (size === heldSize) return [];
  const found = manifest.from.find((one) => one.size === heldSize);
  if (found !== undefined) return found.consistency;
  throw new AppError(
    'bundle.replayed',
    `the bundle answers what this node exported as number ${manifest.number}, and it has accepted a checkpoint of ${heldSize} since, ` +
      'which the bundle does not go on from: export once more, and bring the answer to that',
    { details: { size, heldSize } },
  );
}

function sizeOf(note: string, logKey: VerifierKey): number {
  try {
    return openCheckpoint(note, logKey).checkpoint.size;
  } catch (cause) {
    throw new AppError('bundle.foreign', `its checkpoint is not signed by the log ${logKey.name}`, { cause });
  }
}
