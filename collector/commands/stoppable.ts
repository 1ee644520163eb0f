import { AppError } from '../../common/errors.ts';
import type { CommandContext } from './context.ts';

type Progress = (done: number, of: number) => void;

/** As `progress`, and ends the work by an error once the program was asked to stop. */
export function untilStopped({ stopRequested }: Pick<CommandContext, 'stopRequested'>, progress: Progress): Progress {
  let reason: string | undefined;
  void stopRequested.then((signal) => {
    reason = signal;
  });
  return (done, of) => {
    progress(done, of);
    if (reason !== undefined) throw new AppError('state.conflict', `stopped by ${reason}; nothing was changed`);
  };
}
