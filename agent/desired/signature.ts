import { access, copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { errnoOf } from '../../common/errors.ts';
import { CommandFailed, runCommand } from './command.ts';
import { complaintOf, type GitOptions, runGit } from './git-command.ts';
import { refusal } from './refusal.ts';
import { readSignedCommit, type SignedCommit } from './signed-commit.ts';
import type { Staged } from './staged.ts';

/** Who may sign, as it is installed on the node; nothing in a repository can change it. */
export interface Trust {
  /** Path of an OpenSSH allowed_signers file (ssh-keygen(1), ALLOWED SIGNERS). */
  readonly allowedSigners?: string | undefined;
  /** Path of a list of SSH keys that sign nothing any more (ssh-keygen(1), KEY REVOCATION LISTS; or public keys). */
  readonly revokedSigners?: string | undefined;
  /** Path of a GnuPG home whose fully or ultimately trusted keys may sign. */
  readonly gpgHome?: string | undefined;
}

/** Whether commits have to be signed, whatever a manifest says. */
export function demandsSignature({ allowedSigners, gpgHome }: Trust): boolean {
  return allowedSigners !== undefined || gpgHome !== undefined;
}

/**
 * Checks that one of the trusted keys signed exactly this commit object. An SSH key must be in force both when the commit says
 * it was made and now: the first is the signer's word alone, and an expired key that was stolen could say anything.
 * @param folder an empty one for files in between, which is the caller's to remove.
 * @returns who signed, with the fingerprint of the key.
 * @throws AppError `auth.signature` when nobody trusted did; `validation.config` when what is trusted cannot be read.
 */
export async function verifySignature(staged: Staged, trust: Trust, folder: string): Promise<string> {
  const signed = await readSignedCommit(staged);
  const check = signed.kind === 'ssh' ? verifySsh : verifyGpg;
  return check(staged, { trust, folder, signed }).catch((cause: unknown) => {
    throw cause instanceof CommandFailed ? refusal('auth.signature', cause.message, undefined, cause) : cause;
  });
}

interface Check {
  readonly trust: Trust;
  readonly folder: string;
  readonly signed: SignedCommit;
}

async function verifySsh(staged: Staged, { trust, folder, signed }: Check): Promise<string> {
  const { allowedSigners, revokedSigners } = trust;
  if (allowedSigners === undefined) {
    throw refusal('auth.signature', `commit ${staged.commit} is signed with an SSH key: set manifest.allowedSigners`);
  }
  const allowed = await readable('manifest.allowedSigners', allowedSigners);
  // Git goes on without a list that is not there.
  const revoked = revokedSigners === undefined ? undefined : await readable('manifest.revokedSigners', revokedSigners);
  const config = {
    'gpg.ssh.program': 'ssh-keygen',
    'gpg.ssh.allowedSignersFile': allowed,
    ...(revoked === undefined ? {} : { 'gpg.ssh.revocationFile': revoked }),
  };
  const said = await verifyCommit(staged, { config });
  const [, principal = '', key = ''] = /^Good "git" signature for (.+) with \S+ key (SHA256:\S+)$/m.exec(said) ?? [];
  if (key === '') throw refusal('auth.signature', `the signer of ${staged.commit} is not known`);
  const file = join(folder, 'signature');
  await writeFile(file, signed.signature);
  const now = ['-Y', 'verify', '-f', allowed, '-I', principal, '-n', 'git', '-s', file];
  const revocation = revoked === undefined ? [] : ['-r', revoked];
  const answer = await runCommand('ssh-keygen', [...now, ...revocation], { input: signed.payload });
  if (answer.exitCode !== 0) throw notGood(staged, complaintOf(answer));
  return `${principal} (${key})`;
}

/**
 * What counts of a GnuPG home is its key ring and its trust: its settings could have keys fetched or trusted that nobody here
 * has looked at. A copy of them also needs no permission to write there.
 */
async function verifyGpg(staged: Staged, { trust, folder }: Check): Promise<string> {
  if (trust.gpgHome === undefined) {
    throw refusal('auth.signature', `commit ${staged.commit} is signed with an OpenPGP key: set manifest.gpgHome`);
  }
  const home = join(folder, 'gpg');
  await mkdir(home, { mode: 0o700 });
  const found = await Promise.all(keyRings.map((name) => copied(trust.gpgHome ?? '', name, home)));
  if (!found.includes(true)) {
    throw refusal('validation.config', `manifest.gpgHome: there is no key ring in ${trust.gpgHome}`);
  }
  await copied(trust.gpgHome, 'trustdb.gpg', home);
  const config = { 'gpg.program': 'gpg', 'gpg.minTrustLevel': 'fully' };
  const said = await verifyCommit(staged, { config, env: { GNUPGHOME: home } });
  const words = [...said.matchAll(/^\[GNUPG:\] (\S+) ?(.*)$/gm)].map(([, word = '', rest = '']) => ({ word, rest }));
  const [good, ...others] = words.filter(({ word }) => word === 'GOODSIG');
  const [valid] = words.filter(({ word }) => word === 'VALIDSIG');
  // Without a word about trust, git takes a key for trusted.
  const trusted = words.some(({ word }) => word === 'TRUST_FULLY' || word === 'TRUST_ULTIMATE');
  if (good === undefined || others.length > 0 || valid === undefined || !trusted) {
    throw notGood(staged, 'the key is not fully trusted');
  }
  const primaryKey = valid.rest.split(' ').at(-1) ?? '';
  return `${good.rest.slice(good.rest.indexOf(' ') + 1)} (${primaryKey})`;
}

const keyRings = ['pubring.kbx', 'pubring.gpg'];

async function copied(from: string, name: string, to: string): Promise<boolean> {
  try {
    await copyFile(join(resolve(from), name), join(to, name));
    return true;
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return false;
    throw refusal(
      'validation.config',
      `manifest.gpgHome: ${name} cannot be read (${errnoOf(cause)})`,
      undefined,
      cause,
    );
  }
}

/** What git, or what it asked, had to say. Programs of the other kind are out of reach. */
async function verifyCommit(staged: Staged, { config, env }: GitOptions): Promise<string> {
  const none = { 'gpg.program': 'false', 'gpg.ssh.program': 'false', 'gpg.x509.program': 'false' };
  const args = [`--git-dir=${staged.gitDir}`, 'verify-commit', '--raw', staged.commit];
  const answer = await runGit(args, { config: { ...none, ...config }, ...(env && { env }) });
  if (answer.exitCode === 0) return answer.stderr;
  throw notGood(staged, reasonIn(answer));
}

/** GnuPG speaks to programs, and says in one word what is wrong. */
function reasonIn(answer: { readonly stderr: string; readonly exitCode: number }): string {
  const [, word = ''] = /^\[GNUPG:\] (EXPKEYSIG|REVKEYSIG|EXPSIG|BADSIG|NO_PUBKEY)/m.exec(answer.stderr) ?? [];
  const meant = gpgWords[word];
  if (meant !== undefined) return meant;
  if (/^\[GNUPG:\] TRUST_/m.test(answer.stderr)) return 'the key is not fully trusted';
  const said = answer.stderr.split('\n').filter((line) => !/^(\[GNUPG:\]|Good "git" signature with )/.test(line));
  return complaintOf({ ...answer, stderr: said.join('\n') });
}

const gpgWords: Readonly<Record<string, string>> = {
  EXPKEYSIG: 'the key has expired',
  REVKEYSIG: 'the key was revoked',
  EXPSIG: 'the signature has expired',
  BADSIG: 'the signature is not of this commit',
  NO_PUBKEY: 'the key is not in the key ring',
};

function notGood({ commit }: Staged, reason: string) {
  return refusal('auth.signature', `commit ${commit} has no valid signature: ${reason}`);
}

async function readable(setting: string, path: string): Promise<string> {
  const absolute = resolve(path);
  try {
    await access(absolute);
    return absolute;
  } catch (cause) {
    throw refusal('validation.config', `${setting}: ${path} cannot be read (${errnoOf(cause)})`, undefined, cause);
  }
}

/** Changes when one of the files does that say who may sign. */
export async function trustStamp({ allowedSigners, revokedSigners, gpgHome }: Trust): Promise<string> {
  const rings = gpgHome === undefined ? [] : [...keyRings, 'trustdb.gpg'].map((name) => join(gpgHome, name));
  const paths = [allowedSigners, revokedSigners, ...rings].filter((path) => path !== undefined);
  const found = await Promise.all(paths.map((path) => stat(resolve(path)).catch(() => undefined)));
  return found.map((file) => (file === undefined ? '-' : `${file.ino}.${file.size}.${file.mtimeMs}`)).join(' ');
}
