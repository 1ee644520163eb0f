import type { ImageConfig } from '../../common/config-drift.ts';
import type { WantedConfig, WantedHealthcheck, WantedNetwork, WantedTmpfs } from '../../common/container-config.ts';
import type { DesiredContainer } from '../../common/desired.ts';
import { AppError } from '../../common/errors.ts';

/**
 * From a container that is wanted to what the engine makes it of. Pure. What the manifest does not say is left out, so that it is
 * the image's, then the engine's. Source: Docker Engine API v1.41, `ContainerCreate` and `NetworkConnect`.
 */

/** How a container is attached to a network: what somebody may decide, without what the engine fills in. */
export interface Endpoint {
  readonly Aliases?: readonly string[];
  readonly Links?: readonly string[];
  readonly IPAMConfig?: Readonly<Record<string, string | readonly string[]>>;
  readonly DriverOpts?: Readonly<Record<string, string>>;
}

interface PortBinding {
  readonly HostIp: string;
  readonly HostPort: string;
}

/** Times in nanoseconds. */
interface Healthcheck {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}

interface HostConfig {
  readonly PortBindings?: Readonly<Record<string, readonly PortBinding[]>>;
  readonly Binds?: readonly string[];
  readonly Mounts?: readonly VolumeMount[];
  readonly Tmpfs?: Readonly<Record<string, string>>;
  readonly RestartPolicy?: { readonly Name: string; readonly MaximumRetryCount?: number };
  readonly CapAdd?: readonly string[];
  readonly CapDrop?: readonly string[];
  readonly Privileged?: boolean;
  readonly NetworkMode?: string;
  readonly Memory?: number;
  readonly NanoCpus?: number;
}

interface VolumeMount {
  readonly Type: 'volume';
  readonly Target: string;
  readonly ReadOnly: boolean;
  readonly VolumeOptions?: { readonly NoCopy: true };
}

/** The body of `POST /containers/create`. */
export interface CreateBody {
  readonly Image: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Cmd?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly ExposedPorts?: Readonly<Record<string, object>>;
  readonly Healthcheck?: Healthcheck;
  readonly HostConfig: HostConfig;
  readonly NetworkingConfig?: { readonly EndpointsConfig: Readonly<Record<string, Endpoint>> };
}

export interface ContainerSpec {
  readonly body: CreateBody;
  /** An engine makes a container with one network; it is to be connected to these before it is started. */
  readonly connectTo: readonly { readonly network: string; readonly endpoint: Endpoint }[];
}

export interface SpecOptions {
  /** Put on the container beside those that the manifest wants, which win. */
  readonly labels: Readonly<Record<string, string>>;
  /**
   * Mounts of the container that is replaced, in the spelling of `ContainerConfig`. A relative source, whose folder git does not say,
   * is taken from there.
   */
  readonly mounted?: readonly string[];
}

/**
 * What to make `desired` of.
 * @param image what the wanted image brings along, undefined when the engine does not have it: then its reference is named, which
 *   may stand for another image by the time the engine looks; a pinned one that is there is named by its id.
 * @throws AppError `validation.manifest` for a mount whose source depends on where compose was run, when `options.mounted` does
 *   not have it either
 */
export function containerSpec(
  desired: DesiredContainer,
  image: ImageConfig | undefined,
  options: SpecOptions,
): ContainerSpec {
  const { config, creation } = desired;
  const [first, ...others] = creation.networks ?? [];
  const { command, entrypoint, environment, user } = config;
  const body: CreateBody = {
    Image: image === undefined ? desired.image : (desired.imageId ?? desired.image),
    Labels: { ...options.labels, ...config.labels },
    ...(command === undefined ? {} : { Cmd: command }),
    ...(entrypoint === undefined ? {} : { Entrypoint: entrypoint }),
    ...(environment === undefined ? {} : { Env: Object.entries(environment).map((pair) => pair.join('=')) }),
    ...(user === undefined ? {} : { User: user }),
    ...(config.ports === undefined ? {} : { ExposedPorts: exposed(config.ports) }),
    ...(creation.healthcheck === undefined ? {} : { Healthcheck: healthcheckOf(creation.healthcheck) }),
    HostConfig: {
      ...networkOf(config, first),
      ...(config.ports === undefined ? {} : { PortBindings: bindings(config.ports) }),
      ...mountsOf(desired, options.mounted ?? []),
      ...memoryOf(creation.tmpfs ?? []),
      ...powersAndLimits(config),
    },
    ...(first === undefined ? {} : { NetworkingConfig: { EndpointsConfig: { [first.name]: endpointOf(first) } } }),
  };
  return { body, connectTo: others.map((network) => ({ network: network.name, endpoint: endpointOf(network) })) };
}

function networkOf({ network_mode }: WantedConfig, first: WantedNetwork | undefined): HostConfig {
  const mode = network_mode ?? first?.name;
  return mode === undefined ? {} : { NetworkMode: mode };
}

