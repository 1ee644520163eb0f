import { z } from 'zod';
import { nodeName } from '../fields.ts';
import { composeServiceKeys } from './container-keys.ts';
import { bounded, byForm, mapOf, maxNameChars, name, path, truth } from './forms.ts';
import type { KnownKeys } from './known-keys.ts';

/* The keys of a compose file, and which of them have no effect. Source: the Compose Specification and its JSON schema. */

export const maxServices = 1_000;
export const maxEnvFiles = 100;
/** Volumes or networks at the top of one file. */
export const maxResources = 1_000;

export const projectName = bounded(maxNameChars).regex(/^[a-z0-9][a-z0-9_-]*$/, 'lower-case letters, digits, - and _');
const serviceName = bounded(maxNameChars).regex(/^[a-zA-Z0-9._-]+$/, "a service's name of letters, digits, ., _ and -");
const containerName = bounded(maxNameChars).regex(
  /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/,
  'two or more letters, digits, ., _ and -, the first a letter or digit',
);

/** A file that variables come from. */
export interface EnvFile {
  readonly path: string;
  readonly required: boolean;
}

const plainEnvFile = path.min(1).transform((path): EnvFile => ({ path, required: true }));
const envFile = byForm<EnvFile>(
  { text: plainEnvFile, map: z.strictObject({ path: path.min(1), required: truth.default(true) }) },
  "a file's path, or a map with path",
);

const service = z.strictObject({
  image: name,
  container_name: containerName.optional(),
  env_file: byForm<readonly EnvFile[]>(
    { text: plainEnvFile.transform((file) => [file]), list: z.array(envFile).max(maxEnvFiles) },
    "a file's path, or a list of them",
  ).optional(),
  'x-node': nodeName.optional(),
  ...composeServiceKeys,
});

export type Service = z.infer<typeof service>;

/** Of a volume or network at the top only its name is read: whether compose puts the project in front of it. */
const resource = byForm(
  {
    null: z.null().transform(() => ({ name: undefined, external: false })),
    map: z.looseObject({
      name: name.optional(),
      external: byForm(
        { boolean: z.boolean(), text: truth, map: z.looseObject({}).transform(() => true) },
        'true or false',
      ).default(false),
    }),
  },
  'a map, or nothing',
);

const resources = mapOf(serviceName, resource, maxResources);

/** A compose file without the keys that have no effect. */
export const composeSchema = z.strictObject({
  name: projectName.optional(),
  'x-node': nodeName.optional(),
  services: byForm({ map: mapOf(serviceName, service, maxServices) }, 'a map of services'),
  volumes: byForm({ map: resources, null: z.null().transform(() => []) }, 'a map of volumes').optional(),
  networks: byForm({ map: resources, null: z.null().transform(() => []) }, 'a map of networks').optional(),
});

export type ComposeContent = z.infer<typeof composeSchema>;

const knownKeys: readonly string[] = [
  ...Object.keys(service.shape),
  ...Object.keys(composeSchema.shape),
  ...['target', 'published', 'host_ip', 'protocol', 'type', 'source', 'read_only', 'path', 'required'],
  ...['test', 'interval', 'timeout', 'start_period', 'start_interval', 'retries', 'disable'],
  ...['aliases', 'ipv4_address', 'ipv6_address', 'condition'],
];

/** Maps of services, networks and the like have names of their own in between, so these are known wherever they stand. */
export const composeKeys: KnownKeys = { at: () => knownKeys, places: () => [] };

/** Keys at the top that are named in a warning; `volumes` and `networks` are still read for their names. */
export const topKeysWithoutEffect: ReadonlyMap<string, string> = new Map([
  ['volumes', 'only their names are used; how they are made is not compared'],
  ['networks', 'only their names are used; how they are made is not compared'],
  ['secrets', 'they are not compared'],
  ['configs', 'they are not compared'],
  ['models', 'they are not compared'],
  ['include', 'the files it names are not read; put them beside this one'],
]);

const groups: readonly (readonly [reason: string, keys: readonly string[]])[] = [
  [
    'what runs is compared with image; nothing is built here',
    ['build', 'develop', 'platform', 'pull_policy', 'pull_refresh_after'],
  ],
  ['limits are compared as mem_limit and cpus, and one container is wanted of each service', ['deploy', 'scale']],
  ['the service is wanted whatever profiles are active', ['profiles']],
  ['what it takes from there is not read; a YAML merge key (<<: *name) is', ['extends']],
  ['its labels are not read; write them as labels', ['label_file']],
  ['what runs is a container of an image', ['provider']],
  [
    'files and values that compose mounts are not compared',
    ['secrets', 'configs', 'models', 'use_api_socket', 'credential_spec'],
  ],
  ['mounts of other containers are not compared', ['volumes_from']],
  [
    'of networks only network_mode is compared',
    [
      'expose',
      'links',
      'external_links',
      'hostname',
      'domainname',
      'dns',
      'dns_opt',
      'dns_search',
      'extra_hosts',
      'mac_address',
    ],
  ],
  [
    'of limits only mem_limit and cpus are compared',
    [
      'blkio_config',
      'cpu_count',
      'cpu_percent',
      'cpu_shares',
      'cpu_quota',
      'cpu_period',
      'cpu_rt_period',
      'cpu_rt_runtime',
      'cpuset',
      'mem_reservation',
      'mem_swappiness',
      'memswap_limit',
      'oom_kill_disable',
      'oom_score_adj',
      'pids_limit',
      'shm_size',
      'storage_opt',
      'ulimits',
    ],
  ],
  [
    'it is not compared',
    [
      'annotations',
      'attach',
      'cgroup',
      'cgroup_parent',
      'device_cgroup_rules',
      'devices',
      'gpus',
      'group_add',
      'init',
      'ipc',
      'isolation',
      'logging',
      'pid',
      'post_start',
      'pre_stop',
      'read_only',
      'runtime',
      'security_opt',
      'stdin_open',
      'stop_grace_period',
      'stop_signal',
      'sysctls',
      'tty',
      'userns_mode',
      'uts',
      'working_dir',
    ],
  ],
];

const noPartOfTheContainer = new Set([
  ...['build', 'develop', 'platform', 'pull_policy', 'pull_refresh_after', 'scale', 'profiles', 'attach'],
]);

/** Of those below, the keys that compose makes a container with: what is made without them is not quite what was asked for. */
export function changesTheContainer(key: string): boolean {
  return serviceKeysWithoutEffect.has(key) && !noPartOfTheContainer.has(key);
}

/** Keys of a service that compose knows and that have no effect here, with the reason; each is named in a warning. */
export const serviceKeysWithoutEffect: ReadonlyMap<string, string> = new Map(
  groups.flatMap(([reason, keys]) => keys.map((key): [string, string] => [key, reason])),
);
