import { errnoOf } from './errors.ts';
import { exitCodes } from './exit-codes.ts';

/** How a program ends whose standard output takes no more. */
export interface LostOutput {
  /** Undefined for what it would have been anyway. */
  readonly exitCode: number | undefined;
  /** For standard error; empty when there is nothing to say. */
  readonly message: string;
}

/** A command whose result nobody got is not done, except that whoever reads may have seen enough, as `head` has. */
export function lostOutput(error: unknown): LostOutput {
  const errno = errnoOf(error);
  if (errno === 'EPIPE') return { exitCode: undefined, message: '' };
  const why = errno === 'ENOSPC' ? 'no space is left (ENOSPC)' : (errno ?? String(error));
  return { exitCode: exitCodes.refused, message: `standard output cannot be written: ${why}; the result is lost\n` };
}

/** Resolves when all that was written to `stream` is out, or it was told that it is not: ending before that would hide it. */
export function flushed(stream: { write(text: string, done: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => {
    // Errors are told after the callbacks of writes.
    stream.write('', () => setImmediate(resolve));
  });
}
