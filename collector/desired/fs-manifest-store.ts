import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import type { Logger } from '../../common/log.ts';
import { replaceFile } from '../data/durable-file.ts';
import { keptManifest, type ManifestStore } from './follower.ts';

/** Keeps the manifest in force in a file of the data directory, readable by its owner only. */
export function fsManifestStore(dataDir: string, logger: Logger): ManifestStore {
  const path = join(dataDir, 'desired.json');
  return {
    load: async () => {
      try {
        return keptManifest.parse(JSON.parse(await readFile(path, 'utf8')));
      } catch (thrown) {
        // The repository has it all; until it is read, there is no manifest.
        if (errnoOf(thrown) !== 'ENOENT') logger.error('manifest.not_kept', { path, reason: String(thrown) });
        return undefined;
      }
    },
    save: async (kept) => {
      try {
        await replaceFile(path, JSON.stringify(kept));
      } catch (cause) {
        throw new AppError('validation.config', `${path} cannot be written (${errnoOf(cause)})`, { cause });
      }
    },
  };
}
