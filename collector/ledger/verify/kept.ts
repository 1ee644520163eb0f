import { openCheckpoint } from '../../../common/checkpoint.ts';
import { AppError, toAppError } from '../../../common/errors.ts';
import type { Logger } from '../../../common/log.ts';
import type { VerifierKey } from '../../../common/note.ts';
import { checkpointPath, fsCheckpointFile } from '../fs-checkpoint-file.ts';
import type { KeptTree } from './verify.ts';

/** A checkpoint from outside the database. @throws AppError when the log's key has not signed it. */
export function openKept(name: string, note: string, key: VerifierKey): KeptTree {
  try {
    const { size, root } = openCheckpoint(note, key).checkpoint;
    return { name, size, root };
  } catch (thrown) {
    const { code, message } = toAppError(thrown);
    throw new AppError(code, `${name} is no checkpoint of this ledger, or was changed: ${message}`, { cause: thrown });
  }
}

/**
 * The newest one that was published from this data directory; undefined when none was.
 * @throws AppError `ledger.checkpoint_file`, and as {@link openKept}.
 */
export async function newestKept(dataDir: string, key: VerifierKey, logger: Logger): Promise<KeptTree | undefined> {
  const path = checkpointPath(dataDir);
  const note = await fsCheckpointFile(path, logger).read();
  return note === undefined ? undefined : openKept(path, note, key);
}
