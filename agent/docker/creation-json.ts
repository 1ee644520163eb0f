import { z } from 'zod';
import type { WantedHealthcheck, WantedNetwork, WantedTmpfs } from '../../common/container-config.ts';
import { cleanPath, quietModes, sortedOnce } from '../../common/manifest/spelling.ts';
import type { ImageProcess } from './foreign-keys.ts';

/**
 * The part of the Engine API's JSON that a container is made by and never compared by, in the words of `WantedCreation`.
 * Source: Docker Engine API v1.41, `ContainerInspect` and `ImageInspect`.
 */

/** How a container was made, beyond its `ContainerConfig`. */
export interface SeenCreation {
  /** With what it has from its image; undefined for none. */
  readonly healthcheck: SeenHealthcheck | undefined;
  readonly imageHealthcheck: SeenHealthcheck | undefined;
  /** Undefined when the network is no network of its own: that of the host, of another container, or none. */
  readonly networks: SeenNetworks | undefined;
  readonly tmpfs: readonly WantedTmpfs[];
  /** By target, as `WantedCreation` has them. */
  readonly mountOptions: ReadonlyMap<string, string>;
  /** What no manifest can say and is not what the engine or the image would do by itself, in the words of compose. */
  readonly foreign: readonly string[];
}

export interface SeenHealthcheck extends WantedHealthcheck {
  /** A time is no whole number of milliseconds. */
  readonly isFiner: boolean;
}

export interface SeenNetworks {
  /** The network that the container was made with. */
  readonly begins: string;
  /** The one that the container begins with comes first; the others by their names. */
  readonly attached: readonly WantedNetwork[];
  /** What cannot be said of the attachment to one of them. */
  readonly foreign: readonly string[];
}

/** What an image does, beyond its `ImageConfig`. */
export interface ImageCreation extends ImageProcess {
  readonly healthcheck: SeenHealthcheck | undefined;
}

const text = z.string().transform((value) => value.toWellFormed());
const name = text.nullish().transform((value) => value ?? '');
const words = z
  .array(text)
  .nullish()
  .transform((list) => list ?? []);
const nanoseconds = z
  .number()
  .nullish()
  .transform((value) => value ?? 0);

const healthcheck = z
  .object({
    ...{ Test: words, Interval: nanoseconds, Timeout: nanoseconds, StartPeriod: nanoseconds },
    ...{ StartInterval: nanoseconds, Retries: nanoseconds },
  })
  .nullish()
  .transform((said): SeenHealthcheck | undefined => {
    if (said === undefined || said === null || said.Test.length === 0) return undefined;
    const { Test, Interval, Timeout, StartPeriod, StartInterval, Retries } = said;
    const times = { interval_ms: Interval, timeout_ms: Timeout, start_period_ms: StartPeriod };
    const all = { ...times, start_interval_ms: StartInterval };
    const inMs = Object.entries(all).flatMap(([key, ns]) => (ns === 0 ? [] : [[key, ns / nanosecondsPerMs]]));
    return {
      test: Test,
      ...Object.fromEntries(inMs),
      ...(Retries === 0 ? {} : { retries: Retries }),
      isFiner: Object.values(all).some((ns) => ns % nanosecondsPerMs !== 0),
    };
  });

const nanosecondsPerMs = 1_000_000;

const memoryMount = z.object({
  SizeBytes: nanoseconds,
  Mode: nanoseconds,
});

const mount = z.looseObject({
  Type: name,
  Target: name,
  ReadOnly: z.boolean().nullish(),
  Consistency: name,
  BindOptions: z.looseObject({ Propagation: name }).nullish(),
  VolumeOptions: z.looseObject({ NoCopy: z.boolean().nullish() }).nullish(),
  TmpfsOptions: memoryMount.nullish(),
});

const endpoint = z.object({
  Aliases: words,
  Links: words,
  IPAMConfig: z.object({ IPv4Address: name, IPv6Address: name, LinkLocalIPs: words }).nullish(),
  DriverOpts: z
    .record(z.string(), z.unknown())
    .nullish()
    .transform((options) => Object.keys(options ?? {})),
});

/** `GET /containers/{id}/json`. */
export const containerCreation = z.object({
  Id: z.string(),
  Config: z.object({ Healthcheck: healthcheck }),
  HostConfig: z.object({
    NetworkMode: name,
    Binds: words,
    Mounts: z
      .array(mount)
      .nullish()
      .transform((mounts) => mounts ?? []),
    Tmpfs: z
      .record(z.string(), text)
      .nullish()
      .transform((mounts) => mounts ?? {}),
  }),
  NetworkSettings: z.object({
    Networks: z
      .record(z.string(), endpoint)
      .nullish()
      .transform((networks) => networks ?? {}),
  }),
});

