import { randomUUID } from 'node:crypto';
import { constants, type FileHandle, open, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errnoOf } from '../../../common/errors.ts';
import { ownerOnlyMode } from '../../data/durable-file.ts';

/** A file of the agent's own that grows at its end. What the disk refuses is `state.conflict`: it is no fault of a store. */
export class ByteFile {
  private readonly handle: FileHandle;
  private readonly path: string;
  private size: number;

  constructor(handle: FileHandle, path: string, size = 0) {
    this.handle = handle;
    this.path = path;
    this.size = size;
  }

  get bytes(): number {
    return this.size;
  }

  /** When it was last written to, Unix milliseconds. @throws AppError `state.conflict` */
  async writtenMs(): Promise<number> {
    return refusing(this.path, async () => (await this.handle.stat()).mtimeMs);
  }

  /** @throws AppError `state.conflict` */
  async append(bytes: Buffer): Promise<void> {
    await refusing(this.path, async () => {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.handle.write(bytes, done, bytes.length - done, this.size);
        done += bytesWritten;
        this.size += bytesWritten;
      }
    });
  }

  /** Fills `target` from there on, as far as the file goes. @throws AppError `state.conflict` */
  async read(target: Buffer, position: number): Promise<number> {
    return refusing(this.path, async () => {
      let done = 0;
      while (done < target.length) {
        const { bytesRead } = await this.handle.read(target, done, target.length - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return done;
    });
  }

  /** @throws AppError `state.conflict` */
  async sync(): Promise<void> {
    await refusing(this.path, () => this.handle.sync());
  }

  async close(): Promise<void> {
    await this.handle.close().catch(() => {});
  }
}

const spillName = /^[0-9a-f-]{36}\.spill$/;

/**
 * A file without a name, which is gone when it is closed, or whoever opened it is. A kill between the two calls leaves an empty one,
 * which the next caller removes; another's is only robbed of a name that it is about to give up.
 * @throws AppError `state.conflict`
 */
export async function namelessFile(folder: string): Promise<ByteFile> {
  return refusing(folder, async () => {
    await removeSpills(folder);
    const path = join(folder, `${randomUUID()}.spill`);
    const handle = await open(path, 'wx+', ownerOnlyMode);
    await unlinkIfThere(path);
    return new ByteFile(handle, path);
  });
}

/** Removes what kills have left of {@link namelessFile}. @throws AppError `state.conflict` */
export async function removeSpills(folder: string): Promise<void> {
  await refusing(folder, async () => {
    for (const name of await readdir(folder)) if (spillName.test(name)) await unlinkIfThere(join(folder, name));
  });
}

/** A new, empty file at that path, whatever was there. @throws AppError `state.conflict` */
export async function emptyFile(path: string): Promise<ByteFile> {
  return refusing(path, async () => {
    await unlinkIfThere(path);
    return new ByteFile(await open(path, 'wx+', ownerOnlyMode), path);
  });
}

/** The plain file at that path; null when there is none. @throws AppError `state.conflict` */
export async function presentFile(path: string): Promise<ByteFile | null> {
  return refusing(path, async () => {
    // O_NONBLOCK: a FIFO that somebody put here must not make us wait for its other end.
    const quietly = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW;
    const handle = await open(path, quietly).catch((cause: unknown) => {
      if (errnoOf(cause) === 'ENOENT') return null;
      throw cause;
    });
    if (handle === null) return null;
    const found = await handle.stat();
    if (found.isFile()) return new ByteFile(handle, path, found.size);
    await handle.close();
    throw new AppError('state.conflict', `${path} is not a plain file`);
  });
}

/** @throws AppError `state.conflict` in place of the file system's errors */
export async function refusing<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('state.conflict', `cannot use ${path}: ${errnoOf(cause) ?? String(cause)}`, { cause });
  }
}

export async function unlinkIfThere(path: string): Promise<void> {
  await unlink(path).catch((cause: unknown) => {
    if (errnoOf(cause) !== 'ENOENT') throw cause;
  });
}
