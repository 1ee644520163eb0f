import { AppError } from '../../common/errors.ts';
import type { Witness } from './witness.ts';

/** What is to be done with the witness of a link while no connection uses it. */
export interface Errands {
  /** Resolves or rejects as `work` does, once it had its turn. @throws AppError `state.conflict` when the link is stopped first. */
  add<T>(work: (witness: Witness) => Promise<T>): Promise<T>;
  /** Aborted when the next errand comes, or the link is stopped. To be asked for before {@link run}. */
  undisturbed(): AbortSignal;
  /** Does what waits. Never rejects. */
  run(witness: Witness): Promise<void>;
  /** Nothing will be run any more. */
  close(): void;
}

interface Errand {
  readonly work: (witness: Witness) => Promise<void>;
  readonly refuse: (error: AppError) => void;
}

export function createErrands(stopping: AbortSignal): Errands {
  let waiting: Errand[] = [];
  let closed = false;
  let disturbance = new AbortController();
  stopping.addEventListener('abort', () => disturbance.abort(), { once: true });
  const stopped = () => new AppError('state.conflict', 'the agent is stopping', { retryable: true });
  return {
    add: (work) =>
      new Promise((resolve, reject) => {
        if (closed || stopping.aborted) return reject(stopped());
        waiting.push({ work: (witness) => work(witness).then(resolve, reject), refuse: reject });
        disturbance.abort();
      }),
    undisturbed: () => {
      if (!stopping.aborted) disturbance = new AbortController();
      return disturbance.signal;
    },
    run: async (witness) => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await next.work(witness);
    },
    close: () => {
      closed = true;
      for (const { refuse } of waiting) refuse(stopped());
      waiting = [];
    },
  };
}
