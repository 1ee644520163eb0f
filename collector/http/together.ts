/**
 * `work`, done once for all who ask for it at a time: one run is under way, and whoever asks meanwhile shares the run after
 * it. Nobody gets what was begun before he asked.
 */
export function together<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  let following: Promise<T> | undefined;
  const begin = (): Promise<T> => {
    const run = work().finally(() => {
      if (running === run) running = undefined;
    });
    running = run;
    return run;
  };
  const afterwards = async (current: Promise<T>): Promise<T> => {
    await current.catch(() => {});
    following = undefined;
    return begin();
  };
  return () => {
    if (running === undefined) return begin();
    following ??= afterwards(running);
    return following;
  };
}
