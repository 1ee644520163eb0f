import { z } from 'zod';
import type { ImageConfig } from '../../common/config-drift.ts';
import type { ContainerConfig } from '../../common/container-config.ts';
import { cleanPath, spellHostIp } from '../../common/manifest/spelling.ts';

/**
 * The part of the Engine API's JSON that says how a container was made, in the one spelling of `ContainerConfig`. Nothing is cut: two
 * values that begin alike must not become one. Source: Docker Engine API v1.41, `ContainerInspect` and `ImageInspect`.
 */

// Go writes null for a list or a map that is empty, and older engines leave members out.
const text = z.string().transform((value) => value.toWellFormed());
const words = z
  .array(text)
  .nullish()
  .transform((list) => list ?? []);
const texts = z
  .record(z.string(), text)
  .nullish()
  .transform((map) => map ?? {});
const number = z
  .number()
  .nullish()
  .transform((value) => value ?? 0);
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);
const name = text.nullish().transform((value) => value ?? '');

/** `NAME=value`; a name alone is a variable that is unset on purpose. */
const environment = words.transform((list) =>
  Object.fromEntries(
    list.flatMap((entry) => {
      const at = entry.indexOf('=');
      return at < 0 ? [] : [[entry.slice(0, at), entry.slice(at + 1)]];
    }),
  ),
);

const process = z.object({
  Cmd: words,
  Entrypoint: words,
  Env: environment,
  Labels: texts,
  User: name,
});

const portBindings = z
  .record(z.string(), z.array(z.object({ HostIp: name, HostPort: name })).nullish())
  .nullish()
  .transform((bindings) =>
    Object.entries(bindings ?? {}).flatMap(([port, hosts]) => (hosts ?? []).map((host) => published(port, host))),
  );

/** Whatever the image exposes, each on a port that the engine picks. */
const allPorts = '->*';

function published(port: string, { HostIp, HostPort }: { readonly HostIp: string; readonly HostPort: string }): string {
  const containerPort = port.includes('/') ? port : `${port}/tcp`;
  const spelt = spellHostIp(HostIp);
  const address = spelt.ok ? spelt.value : HostIp;
  const hostPort = HostPort === '0' ? '' : HostPort;
  return `${address === '' ? '' : `${address}:`}${hostPort}->${containerPort}`;
}

const mount = z
  .object({ Type: name, Name: name, Source: name, Destination: text, RW: flag })
  .transform(({ Type, Name, Source, Destination, RW }): readonly string[] => {
    // Mounts of memory leave nothing behind and show nothing of the node.
    if (Type === 'tmpfs') return [];
    const named = anonymous.test(Name) ? '' : Name;
    const source = Type === 'volume' ? named : Type === 'bind' ? cleanPath(Source) : Type;
    return [`${source}:${cleanPath(Destination)}:${RW ? 'rw' : 'ro'}`];
  });

/** What the engine calls a volume that nobody has named. */
const anonymous = /^[0-9a-f]{64}$/;

const host = z.object({
  PortBindings: portBindings,
  RestartPolicy: z.object({ Name: name, MaximumRetryCount: number }).nullish(),
  CapAdd: words,
  CapDrop: words,
  PublishAllPorts: flag,
  Privileged: flag,
  NetworkMode: name,
  Memory: number,
  NanoCpus: number,
  CpuQuota: number,
  CpuPeriod: number,
});

type Host = z.infer<typeof host>;

/** `GET /containers/{id}/json`. */
export const containerConfig = z
  .object({
    Config: process,
    HostConfig: host,
    Mounts: z
      .array(mount)
      .nullish()
      .transform((mounts) => mounts ?? []),
  })
  .transform(
    ({ Config, HostConfig, Mounts }): ContainerConfig => ({
      command: Config.Cmd,
      entrypoint: Config.Entrypoint,
      environment: Config.Env,
      ports: [...new Set([...HostConfig.PortBindings, ...(HostConfig.PublishAllPorts ? [allPorts] : [])])].sort(),
      volumes: Mounts.flat().sort(),
      labels: Config.Labels,
      user: Config.User,
      restart_policy: restartPolicy(HostConfig),
      cap_add: capabilities(HostConfig.CapAdd),
      cap_drop: capabilities(HostConfig.CapDrop),
      privileged: HostConfig.Privileged,
      network_mode: /^(default|bridge|)$/.test(HostConfig.NetworkMode) ? 'default' : HostConfig.NetworkMode,
      mem_limit: HostConfig.Memory,
      cpus: thousandthsOfCpu(HostConfig),
    }),
  );

function restartPolicy({ RestartPolicy }: Host): string {
  const { Name = '', MaximumRetryCount = 0 } = RestartPolicy ?? {};
  if (Name === 'on-failure' && MaximumRetryCount > 0) return `on-failure:${MaximumRetryCount}`;
  return Name === '' ? 'no' : Name;
}

function capabilities(list: readonly string[]): readonly string[] {
  return [...new Set(list.map((capability) => capability.toUpperCase().replace(/^CAP_/, '')))].sort();
}

/** Microseconds of a period, where nobody says otherwise. */
const defaultCpuPeriod = 100_000;

function thousandthsOfCpu({ NanoCpus, CpuQuota, CpuPeriod }: Host): number {
  if (NanoCpus > 0) return Math.round(NanoCpus / 1_000_000);
  return CpuQuota > 0 ? Math.round((1_000 * CpuQuota) / (CpuPeriod > 0 ? CpuPeriod : defaultCpuPeriod)) : 0;
}

/** `GET /images/{id}/json`. An image without a configuration brings nothing along. */
export const imageConfig = z
  .object({
    Config: process
      .extend({
        Volumes: z
          .record(z.string(), z.unknown())
          .nullish()
          .transform((paths) => Object.keys(paths ?? {}).map(cleanPath)),
      })
      .nullish(),
  })
  .transform(
    ({ Config }): ImageConfig => ({
      command: Config?.Cmd ?? [],
      entrypoint: Config?.Entrypoint ?? [],
      environment: Config?.Env ?? {},
      labels: Config?.Labels ?? {},
      user: Config?.User ?? '',
      volumes: Config?.Volumes ?? [],
    }),
  );
