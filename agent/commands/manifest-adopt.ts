import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import pLimit from 'p-limit';
import type { Clock } from '../../common/clock.ts';
import { diff } from '../../common/drift.ts';
import { AppError, cannotWrite, errnoOf, toAppError } from '../../common/errors.ts';
import { exitCodes } from '../../common/exit-codes.ts';
import { limits } from '../../common/limits.ts';
import { readCommitted } from '../../common/manifest/committed.ts';
import { compileDesired } from '../../common/manifest/compile.ts';
import { type ManifestFiles, parseManifestFiles } from '../../common/manifest/files.ts';
import { manifestFile } from '../../common/manifest/manifest.ts';
import { asPlain } from '../../common/manifest/written.ts';
import { printableJson } from '../../common/printable.ts';
import { type Author, authorOf, formatPatch, hasCommit } from '../adopt/git.ts';
import { newManifest } from '../adopt/new-manifest.ts';
import type { Seen } from '../adopt/own-config.ts';
import { planAdoption, type SeenNode } from '../adopt/plan.ts';
import { mayWrite, type Spoken } from '../adopt/secrets.ts';
import { commitMessage, formatAdoption, type NotSeen, type Told } from '../adopt/told.ts';
import type { AgentSettings } from '../config.ts';
import { gitRepository } from '../desired/git.ts';
import type { SeenCreation } from '../docker/creation-json.ts';
import { type CreationLook, creationLook } from '../docker/creation-look.ts';
import type { Engine, InspectedContainer } from '../docker/engine.ts';
import { createImages, stateToJudge } from '../docker/images.ts';
import { createMountedFiles } from '../docker/mounted-files.ts';
import { scanContainers } from '../docker/scanner.ts';
import { engineOf } from '../sources.ts';

export interface ManifestAdoptWorld {
  readonly settings: AgentSettings;
  readonly clock: Clock;
  readonly json: boolean;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Whose git settings say who the author is, beside the repository's. */
  readonly home: string | undefined;
}

export interface ManifestAdoptOptions {
  readonly node: string;
  /** Instead of the setting `manifest.repository`. */
  readonly repository?: string;
  /** Where the patch goes; never over a file that exists. Without it, to standard output. */
  readonly output?: string;
  /** `Name <email>` */
  readonly author?: string;
  /** All, or those with the names in the list. */
  readonly withSecrets?: true | string;
  readonly dropMissing?: boolean;
}

/**
 * Makes a patch to the manifest of what runs on this node, for `git am`. Changes nothing itself, neither containers nor the
 * repository. Exit code 0 when nothing would drift with it, 1 when something still would, 2 when not all could be seen.
 * @throws AppError `validation.manifest` for a manifest with mistakes, `validation.config`, `engine.*`, `state.conflict`
 */
export async function manifestAdopt(world: ManifestAdoptWorld, options: ManifestAdoptOptions): Promise<number> {
  const given = options.repository ?? world.settings.manifest.repository;
  if (given === undefined) {
    throw new AppError('validation.config', 'no repository: give --repository, or set manifest.repository');
  }
  const repository = resolve(given);
  const author = options.author === undefined ? undefined : parseAuthor(options.author);
  const { commit, before, files } = await readHead(repository, options.node);
  const errors: NotSeen[] = [];
  const made = creationLook(world.settings.docker.socketPath);
  const seen = await look(engineOf(world.settings), files, { node: options.node, clock: world.clock, made, errors });
  const { node, dropMissing = false } = options;
  const plan = planAdoption(files, seen, { node, dropMissing, mayWrite: mayWrite(spokenOf(options.withSecrets)) });
  const told: Told = { ...plan, node, commit, errors };
  const isNew = !before.has(manifestFile);
  const changed = [...plan.files].filter(([path, text]) => before.get(path) !== text);
  const patch =
    changed.length === 0
      ? ''
      : await formatPatch({
          before: new Map([...before].filter(([path]) => changed.some(([other]) => other === path))),
          after: new Map(changed),
          message: commitMessage(told, isNew),
          author: author ?? (await authorOf(repository, world.home)) ?? nobody,
          atMs: world.clock.now(),
          objectFormat: commit?.length === 64 ? 'sha256' : 'sha1',
        });
  if (options.output !== undefined) await writePatch(options.output, patch, options.withSecrets === undefined);
  tell(world, options, { told, isNew, patch });
  if (errors.length > 0) return exitCodes.usage;
  return plan.drifts.length > 0 ? exitCodes.findings : exitCodes.done;
}

/** Whose name stands in a patch when nobody's is set. */
const nobody: Author = { name: 'sigilwatch-agent', email: 'sigilwatch-agent@localhost' };

function parseAuthor(text: string): Author {
  const [, name, email] = /^([^<>\n]*[^<>\s])\s*<([^<>\s]+)>$/.exec(text.trim()) ?? [];
  if (name !== undefined && email !== undefined) return { name, email };
  throw new AppError('validation.request', '--author is not "Name <email>"');
}

function spokenOf(withSecrets: true | string | undefined): Spoken {
  if (withSecrets === true) return 'all';
  return new Set(withSecrets?.split(',').map((name) => name.trim()));
}

