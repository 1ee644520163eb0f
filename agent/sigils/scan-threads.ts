import { Worker } from 'node:worker_threads';
import { AppError } from '../../common/errors.ts';
import { asBuffer, type FromThread, type Part, type ThreadData, type ToThread } from './thread-messages.ts';
import type { LiveTable } from './version-edit.ts';

/** Beside this file in the build. */
const threadFile = new URL('./sigil-thread.js', import.meta.url);

/** Megabytes that a thread's own heap may take; it keeps nothing from one block to the next. */
const heapMb = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 48 };

export type TableOutcome =
  | { readonly kind: 'done'; readonly fingerprint: string }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unreadable'; readonly message: string };

/** Threads that check the tables of one store, each one table at a time. They see what is on disk, and end with the scan. */
export class ScanThreads {
  private readonly workers: readonly Worker[];
  private readonly ended = new Set<Worker>();

  /** @param file the built thread; the one beside the program when absent */
  constructor(count: number, data: ThreadData, file: URL = threadFile) {
    this.workers = Array.from({ length: count }, () => {
      const worker = new Worker(file, { workerData: data, resourceLimits: heapMb, execArgv: [] });
      // A thread that breaks rejects what it has; between two tables it has nothing.
      worker.on('error', () => {}).on('exit', () => void this.ended.add(worker));
      return worker;
    });
  }

  /**
   * Checks all of them, in this order as far as there are threads. What a thread has found is dealt with before it goes on.
   * @throws AppError `internal.error` when a thread breaks, or what dealing with a part throws
   */
  async scan(
    tables: readonly (readonly [name: string, table: LiveTable])[],
    on: {
      readonly part: (name: string, part: Part) => Promise<void>;
      readonly outcome: (name: string, outcome: TableOutcome) => Promise<void>;
    },
  ): Promise<void> {
    const left = tables.values();
    const work = async (worker: Worker): Promise<void> => {
      for (const [name, table] of left) {
        // One that ended between two tables says nothing any more, not even that.
        if (this.ended.has(worker)) throw brokenOff();
        await on.outcome(name, await scanOne(worker, { name, table }, on.part));
      }
    };
    await Promise.all(this.workers.map(work));
  }

  async stop(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }
}

function scanOne(
  worker: Worker,
  { name, table }: { readonly name: string; readonly table: LiveTable },
  onPart: (name: string, part: Part) => Promise<void>,
): Promise<TableOutcome> {
  return new Promise((resolve, reject) => {
    const say = (message: ToThread) => worker.postMessage(message);
    const end = (settle: () => void) => {
      worker.off('message', take).off('error', broken).off('exit', broken);
      settle();
    };
    const broken = (cause: unknown) => end(() => reject(brokenOff(cause)));
    const take = (message: FromThread) => {
      const { part, ...outcome } = { part: undefined, ...message };
      const dealt = part === undefined ? Promise.resolve() : onPart(name, received(part));
      dealt.then(
        () => (outcome.kind === 'part' ? say({ kind: 'go_on' }) : end(() => resolve(outcome))),
        (thrown: unknown) => end(() => reject(thrown)),
      );
    };
    worker.on('message', take).on('error', broken).on('exit', broken);
    say({ kind: 'table', name, table });
  });
}

function brokenOff(cause?: unknown): AppError {
  return new AppError('internal.error', 'a thread that checks sigils has broken off', { cause });
}

function received(part: Part): Part {
  return {
    ...part,
    suspects: part.suspects.map((suspect) => ({ ...suspect, key: asBuffer(suspect.key) })),
    problems: part.problems.map(({ problem, range }) => ({
      problem,
      range: range && { from: asBuffer(range.from), to: asBuffer(range.to) },
    })),
  };
}
