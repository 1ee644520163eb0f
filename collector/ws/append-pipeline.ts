import { backoffDelayMs } from '../../common/backoff.ts';
import type { Clock } from '../../common/clock.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { CollectorMessage, MessageOf } from '../../common/protocol.ts';
import type { Placed, SessionLedger } from './ports.ts';
import type { Author, VerifyEntries, WireEntries } from './verify.ts';

export type Ack = MessageOf<CollectorMessage, 'ack'>;

export interface PipelineOptions {
  readonly ledger: Pick<SessionLedger, 'append' | 'checkpoint' | 'inclusion' | 'consistency'>;
  readonly verify: VerifyEntries;
  readonly author: Author;
  /** Size of the checkpoint in the welcome: where the first consistency proof starts. */
  readonly checkpointSize: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** True once the connection is over: nothing more is worth trying. */
  readonly over: () => boolean;
  /** Resolves when the ack has left for the network. */
  readonly send: (ack: Ack) => Promise<void>;
  /** Hears of the first failure; nothing after the failed batch is appended. */
  readonly fail: (thrown: unknown) => void;
}

/**
 * A session's way from append to ack, in three stages that each keep the order: signatures of the next batches are checked
 * while one is being appended and another acknowledged. Holds at most `limits.maxAppendsInFlight` batches.
 */
export interface AppendPipeline {
  /** Takes a batch in; resolves when there is room for the next one to be read from the socket. */
  offer(entries: WireEntries): Promise<void>;
}

export function createAppendPipeline(options: PipelineOptions): AppendPipeline {
  const { ledger, verify, author, send, fail } = options;
  const room = createRoom(limits.maxAppendsInFlight);
  /** Places of the batches that are in the ledger and not acknowledged. */
  const placed: (readonly Placed[])[] = [];
  let appended: Promise<void> = Promise.resolve();
  let acknowledging = false;
  let sentSize = options.checkpointSize;

  async function acknowledge(): Promise<void> {
    if (acknowledging) return;
    acknowledging = true;
    // Batches that finished while an ack was being proved and sent share the next one.
    for (let batches = placed.splice(0); batches.length > 0; batches = placed.splice(0)) {
      await send(await prove(batches.flat()));
      room.leave(batches.length);
    }
    acknowledging = false;
  }

  async function prove(places: readonly Placed[]): Promise<Ack> {
    const { size, note } = await ledger.checkpoint();
    const indexes = places.map(({ index }) => index);
    const [{ hashes, proofs }, consistency] = await Promise.all([
      ledger.inclusion(indexes, size),
      ledger.consistency(sentSize, size),
    ]);
    sentSize = size;
    return {
      type: 'ack',
      entries: places.map(({ seq, index }, at) => ({ seq, index, proof: [...(proofs[at] ?? [])] })),
      hashes: hashes.map((hash) => hash.toString('base64')),
      checkpoint: { note, consistency: consistency.map((hash) => hash.toString('base64')) },
    };
  }

  return {
    offer: async (entries) => {
      await room.enter();
      const verified = verify(entries, author);
      // Waited for in its turn; until then a failure is not yet anybody's.
      verified.catch(() => {});
      appended = appended.then(async () => {
        placed.push(await appendPatiently(await verified, options));
        acknowledge().catch(fail);
      });
      appended.catch(fail);
      await room.free();
    },
  };
}

/** Offers a batch until the ledger takes it or has been busy for too long. Safe to repeat: the same bytes keep their place. */
async function appendPatiently(
  entries: readonly SignedEntry[],
  { ledger, author, clock, random, sleep, over }: PipelineOptions,
): Promise<readonly Placed[]> {
  const giveUpAtMs = clock.monotonicMs() + limits.ledgerBusyMs;
  const bounds = { minMs: limits.ledgerBusyRetryMinMs, maxMs: limits.ledgerBusyRetryMaxMs };
  for (let attempt = 0; ; attempt++) {
    try {
      return await ledger.append(entries, author.publicKey);
    } catch (thrown) {
      const error = toAppError(thrown);
      if (!error.retryable || over() || clock.monotonicMs() >= giveUpAtMs) throw error;
      await sleep(backoffDelayMs(attempt, bounds, random));
    }
  }
}

/** A counted room with one door: who enters when it is full waits. Entered by one caller at a time. */
function createRoom(capacity: number) {
  let inside = 0;
  let wake: () => void = () => {};
  const free = async (): Promise<void> => {
    while (inside >= capacity) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return {
    free,
    enter: async (): Promise<void> => {
      await free();
      inside += 1;
    },
    leave: (count: number): void => {
      inside -= count;
      wake();
    },
  };
}
