import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { containerSpec } from '../../common/container-spec.ts';
import type { DesiredContainer } from '../../common/desired.ts';
import { AppError, errnoOf, toAppError } from '../../common/errors.ts';
import type { EngineControl } from '../docker/control.ts';
import type { Engine } from '../docker/engine.ts';
import { orderLabel } from './replace.ts';

export interface MakeRequest {
  readonly wanted: DesiredContainer;
  /** What it is called until it takes the place of the old one. */
  readonly name: string;
  /** Of the order it is made for. */
  readonly hash: string;
  /** The container it will replace, whose mounts say what a relative source means. */
  readonly oldId: string | undefined;
}

/** Makes a wanted container, not started. @returns its id. */
export type MakeContainer = (control: EngineControl, request: MakeRequest) => Promise<string>;

export interface MakerOptions {
  readonly engine: Pick<Engine, 'inspect'>;
  /** Folder of archives as `docker save` writes them, for images that the engine does not have. */
  readonly imagesDir: string;
}

/**
 * Makes containers of images that are on this node: nothing is ever pulled.
 * Calls throw AppError `resource.not_found` for an image that is neither with the engine nor in the folder; `engine.*`;
 * `validation.manifest` as `containerSpec`.
 */
export function containerMaker({ engine, imagesDir }: MakerOptions): MakeContainer {
  return async (control, { wanted, name, hash, oldId }) => {
    if ((await imageOf(wanted, control)) === undefined) await loadFor(wanted, { control, imagesDir });
    const old = oldId === undefined ? undefined : await engine.inspect(oldId);
    const mounted = old === undefined ? {} : { mounted: old.config.volumes };
    const { body, connectTo } = containerSpec(wanted, { labels: { [orderLabel]: hash }, ...mounted });
    const id = await control.create(name, body);
    try {
      for (const { network, endpoint } of connectTo) await control.connect(network, id, endpoint);
      return id;
    } catch (thrown) {
      await control.remove(id);
      throw thrown;
    }
  };
}

/** A pinned image is the one with that id, whatever its reference stands for. */
function imageOf({ image, imageId }: DesiredContainer, control: EngineControl): Promise<string | undefined> {
  return control.findImage(imageId ?? image);
}

/** Takes in one archive after another until the image is there; the names of the files say nothing that could be relied on. */
async function loadFor(
  wanted: DesiredContainer,
  { control, imagesDir }: { readonly control: EngineControl; readonly imagesDir: string },
): Promise<void> {
  const failures: string[] = [];
  for (const file of await archives(imagesDir)) {
    try {
      await control.loadImage(createReadStream(join(imagesDir, file)));
    } catch (thrown) {
      failures.push(`${file}: ${toAppError(thrown).message}`);
      continue;
    }
    if ((await imageOf(wanted, control)) !== undefined) return;
  }
  const which = wanted.imageId === null ? wanted.image : `${wanted.image} (${wanted.imageId})`;
  const about = failures.length === 0 ? '' : `; not taken in: ${failures.join('; ')}`;
  throw new AppError(
    'resource.not_found',
    `the image ${which} is not on this node; put it there with "docker save" into ${imagesDir}${about}`,
  );
}

async function archives(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir)).filter((name) => /\.tar(\.gz|\.zst)?$/.test(name)).sort();
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') return [];
    throw thrown;
  }
}
