import { chown, mkdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../../common/errors.ts';
import { count } from '../../common/fields.ts';
import { limits } from '../../common/limits.ts';
import { replaceFile } from '../data/durable-file.ts';
import { unwritable } from './files.ts';

const schema = z.strictObject({ v: z.literal(1), sizes: z.array(count) });

/**
 * Sizes of the checkpoints that return bundles brought to a node, newest last: it may hold any of them when the next one comes. Where
 * they are lost, a node whose bundles crossed has to export once more.
 */
export interface Returned {
  sizes(node: string): Promise<readonly number[]>;
  /** Resolved means on disk. */
  add(node: string, size: number): Promise<void>;
}

export function fsReturned(dataDir: string): Returned {
  const folder = join(dataDir, 'air-gap');
  const pathOf = (node: string): string => join(folder, `${node}.json`);

  async function sizes(node: string): Promise<readonly number[]> {
    try {
      return schema.parse(JSON.parse(await readFile(pathOf(node), 'utf8'))).sizes;
    } catch (thrown) {
      if (errnoOf(thrown) === 'ENOENT' || thrown instanceof SyntaxError || thrown instanceof z.ZodError) return [];
      throw thrown;
    }
  }

  /** Commands may be run as root, the collector is not. */
  async function giveAway(path: string): Promise<void> {
    const { uid, gid } = await stat(dataDir);
    if ((await stat(path)).uid !== uid) await chown(path, uid, gid);
  }

  return {
    sizes,
    add: async (node, size) => {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await giveAway(folder);
      const others = (await sizes(node)).filter((one) => one !== size);
      const kept = [...others, size].slice(-limits.maxReturnedCheckpoints);
      const path = pathOf(node);
      await replaceFile(path, `${JSON.stringify({ v: 1, sizes: kept })}\n`).catch((cause: unknown) =>
        Promise.reject(unwritable(path, cause)),
      );
      await giveAway(path);
    },
  };
}
