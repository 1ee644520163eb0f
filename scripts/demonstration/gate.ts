/** Lets work pass until it is closed. */
export interface Gate {
  /** @throws once the gate is closed */
  pass<T>(work: () => Promise<T>): Promise<T>;
  /** Resolves when all work that has passed is done, well or not. */
  close(): Promise<void>;
}

export function openGate(): Gate {
  const underWay = new Set<Promise<unknown>>();
  let open = true;
  return {
    pass: async (work) => {
      if (!open) throw new Error('the demo is ending');
      const working = work();
      underWay.add(working);
      try {
        return await working;
      } finally {
        underWay.delete(working);
      }
    },
    close: async () => {
      open = false;
      await Promise.allSettled(underWay);
    },
  };
}
