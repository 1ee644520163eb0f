import { limits } from '../../common/limits.ts';
import { composeFolder, type ManifestFiles, refuseFolder, refuseIrregular } from '../../common/manifest/files.ts';
import { manifestFile } from '../../common/manifest/manifest.ts';
import type { Repository } from './git.ts';

/**
 * Everything in a commit that says what should run.
 * @throws AppError `validation.manifest` when there is no manifest, or more than the bounds allow
 */
export async function readManifestFiles(repository: Repository, commit: string): Promise<ManifestFiles> {
  const entries = [...(await repository.list(commit, manifestFile)), ...(await repository.list(commit, composeFolder))];
  for (const { path, isFile } of entries) if (!isFile || path === composeFolder) throw refuseIrregular(path);
  if (entries.length > limits.maxComposeFiles) throw refuseFolder(`more than ${limits.maxComposeFiles} files`);
  const files = new Map([[manifestFile, await repository.read(commit, manifestFile)]]);
  let bytes = Buffer.byteLength(files.get(manifestFile) ?? '');
  for (const { path } of entries.filter((entry) => entry.path !== manifestFile)) {
    const text = await repository.read(commit, path);
    files.set(path, text);
    bytes += Buffer.byteLength(text);
    if (bytes > limits.maxManifestBytes)
      throw refuseFolder(`with the manifest more than ${limits.maxManifestBytes} bytes`);
  }
  return files;
}
