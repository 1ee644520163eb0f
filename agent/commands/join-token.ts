import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { AppError, errnoOf } from '../../common/errors.ts';

/** In place of the name of a file: standard input. */
const standardInput = '-';

export interface JoinTokenFlags {
  readonly token?: string;
  readonly tokenFile?: string;
}

/**
 * The join token, from the command line or from a file, which others on this machine do not see as they see a command line.
 * @throws AppError `validation.request` when there is none, or two, or the file cannot be read
 */
export async function readJoinToken({ token, tokenFile }: JoinTokenFlags): Promise<string> {
  if ((token === undefined) === (tokenFile === undefined)) {
    throw new AppError('validation.request', 'enroll takes a join token: by --token, or by --token-file');
  }
  if (token !== undefined) return token;
  if (tokenFile === standardInput) return (await text(process.stdin)).trim();
  return readFile(tokenFile ?? '', 'utf8').then(
    (read) => read.trim(),
    (cause: unknown) => {
      throw new AppError('validation.request', `--token-file ${tokenFile} cannot be read (${errnoOf(cause)})`, {
        cause,
      });
    },
  );
}
