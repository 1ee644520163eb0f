import { z } from 'zod';

/** What an image does beyond its `ImageConfig`. */
export interface ImageProcess {
  readonly workingDir: string;
  readonly stopSignal: string;
  /** `<port>/<protocol>` */
  readonly exposed: readonly string[];
}

type Members = Readonly<Record<string, unknown>>;

const members = z
  .record(z.string(), z.unknown())
  .nullish()
  .transform((map): Members => map ?? {});

/** Both maps as they are: nothing of this is written anywhere, only that it is there. */
const container = z.object({
  Id: z.string(),
  Config: members,
  HostConfig: members,
});

/**
 * What makes a container another one than the engine would make by itself, and has no place in a manifest, in the words of compose
 * where it has some.
 * @param json `GET /containers/{id}/json`; Docker Engine API v1.41.
 */
export function foreignKeys(json: unknown, image: ImageProcess): string[] {
  const { Id, Config, HostConfig } = container.parse(json);
  const made = { id: Id, config: Config, host: HostConfig, image };
  const found = Object.entries(ownJudges).filter(([, isForeign]) => isForeign(made));
  const filled = Object.entries(emptyUnlessSaid).filter(([member]) => !isEmpty(HostConfig[member]));
  return [...new Set([...found.map(([key]) => key), ...filled.map(([, key]) => key)])].sort();
}

interface Made {
  readonly id: string;
  readonly config: Members;
  readonly host: Members;
  readonly image: ImageProcess;
}

/** Members of `HostConfig` that are empty, zero or absent unless somebody says otherwise. */
const emptyUnlessSaid: Readonly<Record<string, string>> = {
  ...{ Annotations: 'annotations', AutoRemove: 'rm', BlkioWeight: 'blkio_config', BlkioWeightDevice: 'blkio_config' },
  ...{ CgroupParent: 'cgroup_parent', CpuRealtimePeriod: 'cpu_rt_period', CpuRealtimeRuntime: 'cpu_rt_runtime' },
  ...{ CpuShares: 'cpu_shares', CpusetCpus: 'cpuset', CpusetMems: 'cpuset', DeviceCgroupRules: 'device_cgroup_rules' },
  ...{ DeviceRequests: 'gpus', Devices: 'devices', Dns: 'dns', DnsOptions: 'dns_opt', DnsSearch: 'dns_search' },
  ...{
    ExtraHosts: 'extra_hosts',
    GroupAdd: 'group_add',
    Init: 'init',
    Links: 'links',
    MemoryReservation: 'mem_reservation',
  },
  ...{ OomKillDisable: 'oom_kill_disable', OomScoreAdj: 'oom_score_adj', PidMode: 'pid', ReadonlyRootfs: 'read_only' },
  ...{ StorageOpt: 'storage_opt', Sysctls: 'sysctls', Ulimits: 'ulimits', UsernsMode: 'userns_mode', UTSMode: 'uts' },
  ...{ VolumeDriver: 'volume_driver', VolumesFrom: 'volumes_from' },
};

const defaultShmBytes = 64 * 1024 * 1024;
const shortIdChars = 12;

/** What has other defaults. */
const ownJudges: Readonly<Record<string, (made: Made) => boolean>> = {
  // The network of the host or of another container brings its name along.
  hostname: ({ id, config, host }) =>
    !/^(host|container:)/.test(String(host.NetworkMode ?? '')) &&
    host.UTSMode !== 'host' &&
    !['', id.slice(0, shortIdChars)].includes(String(config.Hostname ?? '')),
  domainname: ({ config }) => !isEmpty(config.Domainname),
  working_dir: ({ config, image }) => clean(config.WorkingDir) !== clean(image.workingDir),
  stop_signal: ({ config, image }) => !['', image.stopSignal].includes(String(config.StopSignal ?? '')),
  stop_grace_period: ({ config }) => config.StopTimeout !== null && config.StopTimeout !== undefined,
  tty: ({ config }) => config.Tty === true,
  stdin_open: ({ config }) => config.OpenStdin === true,
  mac_address: ({ config }) => !isEmpty(config.MacAddress),
  expose: ({ config, host, image }) => {
    const known = new Set([...image.exposed, ...namesOf(host.PortBindings)]);
    return namesOf(config.ExposedPorts).some((port) => !known.has(port));
  },
  ipc: ({ host }) => !['', 'private', 'shareable'].includes(String(host.IpcMode ?? '')),
  logging: ({ host }) => {
    const { Type, Config } = members.catch({}).parse(host.LogConfig);
    return !isEmpty(Config) || !['', 'json-file'].includes(String(Type ?? ''));
  },
  memswap_limit: ({ host }) => ![0, -1, 2 * Number(host.Memory ?? 0)].includes(Number(host.MemorySwap ?? 0)),
  mem_swappiness: ({ host }) => !isEmpty(host.MemorySwappiness) && host.MemorySwappiness !== -1,
  pids_limit: ({ host }) => Number(host.PidsLimit ?? 0) > 0,
  runtime: ({ host }) => !['', 'runc'].includes(String(host.Runtime ?? '')),
  // The engine takes the label off a privileged container, and one in the host's namespaces, by itself.
  security_opt: ({ host }) =>
    Array.isArray(host.SecurityOpt) && host.SecurityOpt.some((option) => option !== 'label=disable'),
  shm_size: ({ host }) => ![0, defaultShmBytes].includes(Number(host.ShmSize ?? 0)),
};

function clean(path: unknown): string {
  return String(path ?? '').replace(/(.)\/+$/, '$1') || '/';
}

function namesOf(map: unknown): string[] {
  return Object.keys(members.catch({}).parse(map));
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === 0 || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}
