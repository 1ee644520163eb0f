import { limits } from '../../common/limits.ts';
import { runGit } from './git-command.ts';
import { refusal } from './refusal.ts';
import type { Staged } from './staged.ts';

export type SignatureKind = 'ssh' | 'gpg';

/** A commit and its one signature, apart. */
export interface SignedCommit {
  readonly kind: SignatureKind;
  readonly signature: Buffer;
  /** What was signed: the commit without its signature. */
  readonly payload: Buffer;
}

const beginnings: readonly (readonly [string, SignatureKind])[] = [
  ['-----BEGIN SSH SIGNATURE-----', 'ssh'],
  ['-----BEGIN PGP SIGNATURE-----', 'gpg'],
];

/**
 * Takes a commit object apart. One signature, under the name that belongs to the repository's hash: a second one, or one under
 * the other name, is not covered by the first, so whoever adds it makes another commit that looks signed.
 * @throws AppError `auth.signature` when it has none, several, or one of a kind that is not known.
 */
export async function readSignedCommit({ gitDir, commit }: Staged): Promise<SignedCommit> {
  const options = { maxOutputBytes: limits.maxCommitBytes };
  const { exitCode, stdout } = await runGit([`--git-dir=${gitDir}`, 'cat-file', 'commit', commit], options);
  if (exitCode !== 0) throw refusal('validation.manifest', `${commit} is no commit`);
  // Octet by octet: names and messages need not be UTF-8.
  const { header, rest } = halves(stdout.toString('latin1'));
  const fields = header.split(/\n(?! )/);
  const isSignature = (field: string) => /^gpgsig(-[a-z0-9]+)? /.test(field);
  const [field = '', ...more] = fields.filter(isSignature);
  if (field === '') throw refusal('auth.signature', `commit ${commit} is not signed`);
  const name = commit.length === 40 ? 'gpgsig ' : 'gpgsig-sha256 ';
  if (more.length > 0 || !field.startsWith(name)) {
    throw refusal('auth.signature', `commit ${commit} carries other signatures than the one of its own hash`);
  }
  const signature = `${field.slice(name.length).replaceAll('\n ', '\n')}\n`;
  const [, kind] = beginnings.find(([beginning]) => signature.startsWith(beginning)) ?? [];
  if (kind === undefined) throw refusal('auth.signature', `the signature of ${commit} is neither SSH nor OpenPGP`);
  const payload = fields.filter((other) => !isSignature(other)).join('\n') + rest;
  return { kind, signature: Buffer.from(signature, 'latin1'), payload: Buffer.from(payload, 'latin1') };
}

/** The message may contain anything, lines that look like a signature among it. */
function halves(text: string): { readonly header: string; readonly rest: string } {
  const end = text.indexOf('\n\n');
  return end < 0 ? { header: text, rest: '' } : { header: text.slice(0, end), rest: text.slice(end) };
}
