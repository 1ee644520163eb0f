import { readDotenv } from './dotenv.ts';
import { manifestError } from './mistake.ts';
import { cleanPath } from './spelling.ts';

export const maxEnvFileChars = 1024 * 1024;

/** A file's text by its path from the root of the repository, or undefined when it is not there. */
export type ReadFile = (path: string) => string | undefined;

/** A path relative to a file, from the root of the repository; undefined when it leads out of it or is none. */
export function beside(file: string, path: string): string | undefined {
  if (/^[/~]/.test(path)) return undefined;
  const clean = cleanPath(`${file.slice(0, file.lastIndexOf('/') + 1)}./${path}`);
  return clean.startsWith('./') ? clean.slice(2) : undefined;
}

/**
 * The variables that an env file sets, or undefined when it is not there.
 * @throws AppError `validation.manifest` with the place in the env file
 */
export function readEnvFile(
  path: string,
  readFile: ReadFile,
  known: ReadonlyMap<string, string>,
): ReadonlyMap<string, string> | undefined {
  const text = readFile(path);
  if (text === undefined) return undefined;
  const refused = (line: number, column: number, reason: string) => manifestError({ file: path, line, column, reason });
  if (text.length > maxEnvFileChars) throw refused(1, 1, `longer than ${maxEnvFileChars} characters`);
  const reading = readDotenv(text, known);
  if (!reading.ok) throw refused(reading.line, reading.column, reading.reason);
  return reading.variables;
}
