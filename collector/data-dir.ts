import { access, constants, mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { AppError, errnoOf } from '../common/errors.ts';

/**
 * Makes the data directory, closed to others, if it is not there.
 * @throws AppError `validation.config` when it cannot be made or written, naming it and the reason.
 */
export async function ensureDataDir(dataDir: string): Promise<void> {
  try {
    // Its parents are nobody's secret: closed, they would keep the database's own user out.
    await mkdir(dirname(resolve(dataDir)), { recursive: true });
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new AppError(
      'validation.config',
      `the data directory ${dataDir} cannot be used (${errnoOf(cause)}); let it belong to the collector's user, or name another with --data-dir`,
      { cause, details: { dataDir } },
    );
  }
}