type Container = z.output<typeof containerCreation>;

/** @param foreign what no manifest can say of it. */
export function seenCreation(
  seen: Container,
  { image, foreign }: { readonly image: ImageCreation; readonly foreign: readonly string[] },
): SeenCreation {
  return {
    imageHealthcheck: image.healthcheck,
    healthcheck: seen.Config.Healthcheck,
    networks: networksOf(seen),
    tmpfs: memoryMounts(seen),
    mountOptions: mountOptions(seen),
    foreign,
  };
}

/** `GET /images/{id}/json`. */
export const imageCreation = z
  .object({
    Config: z
      .object({
        Healthcheck: healthcheck,
        WorkingDir: name,
        StopSignal: name,
        ExposedPorts: z.record(z.string(), z.unknown()).nullish(),
      })
      .nullish(),
  })
  .transform(
    ({ Config }): ImageCreation => ({
      healthcheck: Config?.Healthcheck,
      workingDir: Config?.WorkingDir ?? '',
      stopSignal: Config?.StopSignal ?? '',
      exposed: Object.keys(Config?.ExposedPorts ?? {}),
    }),
  );

/** Networks that are none of the container's own. */
const noNetworkOfItsOwn = /^(host|none|container:.*)$/;

function networksOf({ Id, HostConfig, NetworkSettings }: Container): SeenNetworks | undefined {
  const { NetworkMode } = HostConfig;
  if (noNetworkOfItsOwn.test(NetworkMode)) return undefined;
  const begins = NetworkMode === 'default' || NetworkMode === '' ? 'bridge' : NetworkMode;
  const rank = (network: string) => (network === begins ? '' : network);
  const all = Object.entries(NetworkSettings.Networks).sort(([a], [b]) => (rank(a) < rank(b) ? -1 : 1));
  const attached = all.map(([network, { Aliases, IPAMConfig }]): WantedNetwork => {
    const { IPv4Address = '', IPv6Address = '' } = IPAMConfig ?? {};
    return {
      name: network,
      // The engine adds the beginning of the id by itself.
      aliases: sortedOnce(Aliases.filter((alias) => alias !== Id.slice(0, shortIdChars))),
      ...(IPv4Address === '' ? {} : { ipv4_address: IPv4Address }),
      ...(IPv6Address === '' ? {} : { ipv6_address: IPv6Address }),
    };
  });
  const foreign = all.flatMap(([network, { Links, IPAMConfig, DriverOpts }]) => [
    ...(Links.length > 0 ? [`networks.${network}.links`] : []),
    ...((IPAMConfig?.LinkLocalIPs.length ?? 0) > 0 ? [`networks.${network}.link_local_ips`] : []),
    ...(DriverOpts.length > 0 ? [`networks.${network}.driver_opts`] : []),
  ]);
  return { begins, attached, foreign };
}

const shortIdChars = 12;

function memoryMounts({ HostConfig }: Container): WantedTmpfs[] {
  const short = Object.entries(HostConfig.Tmpfs).map(([target, options]) => ({ target: cleanPath(target), options }));
  const long = HostConfig.Mounts.filter(({ Type }) => Type === 'tmpfs').map(({ Target, ReadOnly, TmpfsOptions }) => {
    const { SizeBytes = 0, Mode = 0 } = TmpfsOptions ?? {};
    const options = [
      ...(ReadOnly === true ? ['ro'] : []),
      ...(SizeBytes > 0 ? [`size=${SizeBytes}`] : []),
      ...(Mode > 0 ? [`mode=${Mode.toString(8)}`] : []),
    ];
    return { target: cleanPath(Target), options: options.join(',') };
  });
  return [...short, ...long].sort((a, b) => (a.target < b.target ? -1 : 1));
}

function mountOptions({ HostConfig }: Container): Map<string, string> {
  const options = new Map<string, string>();
  const note = (target: string, said: readonly string[]) => {
    const quiet = sortedOnce(said.filter((option) => quietModes.has(option)));
    if (quiet.length > 0) options.set(cleanPath(target), quiet.join(','));
  };
  for (const bind of HostConfig.Binds) {
    const [, target = '', said = ''] = bind.split(':');
    note(target, said.split(','));
  }
  for (const { Type, Target, Consistency, BindOptions, VolumeOptions } of HostConfig.Mounts) {
    if (Type === 'tmpfs') continue;
    const copies = VolumeOptions?.NoCopy === true ? ['nocopy'] : [];
    note(Target, [BindOptions?.Propagation ?? '', Consistency, ...copies]);
  }
  return options;
}
