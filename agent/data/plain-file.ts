import { constants, type FileHandle, open } from 'node:fs/promises';

/**
 * The text of a plain file; undefined for anything else, and for a longer one.
 * @throws the file system's error
 */
export async function readBounded(path: string, maxBytes: number): Promise<string | undefined> {
  // O_NONBLOCK: whoever puts a FIFO here must not make us wait for its other end.
  const file: FileHandle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  try {
    const found = await file.stat();
    return found.isFile() && found.size <= maxBytes ? await file.readFile('utf8') : undefined;
  } finally {
    await file.close();
  }
}
