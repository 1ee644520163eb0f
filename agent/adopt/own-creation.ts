import type { WantedHealthcheck } from '../../common/container-config.ts';
import { writtenCreation } from '../../common/manifest/written.ts';
import type { Written } from '../../common/manifest/yaml-text.ts';
import type { SeenCreation, SeenHealthcheck, SeenNetworks } from '../docker/creation-json.ts';
import type { Untold } from './own-config.ts';
import type { MayWrite } from './secrets.ts';

/** How the manifest says what a container is made by and not compared by. */
export interface OwnCreation {
  /** Keys of its item, after those of its configuration. */
  readonly keys: ReadonlyMap<string, Written>;
  /** Instead of the same keys of its configuration. */
  readonly instead: ReadonlyMap<string, Written>;
  readonly drop: readonly string[];
  readonly untold: readonly Untold[];
}

interface Draft {
  readonly keys: Map<string, Written>;
  readonly untold: Untold[];
}

/**
 * What a manifest has to say so that a container made from it has the same health check, networks, memory and mount options as
 * the one that runs; as far as that is not its image's doing.
 * @param config the keys that are written of its configuration
 */
export function ownCreation(
  creation: SeenCreation,
  config: ReadonlyMap<string, Written>,
  mayWrite: MayWrite,
): OwnCreation {
  const draft: Draft = { keys: new Map(), untold: [] };
  const leave = (key: string, why: Untold['why']) => draft.untold.push(untold(key, why));
  sayHealthcheck(draft, creation, mayWrite);
  const attached = networksToSay(creation.networks);
  if (attached === 'gone') leave('networks', 'unwritable');
  else if (attached !== undefined) say(draft, 'networks', attached);
  if (creation.tmpfs.length > 0) say(draft, 'tmpfs', creation.tmpfs);
  const volumes = config.get('volumes');
  const options = volumes === undefined ? undefined : withMountOptions(volumes, creation.mountOptions);
  for (const key of [...(creation.networks?.foreign ?? []), ...creation.foreign]) leave(key, 'foreign');
  return {
    ...draft,
    instead: options === undefined ? new Map() : new Map([['volumes', options]]),
    drop: draft.keys.has('networks') ? ['network_mode'] : [],
  };
}

function untold(key: string, why: Untold['why']): Untold {
  return { key, name: undefined, why, wholeKey: true };
}

type CreationKey = Parameters<typeof writtenCreation>[0];

function say<Key extends CreationKey>(
  { keys, untold: left }: Draft,
  key: Key,
  value: Parameters<typeof writtenCreation<Key>>[1],
): void {
  const written = writtenCreation(key, value);
  if (written === undefined) left.push(untold(key, 'unwritable'));
  else keys.set(key, written);
}

function sayHealthcheck(draft: Draft, { healthcheck, imageHealthcheck }: SeenCreation, { words }: MayWrite): void {
  const own = unlikeImage(healthcheck, imageHealthcheck);
  if (own === undefined) return;
  if (own === 'finer') draft.untold.push(untold('healthcheck', 'unwritable'));
  else if (!words('healthcheck', own.test ?? [])) draft.untold.push(untold('healthcheck', 'secret'));
  else say(draft, 'healthcheck', own);
}

/** The engine fills in from the image what a container does not say of its health check, member by member. */
function unlikeImage(
  seen: SeenHealthcheck | undefined,
  brought: SeenHealthcheck | undefined,
): WantedHealthcheck | 'finer' | undefined {
  if (seen === undefined) return undefined;
  const { isFiner, ...members } = seen;
  const of = new Map<string, unknown>(Object.entries(brought ?? {}));
  const own = Object.entries(members).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(of.get(key)));
  if (own.length === 0) return undefined;
  return isFiner ? 'finer' : Object.fromEntries(own);
}

/** Undefined where `network_mode`, said or not, is all there is to it. */
function networksToSay(networks: SeenNetworks | undefined): SeenNetworks['attached'] | 'gone' | undefined {
  if (networks === undefined) return undefined;
  const [first, ...others] = networks.attached;
  if (first === undefined) return 'gone';
  const isPlain = first.aliases.length === 0 && first.ipv4_address === undefined && first.ipv6_address === undefined;
  return others.length === 0 && isPlain && first.name === networks.begins ? undefined : networks.attached;
}

/** The volumes with their options; undefined when there are none to add. */
function withMountOptions(volumes: Written, options: ReadonlyMap<string, string>): Written | undefined {
  if (options.size === 0 || typeof volumes !== 'object' || !Array.isArray(volumes)) return undefined;
  return volumes.map((volume: Written): Written => {
    if (typeof volume !== 'string') return volume;
    const [source = '', target = '', mode] = volume.split(':');
    const added = options.get(target);
    return added === undefined ? volume : `${source}:${target}:${mode === undefined ? '' : `${mode},`}${added}`;
  });
}
