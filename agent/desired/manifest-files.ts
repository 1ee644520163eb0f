import { limits } from '../../common/limits.ts';
import { composeFolder, type ManifestFiles } from '../../common/manifest/files.ts';
import { manifestFile } from '../../common/manifest/manifest.ts';
import { manifestError } from '../../common/manifest/mistake.ts';
import type { Repository } from './git.ts';

/**
 * Everything in a commit that says what should run.
 * @throws AppError `validation.manifest` when there is no manifest, or more than the bounds allow
 */
export async function readManifestFiles(repository: Repository, commit: string): Promise<ManifestFiles> {
  const files = new Map([[manifestFile, await repository.read(commit, manifestFile)]]);
  const paths = await repository.list(commit, composeFolder);
  const refuse = (reason: string) => manifestError({ file: composeFolder, line: 1, column: 1, reason });
  if (paths.length > limits.maxComposeFiles) throw refuse(`more than ${limits.maxComposeFiles} files`);
  let bytes = 0;
  for (const path of paths) {
    const text = await repository.read(commit, path);
    files.set(path, text);
    bytes += Buffer.byteLength(text);
    if (bytes > limits.maxManifestBytes) throw refuse(`more than ${limits.maxManifestBytes} bytes in its files`);
  }
  return files;
}
