/** A pause that lets other work go first now and then, in the same way for the same seed. */
export function unevenPause(seed: number): () => Promise<void> {
  let state = seed;
  return async () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    for (let turns = state >>> 30; turns > 0; turns--) await new Promise(setImmediate);
  };
}

/** Lets milliseconds pass as turns of the event loop: the same course of events every time, and nobody waits for a clock. */
export async function turnsForMs(ms: number): Promise<void> {
  for (let turns = ms; turns > 0; turns--) await new Promise(setImmediate);
}
