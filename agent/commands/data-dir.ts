import { stat } from 'node:fs/promises';
import { AppError } from '../../common/errors.ts';

/** @throws AppError `validation.config` when there is no such folder. */
export async function requireDataDir(dataDir: string): Promise<void> {
  const found = await stat(dataDir).catch(() => undefined);
  if (found?.isDirectory() !== true) throw new AppError('validation.config', `${dataDir} does not exist`);
}
