import { fork } from 'node:child_process';
import { once } from 'node:events';
import { lstat, readlink } from 'node:fs/promises';
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { AppError, errorCodes } from '../../common/errors.ts';
import { type Named, placeOutOfReach } from '../../common/out-of-reach.ts';
import { ownerBesidesRoot } from './data-dir.ts';
import { writeNewFile } from './new-file.ts';

/** Beside this file in the source, which Node needs help to read, and beside the program in the build. */
const [programFile, execArgv] = import.meta.url.endsWith('.ts')
  ? [new URL('./file-writer-program.ts', import.meta.url), ['--import', 'tsx']]
  : [new URL('./file-writer.js', import.meta.url), []];

export type WriteFile = typeof writeNewFile;

/** What the process that writes a file is told, once it has been handed the whole of it. */
export const wholeMessage = 'whole';

/** What it says at the end. */
export const writerAnswer = z.union([
  z.strictObject({ written: z.literal(true) }),
  z.strictObject({ code: z.enum(errorCodes), message: z.string() }),
]);
export type WriterAnswer = z.infer<typeof writerAnswer>;

/**
 * Has `work` write the new files that whoever runs a command has named. Root gives itself up on the way for the owner of the data
 * directory ({@link becomeOwner}), who may not write where root may; so each file that this owner could not lead astray is written by
 * a process that stays root, does nothing else, and is begun before. All others are written as the owner.
 * @param paths of the files, undefined for none
 * @throws what `work` throws; the writing as {@link writeNewFile}
 */
export async function withNamedFiles<T>(
  dataDir: string,
  paths: readonly (string | undefined)[],
  work: (write: WriteFile) => Promise<T>,
): Promise<T> {
  const owner = await ownerBesidesRoot(dataDir);
  const writers = new Map<string, FileWriter>();
  try {
    for (const path of paths) {
      const place =
        path === undefined || owner === undefined
          ? undefined
          : await placeOutOfReach(owner.uid, absolute(path), lookAt);
      if (path !== undefined && place !== undefined) writers.set(path, beginWriter(place));
    }
    return await work((path, pieces) => writers.get(path)?.write(pieces) ?? writeNewFile(path, pieces));
  } finally {
    for (const writer of writers.values()) await writer.end();
  }
}

/** As the kernel reads it: what `..` leads to after a link is not for us to work out. */
function absolute(path: string): string {
  return isAbsolute(path) ? path : `${process.cwd()}/${path}`;
}

async function lookAt(path: string): Promise<Named | undefined> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  const { uid, mode } = found;
  if (found.isSymbolicLink()) return { kind: 'link', uid, mode, target: await readlink(path) };
  return { kind: found.isDirectory() ? 'folder' : 'other', uid, mode };
}

interface FileWriter {
  write(pieces: AsyncIterable<string> | Iterable<string>): Promise<void>;
  /** Nothing is left of a file that is not whole. Never rejects. */
  end(): Promise<void>;
}

function beginWriter(path: string): FileWriter {
  const child = fork(programFile, [path], { execArgv, stdio: ['pipe', 'ignore', 'inherit', 'ipc'] });
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  const written = new Promise<void>((resolve, reject) => {
    child.once('message', (said) => {
      const answer = writerAnswer.safeParse(said);
      if (!answer.success) return reject(broken(path));
      if ('written' in answer.data) return resolve();
      reject(new AppError(answer.data.code, answer.data.message));
    });
    child.once('error', (cause) => reject(broken(path, cause)));
    child.once('exit', () => reject(broken(path)));
  });
  // Whoever writes nothing asks for nothing.
  written.catch(() => {});
  const { stdin } = child;
  // That it takes no more is told by what it says, or by its end.
  stdin?.on('error', () => {});
  return {
    write: async (pieces) => {
      for await (const piece of pieces) {
        if (stdin?.write(piece) === false) await Promise.race([once(stdin, 'drain').catch(() => written), written]);
      }
      stdin?.end();
      if (child.connected) child.send(wholeMessage);
      await written;
    },
    end: async () => {
      if (child.connected) child.disconnect();
      stdin?.destroy();
      await exited;
    },
  };
}

function broken(path: string, cause?: unknown): AppError {
  return new AppError('internal.error', `cannot write ${path}: the process that writes it has ended`, { cause });
}
