import { AppError } from '../../common/errors.ts';

/** A connection as far as the question "who speaks for this node" goes. */
export interface Speaker {
  /** The connection has ended, or is being ended. */
  readonly over: boolean;
  /** Asks for a sign of life and waits for it for a bounded time. */
  isAlive(): Promise<boolean>;
  end(error: AppError): void;
}

/** Who speaks for each node: at most one connection, since an author chain has one writer. */
export interface Registry<S extends Speaker> {
  /**
   * Makes `speaker` the one of `node`, in place of one that no longer answers.
   * @throws AppError `state.conflict` (retryable) while another one is alive.
   */
  claim(node: string, speaker: S): Promise<void>;
  /** No effect unless `speaker` is the one of `node`. */
  release(node: string, speaker: S): void;
  of(node: string): S | undefined;
  all(): ReadonlyMap<string, S>;
}

export function createRegistry<S extends Speaker>(): Registry<S> {
  const speakers = new Map<string, S>();
  return {
    claim: async (node, speaker) => {
      const incumbent = speakers.get(node);
      if (incumbent !== undefined) {
        if (await incumbent.isAlive()) throw taken(node);
        incumbent.end(new AppError('state.conflict', `another session of ${node} took over`, { retryable: true }));
      }
      // While the incumbent was being asked, somebody else may have come first, or the newcomer may have left.
      const current = speakers.get(node);
      if ((current !== undefined && current !== incumbent) || speaker.over) throw taken(node);
      speakers.set(node, speaker);
    },
    release: (node, speaker) => {
      if (speakers.get(node) === speaker) speakers.delete(node);
    },
    of: (node) => speakers.get(node),
    all: () => speakers,
  };
}

function taken(node: string): AppError {
  return new AppError(
    'state.conflict',
    `another agent with the key of ${node} is connected; if its key file was copied to a second machine, enrol that one anew`,
    { retryable: true },
  );
}
