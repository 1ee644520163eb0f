import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { AppError, errnoOf } from '../../common/errors.ts';
import type { CommandOutput } from './context.ts';

/** On a command line everybody on the machine could read it. The end of its line is not part of it. */
export async function readPasswordFile(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AppError('validation.request', `--password-file ${path} cannot be read (${errnoOf(cause)})`, { cause });
  });
  return text.replace(/\r?\n$/, '');
}

/**
 * Asked for on the terminal, without showing what is typed; or the password of the file.
 * @throws AppError `validation.request` where there is neither.
 */
export async function askForPassword(
  question: string,
  stderr: CommandOutput,
  file: string | undefined,
): Promise<string> {
  if (file !== undefined) return readPasswordFile(file);
  if (!process.stdin.isTTY) {
    throw new AppError('validation.request', 'give --password-file FILE: there is no terminal to ask on');
  }
  stderr.write(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await terminal.question('');
  } finally {
    terminal.close();
    stderr.write('\n');
  }
}

/** Asked for on the terminal. @throws AppError `validation.request` where there is none. */
export async function ask(question: string, stderr: CommandOutput, otherwise: string): Promise<string> {
  if (!process.stdin.isTTY) throw new AppError('validation.request', otherwise);
  const terminal = createInterface({ input: process.stdin, output: stderr });
  try {
    return (await terminal.question(question)).trim();
  } finally {
    terminal.close();
  }
}
