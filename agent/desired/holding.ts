import type { Holding } from '../../common/protocol.ts';

/**
 * What this node has of the desired state, for the collector to hand over no more than is missing. Stands between the agent, which
 * knows it, and the link, which is there first.
 */
export interface HoldingBoard {
  /** Undefined while it is not known yet. */
  readonly current: Holding | undefined;
  /** What is so already is not told again. */
  put(holding: Holding): void;
  /** Calls `listener` after every change. @returns the function that ends it. */
  onChange(listener: () => void): () => void;
}

export function createHoldingBoard(): HoldingBoard {
  const listeners = new Set<() => void>();
  let current: Holding | undefined;
  return {
    get current() {
      return current;
    },
    put: (holding) => {
      const { commit, base, takes } = holding;
      if (current?.commit === commit && current.base === base && current.takes === takes) return;
      current = holding;
      for (const listener of listeners) listener();
    },
    onChange: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
