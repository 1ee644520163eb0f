import type { KeyObject } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { AppError } from '../../common/errors.ts';
import { rawPublicKey, signatureBytes, type VerifySignature } from '../../common/keys.ts';
import type { Judged, Run, SignedPart } from './run.ts';

/** Beside this file, in the source as in the build. */
const threadFile = new URL('./signature-thread.js', import.meta.url);

/** Signatures in one message to a thread: enough that waking it costs little beside them, and few enough to take turns. */
const minRunSignatures = 32;
const maxRunSignatures = 128;
/** Runs that a thread has at once, so that it never waits for the next one. */
const maxRunsPerThread = 2;
/** Megabytes: nothing that a thread makes lives for longer than a run. */
const maxNurseryMb = 2;

export interface SignatureThreads {
  readonly verify: VerifySignature;
  /** Ends the threads. What is still being checked, or asked later, is rejected with `state.busy`. */
  close(): Promise<void>;
}

interface Asked {
  /** Raw. */
  readonly publicKey: Buffer;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
  readonly resolve: (valid: boolean) => void;
  readonly reject: (error: AppError) => void;
}

/**
 * Threads that check signatures, begun when the first is asked for. What is asked for in one turn of the event loop travels
 * together. A thread that breaks rejects what it had with `internal.error`, and so does what waits when none can be begun; the
 * next question begins another one.
 */
export function openSignatureThreads(count: number, file = threadFile): SignatureThreads {
  const waiting: Asked[] = [];
  const threads = new Set<Thread>();
  /** Taking a key out of its object costs more than checking a signature. */
  const rawKeys = new WeakMap<KeyObject, Buffer>();
  let gathering = false;
  let closed = false;

  const rawOf = (key: KeyObject): Buffer => {
    const raw = rawKeys.get(key) ?? rawPublicKey(key);
    rawKeys.set(key, raw);
    return raw;
  };
  const hand = (): void => {
    gathering = false;
    const even = Math.ceil(waiting.length / count);
    const share = Math.min(maxRunSignatures, Math.max(minRunSignatures, even));
    while (waiting.length > 0) {
      const idlest = [...threads].sort((a, b) => a.runs - b.runs)[0];
      const thread = idlest === undefined || (idlest.runs > 0 && threads.size < count) ? begin(idlest) : idlest;
      if (thread === undefined || thread.runs >= maxRunsPerThread) return;
      thread.check(waiting.splice(0, share));
    }
  };
  /** @returns `otherwise` where the system lets nobody have another thread now; without that, nothing waits any more. */
  const begin = (otherwise: Thread | undefined): Thread | undefined => {
    try {
      const thread = new Thread(file, { onRoom: hand, onEnd: () => threads.delete(thread) });
      threads.add(thread);
      return thread;
    } catch (thrown) {
      if (otherwise !== undefined) return otherwise;
      for (const { reject } of waiting.splice(0)) reject(broken(thrown));
      return undefined;
    }
  };

  return {
    verify: (publicKey, message, signature) => {
      if (signature.length !== signatureBytes) return Promise.resolve(false);
      return new Promise((resolve, reject) => {
        if (closed) return reject(stopping());
        waiting.push({ publicKey: rawOf(publicKey), message, signature, resolve, reject });
        if (!gathering) queueMicrotask(hand);
        gathering = true;
      });
    },
    close: async () => {
      closed = true;
      for (const { reject } of waiting.splice(0)) reject(stopping());
      await Promise.all([...threads].map((thread) => thread.end()));
    },
  };
}

function stopping(): AppError {
  return new AppError('state.busy', 'the collector is stopping', { retryable: true });
}

function broken(cause: unknown): AppError {
  return new AppError('internal.error', 'a thread that checks signatures broke', { cause });
}

class Thread {
  readonly #worker: Worker;
  readonly #asked = new Map<number, readonly Asked[]>();
  #lastId = 0;

  /** @param onRoom after a run is judged. @param onEnd once it can take no more. */
  constructor(file: URL, { onRoom, onEnd }: { onRoom: () => void; onEnd: () => void }) {
    this.#worker = new Worker(file, { resourceLimits: { maxYoungGenerationSizeMb: maxNurseryMb } });
    this.#worker.on('message', (judged: Judged) => {
      this.#answer(judged);
      onRoom();
    });
    let error = stopping();
    this.#worker.on('error', (thrown) => {
      error = broken(thrown);
    });
    this.#worker.on('exit', () => {
      onEnd();
      for (const run of this.#asked.values()) for (const { reject } of run) reject(error);
      this.#asked.clear();
      onRoom();
    });
  }

  /** How many it has under way. */
  get runs(): number {
    return this.#asked.size;
  }

  check(asked: readonly Asked[]): void {
    const run = runOf(++this.#lastId, asked);
    this.#asked.set(run.id, asked);
    this.#worker.postMessage(run, [run.bytes.buffer]);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #answer({ id, valid }: Judged): void {
    const asked = this.#asked.get(id) ?? [];
    this.#asked.delete(id);
    for (const [place, { resolve }] of asked.entries()) resolve(valid[place] === 1);
  }
}

function runOf(id: number, asked: readonly Asked[]): Run {
  const keys = [...new Set(asked.map(({ publicKey }) => publicKey))];
  const places = new Map(keys.map((key, place) => [key, place]));
  const signed: SignedPart[] = [];
  const bytes = new Uint8Array(asked.reduce((sum, { message }) => sum + message.length + signatureBytes, 0));
  let at = 0;
  for (const { publicKey, message, signature } of asked) {
    signed.push({ key: places.get(publicKey) ?? -1, length: message.length });
    bytes.set(message, at);
    bytes.set(signature, at + message.length);
    at += message.length + signatureBytes;
  }
  return { id, keys, signed, bytes };
}
