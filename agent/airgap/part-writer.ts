import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

import type { BundlePart } from '../../common/bundle/manifest.ts';
import { nameDurably, unwritable } from './files.ts';

export const partSuffix = '.entries';

export function partName(number: number): string {
  return `part-${String(number).padStart(6, '0')}${partSuffix}`;
}

/** A part that is being written under another name than its own. */
export interface PartWriter {
  readonly sizeBytes: number;
  /** Number of the last entry in it. */
  readonly last: number;
  add(line: Buffer, seq: number): Promise<void>;
  /** Resolves when it is on disk, whole, and has its name. */
  close(): Promise<BundlePart>;
  /** Leaves what was written under the other name, for nobody. */
  abandon(): Promise<void>;
}

/** @throws AppError `state.conflict` when it cannot be written: no room, no permission, the stick is gone. */
export async function createPart(folder: string, number: number, first: number): Promise<PartWriter> {
  const file = partName(number);
  const path = join(folder, file);
  const temporary = `${path}.tmp`;
  const refuse = (cause: unknown) => Promise.reject(unwritable(path, cause));
  const handle = await open(temporary, 'w', 0o644).catch(refuse);
  const digest = createHash('sha256');
  let sizeBytes = 0;
  let last = first - 1;
  return {
    get sizeBytes() {
      return sizeBytes;
    },
    get last() {
      return last;
    },
    add: async (line, seq) => {
      digest.update(line);
      sizeBytes += line.length;
      last = seq;
      await handle.appendFile(line).catch(refuse);
    },
    close: async () => {
      await handle
        .sync()
        .finally(() => handle.close())
        .catch(refuse);
      await nameDurably(temporary, path);
      return { file, sizeBytes, sha256: digest.digest('hex'), first, last };
    },
    abandon: () => handle.close(),
  };
}
