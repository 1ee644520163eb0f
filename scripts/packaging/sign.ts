import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { PackagingError } from './failure.ts';

const run = promisify(execFile);

/** What the signature is for (`ssh-keygen -n`), so that it cannot be taken for one that was made for something else. */
export const signatureNamespace = 'sigilwatch-release';

/** Writes `FILE.sig`, which `ssh-keygen -Y verify` accepts. @throws PackagingError with what ssh-keygen says */
export async function signFile(path: string, key: string): Promise<void> {
  // It asks before it replaces one.
  await rm(`${path}.sig`, { force: true });
  try {
    await run('ssh-keygen', ['-Y', 'sign', '-n', signatureNamespace, '-f', key, path]);
  } catch (thrown) {
    const said = thrown instanceof Error && 'stderr' in thrown ? String(thrown.stderr).trim() : String(thrown);
    throw new PackagingError(`${path} could not be signed with ${key}: ${said}`);
  }
}

/**
 * Whose signature lies beside a file, as ssh-keygen calls the key (`ED25519 key SHA256:...`); undefined where there is none, or it is not
 * of what is in the file. Whether that key is to be believed is another question.
 */
export async function signerOf(path: string): Promise<string | undefined> {
  const check = `exec ssh-keygen -Y check-novalidate -n "$1" -s "$2.sig" <"$2"`;
  const said = await run('sh', ['-c', check, 'sh', signatureNamespace, path]).catch(() => undefined);
  return said === undefined ? undefined : /signature with (.*)/.exec(said.stdout)?.[1];
}
