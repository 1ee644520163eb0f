import { access, constants, mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import { makeFolder } from './durable-file.ts';

/**
 * Makes the data directory, closed to others, if it is not there.
 * @throws AppError `validation.config` when it cannot be made or written, naming it and the reason.
 */
export async function ensureDataDir(dataDir: string): Promise<void> {
  try {
    // Its parents are nobody's secret: closed, they would keep the database's own user out.
    await mkdir(dirname(resolve(dataDir)), { recursive: true });
    await makeFolder(dataDir);
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    throw new AppError(
      'validation.config',
      `the data directory ${dataDir} cannot be used (${errnoOf(cause)}); let it belong to the collector's user, or name another with --data-dir`,
      { cause, details: { dataDir } },
    );
  }
}

/**
 * Root becomes the owner of the data directory, for good: what a command leaves there has to be the collector's to read and write,
 * and the embedded database is its owner's to start. Without effect for everybody else, and where root is the owner.
 */
export async function becomeOwner(dataDir: string): Promise<void> {
  const owner = await ownerBesidesRoot(dataDir);
  if (owner === undefined) return;
  process.setgid?.(owner.gid);
  process.setgroups?.([owner.gid]);
  process.setuid?.(owner.uid);
}

/** Who {@link becomeOwner} makes of this process; undefined where it stays what it is. */
export async function ownerBesidesRoot(
  dataDir: string,
): Promise<{ readonly uid: number; readonly gid: number } | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  const owner = await stat(dataDir).catch(() => undefined);
  return owner === undefined || owner.uid === 0 ? undefined : owner;
}
