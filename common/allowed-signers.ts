import { AppError } from './errors.ts';

const keyType = /^(ssh-(ed25519|rsa|dss)|ecdsa-sha2-nistp\d{3}|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)$/;

/**
 * How many keys an OpenSSH allowed_signers file names (ssh-keygen(1), ALLOWED SIGNERS). Whether they are in force at a moment
 * is for `ssh-keygen` to say.
 * @throws AppError `validation.config` naming the first line that is none, or saying that there is no key at all.
 */
export function countSigners(text: string): number {
  const lines = text.split('\n').map((line) => line.trim());
  const signers = lines.filter((line) => line !== '' && !line.startsWith('#'));
  const bad = lines.findIndex((line) => signers.includes(line) && !isSigner(line));
  if (bad !== -1) {
    throw new AppError('validation.config', `line ${bad + 1} is not "PRINCIPAL [OPTIONS] KEYTYPE KEY"`);
  }
  if (signers.length === 0) throw new AppError('validation.config', 'it names nobody, so nobody can sign');
  return signers.length;
}

/** Options may hold quoted spaces, so the key is looked for from the left. */
function isSigner(line: string): boolean {
  const words = line.split(/\s+/);
  const at = words.findIndex((word) => keyType.test(word));
  const key = words[at + 1];
  return at >= 1 && key !== undefined && /^[A-Za-z0-9+/]{40,}={0,2}$/.test(key);
}
