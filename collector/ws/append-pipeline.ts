import { backoffDelayMs } from '../../common/backoff.ts';
import type { Clock } from '../../common/clock.ts';
import type { SignedEntry } from '../../common/entry.ts';
import { toAppError } from '../../common/errors.ts';
import type { Kind } from '../../common/kinds.ts';
import { limits } from '../../common/limits.ts';
import {
  type Appended,
  type CheckpointStream,
  type CheckpointStreamOptions,
  createCheckpointStream,
} from './checkpoint-stream.ts';
import type { Placed, SessionLedger } from './ports.ts';
import type { Author, VerifyEntries, WireEntries } from './verify.ts';

export interface PipelineOptions extends Omit<CheckpointStreamOptions, 'acknowledged'> {
  readonly ledger: Pick<SessionLedger, 'append' | 'leafAt' | 'checkpoint' | 'inclusion' | 'consistency'>;
  readonly verify: VerifyEntries;
  readonly author: Author;
  readonly clock: Clock;
  readonly random: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** True once the connection is over: nothing more is worth trying. */
  readonly over: () => boolean;
  /** Hears what kinds of entries a batch was of, once it is committed and before its ack leaves. Must not throw. */
  readonly appended: (kinds: readonly Kind[]) => void;
  /** Hears of every batch once its ack has left: its entries, and the milliseconds since its frame came. */
  readonly acknowledged: (entries: number, tookMs: number) => void;
}

/**
 * A session's way from append to ack, in three stages that each keep the order: signatures of the next batches are checked
 * while one is being appended and another acknowledged. Holds at most `limits.maxAppendsInFlight` batches.
 */
export interface AppendPipeline {
  /** Where acks, orders, and offers to cosign go out. */
  readonly stream: CheckpointStream;
  /**
   * Takes a batch in, whose frame came at `receivedMs` by the monotonic clock; resolves when there is room for the next one to
   * be read from the socket.
   */
  offer(entries: WireEntries, receivedMs: number): Promise<void>;
}

export function createAppendPipeline(options: PipelineOptions): AppendPipeline {
  const { verify, author, clock, fail } = options;
  const room = createRoom(limits.maxAppendsInFlight);
  const acknowledged = (batches: readonly Appended[]): void => {
    room.leave(batches.length);
    const nowMs = clock.monotonicMs();
    for (const { places, receivedMs } of batches) options.acknowledged(places.length, nowMs - receivedMs);
  };
  const stream = createCheckpointStream({ ...options, acknowledged });
  let appended: Promise<void> = Promise.resolve();
  return {
    stream,
    offer: async (entries, receivedMs) => {
      await room.enter();
      const verified = verify(entries, author);
      // Waited for in its turn; until then a failure is not yet anybody's.
      verified.catch(() => {});
      appended = appended.then(async () => {
        const signed = await verified;
        const places = await appendPatiently(signed, options);
        options.appended([...new Set(signed.map(({ entry }) => entry.kind))]);
        stream.acknowledge({ places, receivedMs });
      });
      appended.catch(fail);
      await room.free();
    },
  };
}

export interface AppendOptions extends Pick<PipelineOptions, 'author' | 'clock' | 'random' | 'sleep' | 'over'> {
  readonly ledger: Pick<SessionLedger, 'append'>;
}

/** Offers a batch until the ledger takes it or has been busy for too long. Safe to repeat: the same bytes keep their place. */
export async function appendPatiently(
  entries: readonly SignedEntry[],
  { ledger, author, clock, random, sleep, over }: AppendOptions,
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
