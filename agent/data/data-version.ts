import { join } from 'node:path';
import { dataVersionFile, maxDataVersionBytes, versionToRecord } from '../../common/data-version.ts';
import { AppError, errnoOf } from '../../common/errors.ts';
import { version } from '../../common/version.ts';
import { writeDurably } from './durable-file.ts';
import { readBounded } from './plain-file.ts';

/**
 * Records that this version writes the data directory from now on; before anything in it is opened.
 * @throws AppError `state.conflict` when a later version has written it
 */
export async function claimDataDir(dataDir: string, running = version): Promise<void> {
  const path = join(dataDir, dataVersionFile);
  const recorded = await recordedIn(path);
  const record = versionToRecord(dataDir, recorded, running);
  // A disk that is full must not keep the agent from starting; only what it writes later is then not told apart.
  if (record !== undefined) await writeDurably(path, record).catch(ignoreFullDisk);
}

async function recordedIn(path: string): Promise<string | undefined> {
  try {
    return (await readBounded(path, maxDataVersionBytes)) ?? '';
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw new AppError('validation.config', `cannot read ${path} (${errnoOf(thrown)})`, { cause: thrown });
  }
}

function ignoreFullDisk(thrown: unknown): void {
  if (!['ENOSPC', 'EDQUOT'].includes(errnoOf(thrown) ?? '')) throw thrown;
}
