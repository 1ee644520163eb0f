import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errnoOf } from '../../../common/errors.ts';
import { type VerifiedPart, verifiedPartSchema } from './state.ts';

/** Whoever may write it decides what a resumed run believes. */
const fileMode = 0o600;

export function verifyStatePath(dataDir: string): string {
  return join(dataDir, 'ledger-verify.json');
}

/** @returns undefined when there is none. @throws AppError `state.conflict` for a file that is not one of these. */
export async function readVerifiedPart(path: string): Promise<VerifiedPart | undefined> {
  const text = await readFile(path, 'utf8').catch((thrown: unknown) => {
    if (errnoOf(thrown) === 'ENOENT') return undefined;
    throw unusable(path, errnoOf(thrown) ?? String(thrown), thrown);
  });
  if (text === undefined) return undefined;
  const parsed = verifiedPartSchema.safeParse(jsonOrUndefined(text));
  if (parsed.success) return parsed.data;
  throw unusable(path, 'it was not written by a verification of this version', parsed.error);
}

/** Whole or not at all, also when the program is killed meanwhile. */
export async function writeVerifiedPart(path: string, part: VerifiedPart): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, JSON.stringify(part), { mode: fileMode });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {});
    throw new AppError('state.conflict', `the progress file ${path} cannot be written (${errnoOf(cause)})`, { cause });
  }
}

export async function removeVerifiedPart(path: string): Promise<void> {
  await rm(path, { force: true });
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unusable(path: string, why: string, cause: unknown): AppError {
  const message = `the interrupted verification in ${path} cannot be continued: ${why}; start from the beginning, without --resume`;
  return new AppError('state.conflict', message, { cause, details: { path } });
}