interface Head {
  readonly commit: string | null;
  /** As they are committed. */
  readonly before: ManifestFiles;
  /** The same, with a manifest that wants nothing where there is none. */
  readonly files: ManifestFiles;
}

async function readHead(path: string, node: string): Promise<Head> {
  const fresh = newManifest(node);
  if (!(await hasCommit(path))) return { commit: null, before: new Map(), files: new Map([[manifestFile, fresh]]) };
  const repository = gitRepository(path);
  const commit = await repository.head();
  if ((await repository.list(commit, manifestFile)).length > 0) {
    const files = await readCommitted(repository, commit);
    return { commit, before: files, files };
  }
  const read: typeof repository.read = (id, file) =>
    file === manifestFile ? Promise.resolve(fresh) : repository.read(id, file);
  const files = await readCommitted({ ...repository, read }, commit);
  return { commit, before: new Map([...files].filter(([file]) => file !== manifestFile)), files };
}

interface Looking {
  readonly node: string;
  readonly clock: Clock;
  readonly made: CreationLook;
  readonly errors: NotSeen[];
}

/** What runs, and what is known of all their images. Adds to `errors`. */
async function look(engine: Engine, files: ManifestFiles, { node, clock, made, errors }: Looking): Promise<SeenNode> {
  const desired = compileDesired(parseManifestFiles(files), node);
  const scan = await scanContainers(engine, { concurrency: limits.inspectConcurrency });
  for (const { id, error } of scan.unobserved) {
    errors.push({ part: `container ${id.slice(0, 12)}`, code: error.code, message: error.message });
  }
  const unobserved = new Map(scan.unobserved.map(({ id, name }) => [id, name]));
  const looked = { containers: scan.containers, unobserved, atMs: clock.now() };
  const unread = new Map<string, AppError>();
  const images = createImages(engine, (imageId, error) => unread.set(imageId, error));
  const all = [...looked.containers.values()].map(({ container: { name, image } }) => {
    return { name, image, imageId: null, config: {}, creation: {} };
  });
  // Those that are wanted come last, so that what is said of their files counts.
  const everything = { ...desired, containers: [...all, ...desired.containers] };
  const state = await stateToJudge(looked, everything, images, createMountedFiles({ clock }));
  const seen = [...looked.containers].map(([id, { config }]): [string, Seen] => [
    id,
    state.made.get(id) ?? { config, image: undefined },
  ]);
  const creations = await createdHow(looked.containers.values(), { look: made, errors });
  const drifting = new Set(diff(desired, state).map(({ containerId }) => containerId));
  const wanted = new Set(desired.containers.map(({ name }) => name));
  for (const [imageId, { code, message }] of unread) {
    // Of an image that only containers have which may run anyway, nothing needs to be known.
    const matters = [...looked.containers.values()].some(
      ({ container }) => container.imageId === imageId && (drifting.has(container.id) || wanted.has(container.name)),
    );
    if (matters) errors.push({ part: `image ${imageId}`, code, message });
  }
  return { state, seen: new Map(seen), creations };
}

/** By container id; of those whose image is known. Adds to `errors`. */
async function createdHow(
  containers: Iterable<InspectedContainer>,
  { look, errors }: { readonly look: CreationLook; readonly errors: NotSeen[] },
): Promise<ReadonlyMap<string, SeenCreation>> {
  const creations = new Map<string, SeenCreation>();
  await pLimit(limits.inspectConcurrency).map(containers, async ({ container: { id, imageId } }) => {
    try {
      const creation = await look.of(id, imageId);
      if (creation !== undefined) creations.set(id, creation);
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      errors.push({ part: `container ${id.slice(0, 12)}`, code, message });
    }
  });
  look.close();
  return creations;
}

async function writePatch(path: string, patch: string, isForAll: boolean): Promise<void> {
  try {
    await writeFile(path, patch, { flag: 'wx', mode: isForAll ? 0o644 : 0o600 });
  } catch (cause) {
    if (errnoOf(cause) === 'EEXIST')
      throw new AppError('state.conflict', `${path} exists already and is not overwritten`);
    throw new AppError('validation.request', cannotWrite(path, cause, process.geteuid?.()), { cause });
  }
}

interface Result {
  readonly told: Told;
  readonly isNew: boolean;
  readonly patch: string;
}

/** The patch alone is what standard output is for, unless it goes elsewhere. */
function tell(world: ManifestAdoptWorld, { output }: ManifestAdoptOptions, { told, isNew, patch }: Result): void {
  if (world.json) {
    world.stdout(printableJson({ ...asData(told), patch }));
    return;
  }
  if (output !== undefined) {
    world.stdout(formatAdoption(told, isNew));
    return;
  }
  world.stdout(patch);
  world.stderr(formatAdoption(told, isNew));
}

function asData({ node, commit, changes, left, untold, drifts, errors }: Told) {
  const shown = changes.map((change) => {
    const { kind, container, file } = change;
    if (kind === 'added') return { kind, container, file, entry: asPlain(change.item) };
    if (kind === 'dropped') return { kind, container, file };
    return { kind, container, file, keys: change.keys, every_node: change.everyNode };
  });
  const unsaid = untold.map(({ container, key, name = null, why, wholeKey }) => {
    return { container, key, name, why, whole_key: wholeKey };
  });
  return { node, commit, changes: shown, left, not_said: unsaid, drifts, errors };
}
