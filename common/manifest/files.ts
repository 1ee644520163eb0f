import type { AppError } from '../errors.ts';
import { limits } from '../limits.ts';
import { parseCompose } from './compose.ts';
import { type Manifest, manifestFile, parseManifest } from './manifest.ts';
import { manifestError } from './mistake.ts';
import { createTakenNames } from './taken-names.ts';

/** The folder of the compose files, from the root of the repository; files that they name in `env_file` lie in it too. */
export const composeFolder = 'manifests/docker';

/** The files of one commit, or work tree, that say what should run: texts by their paths from the root. */
export type ManifestFiles = ReadonlyMap<string, string>;

/**
 * Reads the manifest with the compose files beside it.
 * @throws AppError `validation.manifest` with `details` `{ file, line, column, reason }` (counted from 1) of the first mistake
 */
export function parseManifestFiles(files: ManifestFiles): Manifest {
  const text = files.get(manifestFile);
  if (text === undefined) throw manifestError(at(manifestFile, 'there is no such file'));
  return withServices(parseManifest(text), files);
}

/**
 * Adds what the compose files want to a manifest without mistakes.
 * @throws AppError `validation.manifest` for the first mistake in a compose file, or one that comes of all of them together
 */
export function withServices(manifest: Manifest, files: ManifestFiles): Manifest {
  const paths = [...files.keys()].filter(isComposeFile).sort();
  let chars = 0;
  const composed = paths.map((path) => {
    const found = parseCompose({ path, text: files.get(path) ?? '' }, (other) => files.get(other));
    // Files of variables count once for each service that reads them.
    for (const { config } of found.containers) chars += JSON.stringify(config).length;
    if (chars > limits.maxWantedChars) throw manifestError(at(path, tooMuch));
    return { path, ...found };
  });
  const wanted = composed.flatMap(({ path, containers }) => containers.map((container) => ({ path, container })));
  if (wanted.length > limits.maxComposeContainers) {
    throw manifestError(at(composeFolder, `more than ${limits.maxComposeContainers} containers`));
  }
  refuseClashes(manifest, wanted);
  const warnings = composed.flatMap((file) => file.warnings);
  return {
    ...manifest,
    services: wanted.map(({ container }) => container),
    warnings: [...manifest.warnings, ...warnings],
  };
}

const tooMuch = `with this file, what containers are to be made of is longer than ${limits.maxWantedChars} characters`;

/** For something that is there in the place of a file or folder, and is not one. */
export function refuseIrregular(path: string): AppError {
  return manifestError(
    at(path, 'is no regular file: what it leads to is not in this repository, or not under this name'),
  );
}

/** For too much in {@link composeFolder}. */
export function refuseFolder(reason: string): AppError {
  return manifestError(at(composeFolder, reason));
}

/** Whether a path in {@link composeFolder} is one that compose reads. */
export function isComposeFile(path: string): boolean {
  return path.startsWith(`${composeFolder}/`) && /\.ya?ml$/.test(path);
}

interface Wanted {
  readonly path: string;
  readonly container: Manifest['services'][number];
}

/** A name is wanted once on a node, and a node is one that the manifest names, if it names any. */
function refuseClashes({ nodes, containers }: Manifest, wanted: readonly Wanted[]): void {
  const known = new Set(nodes.map(({ name }) => name));
  const names = createTakenNames();
  for (const { name, node, type } of containers) if (type === 'docker') names.take(name, node, manifestFile);
  for (const { path, container } of wanted) {
    const { service, place, name, node } = container;
    const refuse = (reason: string) =>
      manifestError({ file: path, ...place, reason: `services.${service}: ${reason}` });
    if (node !== undefined && known.size > 0 && !known.has(node)) throw refuse(`x-node: "${node}" is not in nodes`);
    const clash = names.take(name, node, path);
    if (clash !== undefined) throw refuse(`the container "${name}" is wanted twice, also by ${clash}`);
  }
}

function at(file: string, reason: string) {
  return { file, line: 1, column: 1, reason };
}
