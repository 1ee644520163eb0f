import { enforcementPolicy } from '../../common/enforcement/policy.ts';
import { wantedIn } from '../../common/enforcement/wanted.ts';
import { AppError } from '../../common/errors.ts';
import { containersOn } from '../../common/manifest/compile.ts';
import { printable } from '../../common/printable.ts';
import { readAdopted } from '../desired/follower.ts';
import { fsManifestStore } from '../desired/fs-manifest-store.ts';
import type { ManifestInForce } from '../enforcement/operator.ts';
import type { SignerFiles } from '../enforcement/ssh-keygen.ts';
import { type CommandContext, stderrLogger } from './context.ts';

/** Whose signatures count: a file that is named stands for the one of the settings, and what is revoked stays so. */
export function signersFor({ settings }: CommandContext, allowedSigners: string | undefined): SignerFiles {
  return { ...settings.manifest, ...(allowedSigners !== undefined && { allowedSigners }) };
}

/**
 * What the collector has adopted, running or not, with its compose files: HEAD may be a commit with a mistake, or one that no node has
 * been told of yet. Undefined when it never has, or follows no repository; said aloud when what it keeps cannot be read.
 */
export async function manifestInForce({ settings, stderr }: CommandContext): Promise<ManifestInForce | undefined> {
  if (settings.manifest.repository === undefined) return undefined;
  const kept = await fsManifestStore(settings.dataDir, stderrLogger(stderr)).load();
  try {
    const adopted = kept === undefined ? undefined : readAdopted(kept);
    if (adopted === undefined) return undefined;
    const { commit, manifest } = adopted;
    return { commit, policy: enforcementPolicy(manifest), wanted: wantedIn(containersOn(manifest)) };
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'validation.manifest') throw thrown;
    stderr.write(`warning: the manifest in force cannot be read: ${printable(thrown.message)}\n`);
    return undefined;
  }
}
