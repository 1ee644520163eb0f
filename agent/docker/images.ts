import pLimit from 'p-limit';
import type { ImageConfig, MadeContainer } from '../../common/config-drift.ts';
import type { ContainerConfig } from '../../common/container-config.ts';
import type { DesiredState } from '../../common/desired.ts';
import type { ObservedState } from '../../common/drift.ts';
import { AppError, toAppError } from '../../common/errors.ts';
import { limits } from '../../common/limits.ts';
import type { ObservedContainer } from '../../common/observed.ts';
import type { Engine, InspectedContainer } from './engine.ts';
import { givingUp } from './giving-up.ts';
import type { MountedFiles } from './mounted-files.ts';

/** What images bring along, asked for once: an image never changes under its id. */
export interface Images {
  /** Asks for those that are not known, and forgets those that are not among `imageIds`. Never rejects. */
  keep(imageIds: Iterable<string>): Promise<void>;
  /** Undefined for one that is gone, or that the engine did not tell about: nothing can be said of how its containers were made. */
  of(imageId: string): ImageConfig | undefined;
}

/** @param onUnread hears of each image that could not be read; it is asked for again the next time. */
export function createImages(
  engine: Pick<Engine, 'image'>,
  onUnread: (imageId: string, error: AppError) => void,
): Images {
  const known = new Map<string, ImageConfig>();
  const read = async (imageId: string, image: Engine['image']): Promise<void> => {
    try {
      const config = await image(imageId);
      if (config === undefined)
        throw new AppError('engine.answer', `the engine does not have the image ${imageId} any more`);
      known.set(imageId, config);
    } catch (thrown) {
      onUnread(imageId, toAppError(thrown));
    }
  };
  return {
    keep: async (imageIds) => {
      const wanted = new Set(imageIds);
      for (const imageId of known.keys()) if (!wanted.has(imageId)) known.delete(imageId);
      const image = givingUp((imageId) => engine.image(imageId), limits.inspectConcurrency);
      const unknown = [...wanted].filter((imageId) => !known.has(imageId));
      await pLimit(limits.inspectConcurrency).map(unknown, (imageId) => read(imageId, image));
    },
    of: (imageId) => known.get(imageId),
  };
}

export interface Looked {
  /** By container id. */
  readonly containers: ReadonlyMap<string, InspectedContainer>;
  /** Those that are there and could not be inspected: as in `ObservedState`. */
  readonly unobserved: ObservedState['unobserved'];
  /** When, Unix milliseconds. */
  readonly atMs: number;
}

/**
 * What is compared with `desired`. Only images of containers that are wanted are asked for: what nobody wants is judged by its
 * being there.
 * @param files without it, files that are wanted to be mounted count as not read.
 */
export async function stateToJudge(
  looked: Looked,
  desired: DesiredState,
  images: Images,
  files?: MountedFiles,
): Promise<ObservedState> {
  const wanted = new Map(desired.containers.map((one) => [one.name, one]));
  const judged = [...looked.containers.values()].filter(({ container }) => wanted.has(container.name));
  await images.keep(judged.map(({ container }) => container.imageId));
  const seen = await Promise.all(
    judged.map(({ container, config }) => {
      const mounted = wanted.get(container.name)?.mountedFiles;
      return mounted === undefined ? undefined : files?.look(mounted, config.volumes);
    }),
  );
  const made = new Map<string, MadeContainer>();
  for (const [i, { container, config }] of judged.entries()) {
    const [image, its] = [images.of(container.imageId), seen[i]];
    if (image === undefined) continue;
    made.set(container.id, { config: withNames(config, looked), image, ...(its && { files: its }) });
  }
  return { containers: observedOf(looked.containers), unobserved: looked.unobserved, atMs: looked.atMs, made };
}

/** The engine keeps the id of the container whose network another one joined, people write its name. */
function withNames(config: ContainerConfig, { containers }: Looked): ContainerConfig {
  const [, id] = /^container:([0-9a-f]{64})$/.exec(config.network_mode) ?? [];
  const joined = id === undefined ? undefined : containers.get(id);
  return joined === undefined ? config : { ...config, network_mode: `container:${joined.container.name}` };
}

/** What may be said of containers, without how they were made. */
export function observedOf(containers: Looked['containers']): Map<string, ObservedContainer> {
  return new Map([...containers].map(([id, { container }]) => [id, container]));
}
