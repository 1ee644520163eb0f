import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ContainerSpec, type CreateBody, containerSpec } from '../../common/container-spec.ts';
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
  readonly engine: Pick<Engine, 'inspect' | 'hasNetwork'>;
  /** Folder of archives as `docker save` writes them, for images that the engine does not have. */
  readonly imagesDir: string;
}

/**
 * Makes containers of images that are on this node: nothing is ever pulled.
 * Calls throw AppError `resource.not_found` for an image that is neither with the engine nor in the folder; `engine.*`;
 * `validation.manifest` as `containerSpec`; `state.conflict` when a network it needs is not on this node.
 */
export function containerMaker({ engine, imagesDir }: MakerOptions): MakeContainer {
  return async (control, { wanted, name, hash, oldId }) => {
    if ((await imageOf(wanted, control)) === undefined) await loadFor(wanted, { control, imagesDir });
    const old = oldId === undefined ? undefined : await engine.inspect(oldId);
    const mounted = old === undefined ? {} : { mounted: old.config.volumes };
    const labels = { ...toolLabelsOf(old?.config.labels ?? {}), [orderLabel]: hash };
    const { body, connectTo } = containerSpec(wanted, { labels, ...mounted });
    await requireNetworks(wanted.name, networksOf(body, connectTo), engine);
    const id = await control.create(name, body);
    try {
      for (const { network, endpoint } of connectTo) {
        // It went since it was looked for; without it the container would start all the same, and be cut off from others.
        if ((await control.connect(network, id, endpoint)) === 'gone') throw noNetwork(wanted.name, network);
      }
      return id;
    } catch (thrown) {
      await control.remove(id);
      throw thrown;
    }
  };
}

/**
 * By what compose finds a container of its own again. Without these labels it would take ours for a stranger with the name it
 * needs, and fail. What it has noted of how the container was made (`config-hash`, `image`) is not true of ours, and goes: then the
 * next `up` compares nothing and makes its own.
 */
const identityLabel =
  /^com\.docker\.compose\.(project|service|container-number|oneoff|version|depends_on|project\.(working_dir|config_files|environment_file))$/;

function toolLabelsOf(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(labels).filter(([name]) => identityLabel.test(name)));
}

/** Names of networks that somebody has to have made. */
function networksOf({ HostConfig, NetworkingConfig }: CreateBody, connectTo: ContainerSpec['connectTo']): string[] {
  const begins = [HostConfig.NetworkMode ?? 'default', ...Object.keys(NetworkingConfig?.EndpointsConfig ?? {})];
  const all = new Set([...begins, ...connectTo.map(({ network }) => network)]);
  return [...all].filter((name) => !/^(default|bridge|host|none|container:.*)$/.test(name));
}

/**
 * The engine finds out that a network is missing when the container is started, and by then the old one is stopped.
 * @throws AppError `state.conflict`.
 */
async function requireNetworks(
  container: string,
  networks: readonly string[],
  engine: Pick<Engine, 'hasNetwork'>,
): Promise<void> {
  for (const network of networks) {
    const isThere = await engine.hasNetwork(network).catch((thrown: unknown) => {
      // Nobody may ask here; what is missing is found out at the start, and put back.
      if (toAppError(thrown).details.status === 403) return true;
      throw thrown;
    });
    if (!isThere) throw noNetwork(container, network);
  }
}

function noNetwork(container: string, network: string): AppError {
  return new AppError(
    'state.conflict',
    `${container} cannot be made: there is no network ${network} on this node, and how it has to be made git does not say; ` +
      `"docker compose up --no-start" makes those of a compose file, "docker network create ${network}" any other`,
    { details: { container, network } },
  );
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