function endpointOf({ aliases, ipv4_address, ipv6_address }: WantedNetwork): Endpoint {
  const addresses = {
    ...(ipv4_address === undefined ? {} : { IPv4Address: ipv4_address }),
    ...(ipv6_address === undefined ? {} : { IPv6Address: ipv6_address }),
  };
  return {
    ...(aliases.length === 0 ? {} : { Aliases: aliases }),
    ...(Object.keys(addresses).length === 0 ? {} : { IPAMConfig: addresses }),
  };
}

/** The parts of a port in the spelling of `ContainerConfig`. */
function portParts(port: string): { readonly container: string; readonly binding: PortBinding } {
  const [, ip = '', hostPort = '', container = ''] = /^(?:(\[[^\]]*\]|[^:[\]]*):)?([^:]*)->(.*)$/.exec(port) ?? [];
  return { container, binding: { HostIp: ip.replace(/[[\]]/g, ''), HostPort: hostPort } };
}

function exposed(ports: readonly string[]): Readonly<Record<string, object>> {
  return Object.fromEntries(ports.map((port) => [portParts(port).container, {}]));
}

function bindings(ports: readonly string[]): Readonly<Record<string, readonly PortBinding[]>> {
  const byPort = new Map<string, PortBinding[]>();
  for (const { container, binding } of ports.map(portParts)) {
    byPort.set(container, [...(byPort.get(container) ?? []), binding]);
  }
  return Object.fromEntries(byPort);
}

/** Binds, not mounts of their type, for what has a source: the engine makes a folder that is missing, as it does for compose. */
function mountsOf({ name, config, creation }: DesiredContainer, mounted: readonly string[]): HostConfig {
  const optionsAt = new Map(Object.entries(creation.mount_options ?? {}));
  const volumes = (config.volumes ?? []).map((volume) => {
    const options = optionsAt.get(volume.split(':').at(-2) ?? '');
    return { volume: withSource(name, volume, mounted), options };
  });
  const binds = volumes.flatMap(({ volume, options }) =>
    volume.startsWith(':') ? [] : [options === undefined ? volume : `${volume},${options}`],
  );
  const anonymous = volumes.flatMap(({ volume, options }) =>
    volume.startsWith(':') ? [anonymousVolume(volume, options)] : [],
  );
  return {
    ...(binds.length === 0 ? {} : { Binds: binds }),
    ...(anonymous.length === 0 ? {} : { Mounts: anonymous }),
  };
}

function anonymousVolume(volume: string, options = ''): VolumeMount {
  const [, target = '', mode] = volume.split(':');
  const copies = !options.split(',').includes('nocopy');
  return {
    ...{ Type: 'volume', Target: target, ReadOnly: mode === 'ro' },
    ...(copies ? {} : { VolumeOptions: { NoCopy: true } }),
  };
}

function withSource(container: string, volume: string, mounted: readonly string[]): string {
  if (!/^[.~]/.test(volume)) return volume;
  const onSameTarget = volume.slice(volume.indexOf(':'));
  const before = mounted.find((mount) => mount.startsWith('/') && mount.slice(mount.indexOf(':')) === onSameTarget);
  if (before !== undefined) return before;
  throw new AppError(
    'validation.manifest',
    `${container} cannot be made: the source of the mount ${volume} depends on where compose was run; write the whole path`,
    { details: { container, volume } },
  );
}

function memoryOf(tmpfs: readonly WantedTmpfs[]): HostConfig {
  if (tmpfs.length === 0) return {};
  return { Tmpfs: Object.fromEntries(tmpfs.map(({ target, options }) => [target, options])) };
}

function powersAndLimits(config: WantedConfig): HostConfig {
  const { restart_policy, cap_add, cap_drop, privileged, mem_limit, cpus } = config;
  return {
    ...(restart_policy === undefined ? {} : { RestartPolicy: restartPolicy(restart_policy) }),
    ...(cap_add === undefined ? {} : { CapAdd: cap_add }),
    ...(cap_drop === undefined ? {} : { CapDrop: cap_drop }),
    ...(privileged === undefined ? {} : { Privileged: privileged }),
    ...(mem_limit === undefined ? {} : { Memory: mem_limit }),
    ...(cpus === undefined ? {} : { NanoCpus: cpus * 1_000_000 }),
  };
}

function restartPolicy(spelt: string): NonNullable<HostConfig['RestartPolicy']> {
  const [name = 'no', retries] = spelt.split(':');
  return retries === undefined ? { Name: name } : { Name: name, MaximumRetryCount: Number(retries) };
}

function healthcheckOf(wanted: WantedHealthcheck): Healthcheck {
  const nanoseconds = (ms: number): number => ms * 1_000_000;
  const { test, interval_ms, timeout_ms, start_period_ms, start_interval_ms, retries } = wanted;
  return {
    ...(test === undefined ? {} : { Test: test }),
    ...(interval_ms === undefined ? {} : { Interval: nanoseconds(interval_ms) }),
    ...(timeout_ms === undefined ? {} : { Timeout: nanoseconds(timeout_ms) }),
    ...(start_period_ms === undefined ? {} : { StartPeriod: nanoseconds(start_period_ms) }),
    ...(start_interval_ms === undefined ? {} : { StartInterval: nanoseconds(start_interval_ms) }),
    ...(retries === undefined ? {} : { Retries: retries }),
  };
}
