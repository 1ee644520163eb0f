import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { limits } from '../../common/limits.ts';
import { type Approval, approvalNamespace, approvalText } from '../../common/order.ts';

/** Names of those who have approved an order, as far as their signatures hold; two names with one key count once. */
export type VerifyApprovals = (hash: string, approvals: readonly Approval[]) => Promise<readonly string[]>;

/**
 * Approvals by the `allowed_signers` file of this node, checked by `ssh-keygen -Y verify`, which knows every kind of key there is,
 * and honours the file's namespaces and times. Without a file nobody can approve anything.
 * @param revokedSigners keys that sign nothing any more; while that file cannot be read, nobody can approve anything either.
 */
export function sshApprovals(allowedSigners: string | undefined, revokedSigners?: string): VerifyApprovals {
  return async (hash, approvals) => {
    if (allowedSigners === undefined || approvals.length === 0) return [];
    const dir = await mkdtemp(join(tmpdir(), 'sigilwatch-approval-'));
    try {
      const keys = new Map<string, string>();
      for (const approval of approvals.slice(0, limits.maxApprovals)) {
        const key = await verified(approval, { hash, allowedSigners, revokedSigners, file: join(dir, 'signature') });
        if (key !== undefined && !keys.has(key)) keys.set(key, approval.approver);
      }
      return [...new Set(keys.values())];
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  };
}

interface Checked {
  readonly hash: string;
  readonly allowedSigners: string;
  readonly revokedSigners: string | undefined;
  readonly file: string;
}

/** Fingerprint of the key that has signed; undefined when the signature does not hold. */
async function verified(
  { approver, signature }: Approval,
  { hash, allowedSigners, revokedSigners, file }: Checked,
): Promise<string | undefined> {
  // A name that looks like an option would be read as one.
  if (!/^[\w@.+-]{1,255}$/.test(approver) || approver.startsWith('-')) return undefined;
  await writeFile(file, signature);
  const revocation = revokedSigners === undefined ? [] : ['-r', revokedSigners];
  const said = await verify(
    ['-Y', 'verify', '-f', allowedSigners, '-I', approver, '-n', approvalNamespace, '-s', file, ...revocation],
    approvalText(hash),
  );
  return /^Good .* key (SHA256:\S+)\s*$/m.exec(said ?? '')?.[1];
}

/** What ssh-keygen says of a good signature; undefined for any other, and when it cannot be asked. */
function verify(args: readonly string[], input: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: limits.gitTimeoutMs, maxBuffer: 64 * 1024, env: { PATH: commandPath, LC_ALL: 'C' } };
    const child = execFile('ssh-keygen', args, options, (error, stdout) =>
      resolve(error === null ? stdout : undefined),
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** Where system commands live; the environment is read by the program's entry alone. */
const commandPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
