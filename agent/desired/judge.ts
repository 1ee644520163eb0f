import { readCommitted } from '../../common/manifest/committed.ts';
import { type ManifestFiles, parseManifestFiles } from '../../common/manifest/files.ts';
import type { Manifest } from '../../common/manifest/manifest.ts';
import { ownRepository } from './git.ts';
import { runGit } from './git-command.ts';
import { refusal } from './refusal.ts';
import { demandsSignature, type Trust, verifySignature } from './signature.ts';
import type { Staged } from './staged.ts';

/** What a commit is measured by. */
export interface Standard {
  /** The commit in force; undefined before the first. */
  readonly inForce: string | undefined;
  /** Whether the manifest in force demands signed commits. */
  readonly requiresSignedCommits: boolean;
  readonly trust: Trust;
  /** A commit that the node's operator lets in although it is no descendant. */
  readonly released: string | undefined;
}

/** A commit that may be adopted. */
export interface Judged {
  readonly commit: string;
  readonly files: ManifestFiles;
  readonly manifest: Manifest;
  /** Null when nobody had to sign it. */
  readonly signer: string | null;
}

/**
 * Whether a commit may say what runs here: it goes on from the one in force, somebody trusted signed it, and it makes sense.
 * @param folder an empty one for files in between, which is the caller's to remove.
 * @throws AppError `state.conflict` when it is no descendant, `auth.signature`, `validation.config` when it would have to be
 *   signed and nobody is trusted, `validation.manifest` with file and line.
 */
export async function judge(staged: Staged, standard: Standard, folder: string): Promise<Judged> {
  const { commit, gitDir } = staged;
  const { inForce, trust, released } = standard;
  if (inForce !== undefined && commit !== released) await requireDescendant(staged, inForce);
  const signer = demandsSignature(trust) ? await verifySignature(staged, trust, folder) : null;
  const files = await readCommitted(ownRepository(gitDir), commit);
  const manifest = parseManifestFiles(files);
  const mustBeSigned = standard.requiresSignedCommits || manifest.audit.require_signed_commits;
  if (mustBeSigned && signer === null) {
    throw refusal(
      'validation.config',
      'audit.require_signed_commits is true, and nobody is trusted here: set manifest.allowedSigners or manifest.gpgHome',
    );
  }
  return { commit, files, manifest, signer };
}

/** @throws AppError `state.conflict`. What git cannot say counts as no. */
async function requireDescendant({ gitDir, commit }: Staged, inForce: string): Promise<void> {
  if (await isAncestor(gitDir, inForce, commit)) return;
  throw refusal('state.conflict', `commit ${commit} is not a descendant of ${inForce}, which is in force`);
}

/** Whether `older` is `newer`, or one of those before it. */
export async function isAncestor(gitDir: string, older: string, newer: string): Promise<boolean> {
  const { exitCode } = await runGit([`--git-dir=${gitDir}`, 'merge-base', '--is-ancestor', older, newer]);
  return exitCode === 0;
}
