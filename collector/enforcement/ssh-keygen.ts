import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppError, errnoOf } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import { type Approval, approvalNamespace } from '../../common/order.ts';

/** What became of a signature: whether it is the approver's over the text, and why not. */
export type SignatureVerdict = { readonly holds: true } | { readonly holds: false; readonly reason: string };

/**
 * Checks signatures of approvers over a text. Says no for whatever is wrong with a signature.
 * @throws AppError `state.conflict` when nobody's signatures can be checked here.
 */
export type CheckSignature = (approval: Approval, text: string) => Promise<SignatureVerdict>;

/** Where system commands live; the environment is read by the program's entry alone. */
const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Paths of what OpenSSH judges signatures by. */
export interface SignerFiles {
  /** The `allowed_signers` file; without it nobody's signatures can be checked. */
  readonly allowedSigners?: string | undefined;
  /** Keys that sign nothing any more. While that file cannot be read, no signature holds. */
  readonly revokedSigners?: string | undefined;
}

/**
 * Through `ssh-keygen -Y verify`.
 * @param namespace what the signature has to be for.
 */
export function sshSignatures(
  { allowedSigners, revokedSigners }: SignerFiles,
  namespace = approvalNamespace,
): CheckSignature {
  return async ({ approver, signature }, text) => {
    if (allowedSigners === undefined) {
      throw new AppError(
        'state.conflict',
        'this collector knows no signers: name the allowed_signers file that the nodes have in its settings',
      );
    }
    const folder = await mkdtemp(join(tmpdir(), 'sigilwatch-signature-'));
    try {
      const file = join(folder, 'signature');
      await writeFile(file, signature, { mode: 0o600 });
      const args = ['-Y', 'verify', '-f', allowedSigners, '-I', approver, '-n', namespace, '-s', file];
      const revocation = revokedSigners === undefined ? [] : ['-r', revokedSigners];
      const ran = await sshKeygen([...args, ...revocation], { input: text, timeoutMs: limits.sshVerifyTimeoutMs });
      return ran.ok ? { holds: true } : { holds: false, reason: ran.reason };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
}

/**
 * Signs as an approver would, with the key in a file; asks for its passphrase on the terminal.
 * @param namespace what the signature is for.
 * @returns the signature in its armour.
 * @throws AppError `auth.key_file` when the key cannot be used.
 */
export async function signWithKeyFile(keyFile: string, text: string, namespace = approvalNamespace): Promise<string> {
  const args = ['-Y', 'sign', '-f', keyFile, '-n', namespace];
  const ran = await sshKeygen(args, { input: text, timeoutMs: limits.sshSignTimeoutMs });
  if (ran.ok) return ran.stdout;
  throw new AppError('auth.key_file', `the key in ${keyFile} does not sign: ${ran.reason}`);
}

type Ran = { readonly ok: true; readonly stdout: string } | { readonly ok: false; readonly reason: string };

/** @throws AppError `state.conflict` when the command is not there or does not answer. */
function sshKeygen(args: readonly string[], { input, timeoutMs }: { input: string; timeoutMs: number }): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, maxBuffer: 64 * 1024, env: { PATH: commandPath, LC_ALL: 'C' } };
    const child = execFile('ssh-keygen', [...args], options, (error, stdout, stderr) => {
      if (error === null) return resolve({ ok: true, stdout });
      const problem = unusable(error, timeoutMs);
      if (problem !== undefined) return reject(problem);
      const [line = ''] = stderr.trim().split('\n').slice(-1);
      return resolve({ ok: false, reason: (line || stdout.trim()).slice(0, limits.maxForeignTextChars) });
    });
    // It may have given up on its arguments before it reads.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

function unusable(error: Error, timeoutMs: number): AppError | undefined {
  const fail = (why: string) => new AppError('state.conflict', `ssh-keygen ${why}`, { cause: error });
  if (errnoOf(error) === 'ENOENT') return fail('is not installed here: install openssh-client');
  if ('killed' in error && error.killed === true) return fail(`did not answer within ${timeoutMs} ms`);
  return errnoOf(error) === undefined ? undefined : fail(`cannot be run (${errnoOf(error)})`);
}
