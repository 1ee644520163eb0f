import { type AppError, toAppError } from '../../common/errors.ts';

/**
 * One thing that is stuck is that thing's trouble. As many timeouts as run side by side mean that the engine is gone, and
 * waiting out the timeout for each of the rest would cost minutes: they fail at once, with the same error.
 */
export function givingUp<T>(ask: (id: string) => Promise<T>, after: number): (id: string) => Promise<T> {
  let unreachable = 0;
  let gaveUp: AppError | undefined;
  return async (id) => {
    if (gaveUp !== undefined) throw gaveUp;
    try {
      return await ask(id);
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'engine.unreachable') unreachable += 1;
      if (unreachable >= after) gaveUp = error;
      throw error;
    }
  };
}
