import { limits } from '../limits.ts';
import { composeFolder, type ManifestFiles, refuseFolder, refuseIrregular } from './files.ts';
import { manifestFile } from './manifest.ts';

/** Something in a commit that is no folder. */
export interface TreeEntry {
  readonly path: string;
  /** Neither a symbolic link nor another repository. */
  readonly isFile: boolean;
}

/** What a commit holds. */
export interface CommittedFiles {
  /** A file of a commit. @throws AppError `validation.manifest` when the commit has no such file. */
  read(commit: string, file: string): Promise<string>;
  /** What a commit has at a path and below, by paths from the root, sorted; nothing when there is nothing. */
  list(commit: string, path: string): Promise<readonly TreeEntry[]>;
}

/**
 * Everything in a commit that says what should run.
 * @throws AppError `validation.manifest` when there is no manifest, or more than the bounds allow
 */
export async function readCommitted(from: CommittedFiles, commit: string): Promise<ManifestFiles> {
  const entries = [...(await from.list(commit, manifestFile)), ...(await from.list(commit, composeFolder))];
  for (const { path, isFile } of entries) if (!isFile || path === composeFolder) throw refuseIrregular(path);
  if (entries.length > limits.maxComposeFiles) throw refuseFolder(`more than ${limits.maxComposeFiles} files`);
  const files = new Map([[manifestFile, await from.read(commit, manifestFile)]]);
  let bytes = Buffer.byteLength(files.get(manifestFile) ?? '');
  for (const { path } of entries.filter((entry) => entry.path !== manifestFile)) {
    const text = await from.read(commit, path);
    files.set(path, text);
    bytes += Buffer.byteLength(text);
    if (bytes > limits.maxManifestBytes)
      throw refuseFolder(`with the manifest more than ${limits.maxManifestBytes} bytes`);
  }
  return files;
}
