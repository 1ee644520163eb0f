import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { approvalNamespace } from '../common/order.ts';
import { handTo } from './system/service.ts';

/** People with an SSH key each, and the file that names them. */
export interface SshSigners {
  readonly allowedSigners: string;
  /** Of the private key. */
  keyFile(name: string): string;
  /** A signature in its armour, in the namespace of approvals unless told otherwise. */
  sign(name: string, text: string, namespace?: string): string;
  /** Path of a list of the keys of these owners as keys that sign nothing any more. */
  revoke(owners: readonly string[], form: RevocationForm): string;
  remove(): Promise<void>;
}

/** What OpenSSH takes for such a list: its own binary one, or public keys one a line. */
export const revocationForms = ['krl', 'keys'] as const;
export type RevocationForm = (typeof revocationForms)[number];

/** Why tests with SSH keys cannot run here; false when they can. */
export function withoutSshKeygen(): string | false {
  try {
    execFileSync('ssh-keygen', ['-?'], { stdio: 'ignore' });
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return 'ssh-keygen is not installed';
  }
  return false;
}

/**
 * Makes a key for every owner.
 * @param names by owner, those that `allowed_signers` has for the key, with commas in between.
 */
export async function sshSigners(names: Readonly<Record<string, string>>): Promise<SshSigners> {
  const folder = await mkdtemp(join(tmpdir(), 'sigilwatch-ssh-'));
  const keyFile = (owner: string) => join(folder, owner);
  const lines = Object.entries(names).map(([owner, named]) => {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', owner, '-f', keyFile(owner)]);
    const publicKey = execFileSync('ssh-keygen', ['-y', '-f', keyFile(owner)], { encoding: 'utf8' });
    return `${named} ${publicKey}`;
  });
  const allowedSigners = join(folder, 'allowed_signers');
  writeFileSync(allowedSigners, lines.join(''));
  // Whoever approves signs as the one who runs the command, and both programs read the names.
  handTo('sigilwatch-collector', folder);
  await chmod(folder, 0o711);
  return {
    allowedSigners,
    keyFile,
    sign: (owner, text, namespace = approvalNamespace) =>
      execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-f', keyFile(owner), '-n', namespace], {
        input: text,
        encoding: 'utf8',
        stdio: ['pipe', 'pipe', 'ignore'],
      }),
    revoke: (owners, form) => {
      const list = join(folder, `revoked-${owners.join('-')}.${form}`);
      const publicKeys = owners.map((owner) => `${keyFile(owner)}.pub`);
      if (form === 'krl') execFileSync('ssh-keygen', ['-q', '-k', '-f', list, ...publicKeys]);
      else writeFileSync(list, publicKeys.map((file) => readFileSync(file, 'utf8')).join(''));
      return list;
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
