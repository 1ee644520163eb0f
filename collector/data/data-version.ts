import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dataVersionFile, versionToRecord } from '../../common/data-version.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { version } from '../../common/version.ts';
import { ensureDataDir } from './data-dir.ts';
import { replaceFile } from './durable-file.ts';

/**
 * Records that this version writes the data directory from now on; before anything in it is opened. The database of a later
 * version is told by its migrations, wherever it is.
 * @throws AppError `state.conflict` when a later version has written it; `validation.config`.
 */
export async function claimDataDir(dataDir: string, running = version): Promise<void> {
  await ensureDataDir(dataDir);
  const path = join(dataDir, dataVersionFile);
  const record = versionToRecord(dataDir, await recordedIn(path), running);
  if (record === undefined) return;
  await replaceFile(path, record, 0o644).catch((cause: unknown) => {
    throw new AppError('validation.config', `cannot write ${path} (${errnoOf(cause)})`, { cause });
  });
}

async function recordedIn(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw new AppError('validation.config', `cannot read ${path} (${errnoOf(thrown)})`, { cause: thrown });
  }
}
